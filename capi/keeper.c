/*
 * A TCP/IP stack has to answer its peers also while the program computes, sleeps or waits for something
 * else: what the kernel does for its sockets. For a libOS that asks for it (Control.Keep) this thread
 * looks now and then whether anybody polls. If nobody does, it polls in the program's stead, woken by
 * the descriptors of the libOS, until the program comes back. And at the end of the process the peers
 * get what was pushed to them, and the end of their connections, if they take it soon.
 */
#define _GNU_SOURCE
#include "front.h"
#include "sys.h"

#include "_cgo_export.h"

#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <time.h>

#define PERIOD_NS 5000000L
#define LONGEST_NS 40000000L /* between two looks at a program that polls: each costs a busy core some µs */
#define SLACK_NS 50000UL

static uint32_t polls(void)
{
    return __atomic_load_n(&dmtr_ctl->polls, __ATOMIC_RELAXED);
}

/* Whether nobody has polled since, or is about to. */
static int program_away(uint32_t since)
{
    if (polls() != since)
        return 0;
    dmtr_lock();
    int away = dmtr_ctl->blocked == 0;
    dmtr_unlock();
    return away;
}

/* Polls once, and sleeps until there is something to do, or for a period; returns the count of polls, or 0 to give up. */
static uint32_t poll_and_sleep(void)
{
    struct pollfd fds[MAX_WAIT_FDS];
    struct timespec left = {0, PERIOD_NS};
    uint64_t seq = dmtr_enter();
    uint32_t n = dmtr_ctl->num_fds;
    dmtrGoDrive(1);
    dmtrGoArm();
    uint32_t seen = dmtr_ctl->polls;
    int broken = (int)dmtr_ctl->broken;
    for (uint32_t i = 0; i < n; i++)
        fds[i] = (struct pollfd){dmtr_ctl->fds[i], POLLIN, 0};
    dmtr_leave(seq);
    if (broken)
        return 0;
    sys_call(SYS_ppoll, (long)fds, n, (long)&left, 0, 0, 0);
    for (uint32_t i = 0; i < n; i++)
        if (fds[i].revents & POLLNVAL)
            return 0;
    return seen != 0 ? seen : 1;
}

static void *keep(void *arg)
{
    prctl(PR_SET_TIMERSLACK, SLACK_NS);
    if (dmtr_thread_enter() != 0)
        return arg;
    long pause = PERIOD_NS;
    for (uint32_t seen = polls();;) {
        struct timespec left = {0, pause};
        sys_call(SYS_nanosleep, (long)&left, 0, 0, 0, 0, 0);
        pause = pause < LONGEST_NS / 2 ? 2 * pause : LONGEST_NS;
        while (program_away(seen)) {
            if ((seen = poll_and_sleep()) == 0)
                return arg;
            pause = PERIOD_NS;
        }
        seen = polls();
    }
}

void dmtr_keep(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, keep, NULL) != 0)
        return; /* then peers have to wait for the program's next call */
    pthread_setname_np(thread, "dmtr-keeper");
    pthread_detach(thread);
}

__attribute__((destructor)) static void finish(void)
{
    if (dmtr_ctl == NULL || !dmtr_ctl->keep || dmtr_thread_enter() != 0)
        return;
    uint64_t seq = dmtr_enter();
    dmtrGoFinish();
    dmtr_leave(seq);
}
