/*
 * Threads of the Go runtime. While a thread of the program is in and out of Go, the runtime's
 * monitor takes it for a goroutine that does not yield, and wakes every 20 µs to see to that. On a
 * busy core each time costs a spinning thread some 30 µs, once in a hundred round trips. With a
 * large timer slack the kernel wakes it together with other timers.
 *
 * The linker directs the calls of pthread_create in this library here (-Wl,--wrap=pthread_create);
 * those of the program are not concerned. Threads inherit the slack from the one that makes them.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define SLACK_NS 10000000UL

/* Weak, because without the option to the linker, as in tests in Go, there is none. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
    __attribute__((weak));
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);

struct start {
    void *(*run)(void *);
    void *arg;
};

static void *run_with_slack(void *p)
{
    struct start s = *(struct start *)p;
    free(p);
    prctl(PR_SET_TIMERSLACK, SLACK_NS);
    return s.run(s.arg);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    struct start *s = malloc(sizeof *s);
    if (s == NULL)
        return __real_pthread_create(thread, attr, start, arg);
    *s = (struct start){start, arg};
    int err = __real_pthread_create(thread, attr, run_with_slack, s);
    if (err != 0)
        free(s);
    return err;
}
