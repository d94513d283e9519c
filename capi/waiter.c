#define _GNU_SOURCE
#include "waiter.h"
#include "front.h"
#include "sys.h"

#include "_cgo_export.h"

#include <dmtr/ext.h>
#include <dmtr/latency.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_BUDGET_NS = 4000, CROWDED_NS = 10000000, NO_EVENTFD_NS = 1000000, SECOND_NS = 1000000000 };

struct waiter {
    struct waiter *next;
    int fd; /* eventfd that wakes this thread, or -1 */
};

/* All sleeping threads. */
static struct waiter *sleepers;

/* Present length of adaptive spins; at most dmtr_ctl->spin_ns. */
static uint32_t budget_ns = UINT32_MAX;

/* Until then adaptive waits do not spin. */
static uint64_t crowded_until_ns;

static pthread_key_t fd_key;
static pthread_once_t fd_once = PTHREAD_ONCE_INIT;

/* The key holds fd + 1, since a value of NULL runs no destructor. */
static void close_fd(void *value)
{
    close((int)(intptr_t)value - 1);
}

static void make_key(void)
{
    pthread_key_create(&fd_key, close_fd);
}

static int thread_eventfd(void)
{
    pthread_once(&fd_once, make_key);
    int fd = (int)(intptr_t)pthread_getspecific(fd_key) - 1;
    if (fd < 0) {
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd >= 0)
            pthread_setspecific(fd_key, (void *)(intptr_t)(fd + 1));
    }
    return fd;
}

static void ring(int fd)
{
    uint64_t one = 1;
    sys_call(SYS_write, fd, (long)&one, sizeof one, 0, 0, 0);
}

static void silence(int fd)
{
    uint64_t count;
    sys_call(SYS_read, fd, (long)&count, sizeof count, 0, 0, 0);
}

void dmtr_wake_all(void)
{
    for (struct waiter *w = sleepers; w != NULL; w = w->next)
        if (w->fd >= 0)
            ring(w->fd);
}

/* dmtr_stop() is in force; then stop_fd is readable, or about to be. */
static int stopped;
static int stop_fd = -1;

int waiter_start(void)
{
    if (stop_fd < 0)
        stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return stop_fd < 0 ? errno : 0;
}

int waiter_stopped(void)
{
    return __atomic_load_n(&stopped, __ATOMIC_ACQUIRE);
}

DMTR_EXPORT int dmtr_stop(void)
{
    if (__atomic_load_n(&dmtr_ctl, __ATOMIC_ACQUIRE) == NULL)
        return EPERM;
    __atomic_store_n(&stopped, 1, __ATOMIC_SEQ_CST);
    ring(stop_fd);
    return 0;
}

DMTR_EXPORT int dmtr_resume(void)
{
    if (__atomic_load_n(&dmtr_ctl, __ATOMIC_ACQUIRE) == NULL)
        return EPERM;
    __atomic_store_n(&stopped, 0, __ATOMIC_SEQ_CST);
    return 0;
}

/* stop_fd has woken a thread: if that was for a stop that is over, it should not wake any other. */
static void check_stop(void)
{
    if (waiter_stopped())
        return;
    silence(stop_fd);
    if (__atomic_load_n(&stopped, __ATOMIC_SEQ_CST))
        ring(stop_fd);
}

uint64_t waiter_budget_ns(uint64_t now_ns)
{
    if (now_ns < crowded_until_ns)
        return 0;
    crowded_until_ns = 0;
    return budget_ns < dmtr_ctl->spin_ns ? budget_ns : dmtr_ctl->spin_ns;
}

int waiter_spins(void)
{
    return crowded_until_ns == 0 && budget_ns != 0;
}

void waiter_crowded(uint64_t now_ns)
{
    crowded_until_ns = now_ns + CROWDED_NS;
}

/* Spinning pays if sleeps end soon: then spin longer next time, else shorter. */
static void learn(uint64_t slept_ns)
{
    uint32_t max = dmtr_ctl->spin_ns;
    uint32_t now = budget_ns < max ? budget_ns : max;
    if (slept_ns > max)
        budget_ns = now / 2;
    else
        budget_ns = now < FIRST_BUDGET_NS ? FIRST_BUDGET_NS : now * 2;
}

/* Polls until a time by the clock of dmtr_now_ns(), and returns how long that took. */
static uint64_t poll_until(struct pollfd *fds, uint32_t n, uint64_t until_ns)
{
    uint64_t from = dmtr_now_ns();
    uint64_t left = until_ns > from ? until_ns - from : 0;
    struct timespec limit = {(time_t)(left / SECOND_NS), (long)(left % SECOND_NS)};
    sys_call(SYS_ppoll, (long)fds, n, until_ns == DMTR_FOREVER ? 0 : (long)&limit, 0, 0, 0);
    return dmtr_now_ns() - from;
}

void waiter_sleep(uint64_t seq, uint64_t until_ns)
{
    struct pollfd fds[MAX_WAIT_FDS + 2];
    uint32_t n = dmtr_ctl->num_fds;
    struct waiter self = {sleepers, thread_eventfd()};

    dmtrGoArm();
    if (dmtr_ctl->seq != seq || dmtr_ctl->broken)
        return;
    for (uint32_t i = 0; i < n; i++)
        fds[i] = (struct pollfd){dmtr_ctl->fds[i], POLLIN, 0};
    fds[n] = (struct pollfd){self.fd, POLLIN, 0};
    fds[n + 1] = (struct pollfd){stop_fd, POLLIN, 0};
    if (self.fd < 0 && until_ns - dmtr_now_ns() > NO_EVENTFD_NS)
        until_ns = dmtr_now_ns() + NO_EVENTFD_NS;
    sleepers = &self;
    dmtr_ctl->blocked++;
    dmtr_unlock();
    uint64_t slept = poll_until(fds, n + 2, until_ns);
    dmtr_lock();
    dmtr_ctl->blocked--;
    struct waiter **at = &sleepers;
    while (*at != &self)
        at = &(*at)->next;
    *at = self.next;
    for (uint32_t i = 0; i < n + 2; i++)
        if (fds[i].revents & POLLNVAL)
            dmtrGoLost(); /* else the wait would go round for ever */
    if (fds[n].revents & POLLIN)
        silence(self.fd);
    if (fds[n + 1].revents & POLLIN)
        check_stop();
    learn(slept);
}
