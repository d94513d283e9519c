#define _GNU_SOURCE
#include "waiter.h"
#include "front.h"

#include "_cgo_export.h"

#include <dmtr/latency.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { FIRST_BUDGET_NS = 4000, CROWDED_NS = 10000000, NO_EVENTFD_MS = 1 };

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

void dmtr_wake_all(void)
{
    for (struct waiter *w = sleepers; w != NULL; w = w->next)
        if (w->fd >= 0)
            eventfd_write(w->fd, 1);
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

void waiter_sleep(uint64_t seq, uint32_t max_ms)
{
    struct pollfd fds[MAX_WAIT_FDS + 1];
    uint32_t n = dmtr_ctl->num_fds;
    struct waiter self = {sleepers, thread_eventfd()};

    dmtrGoArm();
    if (dmtr_ctl->seq != seq)
        return;
    for (uint32_t i = 0; i < n; i++)
        fds[i] = (struct pollfd){dmtr_ctl->fds[i], POLLIN, 0};
    fds[n] = (struct pollfd){self.fd, POLLIN, 0};
    if (self.fd < 0 && (max_ms == 0 || max_ms > NO_EVENTFD_MS))
        max_ms = NO_EVENTFD_MS;
    sleepers = &self;
    dmtr_ctl->blocked++;
    dmtr_unlock();

    uint64_t from = dmtr_now_ns();
    poll(fds, n + 1, max_ms == 0 ? -1 : (int)max_ms);
    uint64_t slept = dmtr_now_ns() - from;

    dmtr_lock();
    dmtr_ctl->blocked--;
    struct waiter **at = &sleepers;
    while (*at != &self)
        at = &(*at)->next;
    *at = self.next;
    if (fds[n].revents & POLLIN) {
        eventfd_t drained;
        eventfd_read(self.fd, &drained);
    }
    learn(slept);
}
