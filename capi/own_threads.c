/*
 * The library's own threads: those of the Go runtime and those that serve files. The linker directs
 * the calls of pthread_create in this library here (-Wl,--wrap=pthread_create); those of the program
 * are not concerned.
 *
 * Signals. They belong to the program, which may have one thread and expect its handlers to run
 * there, or may have blocked them all to wait for them. And on the stack of a goroutine a handler
 * would overwrite memory. So these threads block all signals. Go would unblock a few in each thread
 * it starts (SIGCHLD and SIGPROF among them), and cannot be told not to; so a filter makes the system
 * call by which it does so succeed without effect.
 *
 * Timers. While a thread of the program is in and out of Go, the runtime's monitor takes it for a
 * goroutine that does not yield, and wakes every 20 µs to see to that. On a busy core each time costs
 * a spinning thread some 30 µs, once in a hundred round trips. With a large timer slack the kernel
 * wakes it together with other timers.
 *
 * Sandboxes. Go may want one more thread at any time, and lets the thread make it that happens to be inside,
 * which may be one of the program's that is forbidden to (seccomp); Go would abort. So one of our own, the
 * maker, has been started with the library, and makes what others cannot. A child process has none.
 */
#define _GNU_SOURCE
#include "front.h"
#include "sys.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define SLACK_NS 10000000UL

/* Weak, because without the option to the linker, as in tests in Go, there is none. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
    __attribute__((weak));
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);

/* Threads inherit the filter from the one that makes them. */
static __thread int filtered;

struct start {
    void *(*run)(void *);
    void *arg;
    int filtered;
};

static void keep_mask(void)
{
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigprocmask, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0), /* success */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    static struct sock_fprog program = {sizeof code / sizeof code[0], code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
        filtered = 1;
}

static void *begin(void *p)
{
    struct start s = *(struct start *)p;
    free(p);
    filtered = s.filtered;
    if (!filtered)
        keep_mask();
    prctl(PR_SET_TIMERSLACK, SLACK_NS);
    return s.run(s.arg);
}

static int make(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    struct start *s = malloc(sizeof *s);
    if (s == NULL)
        return EAGAIN;
    *s = (struct start){start, arg, filtered};
    sigset_t all, mask; /* the new thread inherits all, the caller's own becomes what it was */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    int err = __real_pthread_create(thread, attr, begin, s);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (err != 0)
        free(s);
    return err;
}

static struct {
    pthread_mutex_t lock; /* one request at a time */
    pthread_t *thread;
    const pthread_attr_t *attr;
    void *(*start)(void *);
    void *arg;
    int err;
    uint32_t asked, answered; /* requests; futexes */
} maker = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void await(uint32_t *count, uint32_t old)
{
    while (__atomic_load_n(count, __ATOMIC_ACQUIRE) == old)
        sys_call(SYS_futex, (long)count, FUTEX_WAIT_PRIVATE, old, 0, 0, 0);
}

static void advance(uint32_t *count)
{
    __atomic_fetch_add(count, 1, __ATOMIC_RELEASE);
    sys_call(SYS_futex, (long)count, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

static void *make_for_others(void *unused)
{
    prctl(PR_SET_NAME, "dmtr-maker");
    for (uint32_t done = 0;; done++) {
        await(&maker.asked, done);
        maker.err = make(maker.thread, maker.attr, maker.start, maker.arg);
        advance(&maker.answered);
    }
    return unused;
}

static int ask(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    pthread_mutex_lock(&maker.lock);
    uint32_t before = maker.answered;
    maker.thread = thread;
    maker.attr = attr;
    maker.start = start;
    maker.arg = arg;
    advance(&maker.asked);
    await(&maker.answered, before);
    int err = maker.err;
    pthread_mutex_unlock(&maker.lock);
    return err;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    int err = make(thread, attr, start, arg);
    return err != 0 && dmtr_process.maker ? ask(thread, attr, start, arg) : err;
}

void dmtr_start_maker(void)
{
    pthread_t thread;
    if (__real_pthread_create == NULL || make(&thread, NULL, make_for_others, NULL) != 0)
        return;
    pthread_detach(thread);
    dmtr_process.maker = 1;
}
