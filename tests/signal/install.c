/*
 * Ways to install a handler: before the library is loaded, between loading and dmtr_init(), after
 * it; by signal(), sigaction() or the bare system call; with SA_ONSTACK and an alternate stack of
 * the program's own, made early or late, or with none. Each is hit inside the library, runs on the
 * thread that was interrupted with the right arguments, and finds the flags that were set.
 */
#include "embed/dl.h"
#include "signal/signals.h"

#include <ucontext.h>

enum { FRAME = 32 * 1024, SMALL_FRAME = 2 * 1024, SMALL_STACK = 16 * 1024, HITS = 300, QUEUE = 1 };

enum when { BEFORE_LOAD, BEFORE_INIT, AFTER_INIT, WHENS };
enum how { BY_SIGNAL, BY_SIGACTION, BY_SIGINFO, BY_SYSCALL, HOWS };
enum stack { PLAIN, ONSTACK_NONE, ONSTACK_OWN, STACKS };

/* What the kernel takes: glibc's structure has another layout. */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static volatile int inside, outside, ready;
static int big_frames, own_stack;
static struct mishap mishap;
static pid_t main_tid;
static timer_t timer;
static unsigned char *stack_memory;

static int on_own_stack(const void *p)
{
    const unsigned char *at = (const unsigned char *)p;
    return stack_memory != NULL && at >= stack_memory && at < stack_memory + SMALL_STACK;
}

static void hit(int sig)
{
    int err = errno, flag, rc;
    NOTE(&mishap, sig, SIGUSR2);
    NOTE(&mishap, syscall(SYS_gettid), main_tid);
    NOTE(&mishap, on_own_stack(&err), own_stack);
    if (ready) {
        rc = dmtr_is_qd_valid(&flag, QUEUE);
        if (rc == EBUSY)
            inside++;
        else
            outside++;
        NOTE(&mishap, rc == 0 || rc == EBUSY, 1);
        NOTE(&mishap, dmtr_close(INT32_MAX), rc == EBUSY ? EBUSY : ENOENT);
    }
    timer_soon(timer, 200);
    errno = err;
}

static void hit_with_frame(int sig)
{
    unsigned char frame[FRAME];
    frame_fill(frame, sizeof frame, sig);
    hit(sig);
    NOTE(&mishap, frame_ok(frame, sizeof frame, sig), 1);
}

static void on_signal(int sig)
{
    unsigned char frame[SMALL_FRAME];
    frame_fill(frame, sizeof frame, sig);
    if (big_frames)
        hit_with_frame(sig);
    else
        hit(sig);
    NOTE(&mishap, frame_ok(frame, sizeof frame, sig), 1);
}

static void on_siginfo(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = (ucontext_t *)context;
    NOTE(&mishap, info->si_signo, sig);
    NOTE(&mishap, info->si_code, SI_TIMER);
    NOTE(&mishap, sigismember(&u->uc_sigmask, SIGUSR2), 0);
    on_signal(sig);
}

static void install(enum how how, int flags)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_flags = flags | SA_RESTART;
    sa.sa_handler = on_signal;
    if (how == BY_SIGINFO) {
        sa.sa_sigaction = on_siginfo;
        sa.sa_flags |= SA_SIGINFO;
    }
    if (how == BY_SIGNAL) {
        CHECK(signal(SIGUSR2, on_signal) != SIG_ERR);
    } else if (how == BY_SYSCALL) {
        struct kernel_sigaction k; /* glibc knows the restorer */
        CHECK(sigaction(SIGUSR2, &sa, NULL) == 0);
        CHECK(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &k, 8) == 0);
        CHECK(signal(SIGUSR2, SIG_DFL) == on_signal);
        CHECK(syscall(SYS_rt_sigaction, SIGUSR2, &k, NULL, 8) == 0);
    } else {
        CHECK(sigaction(SIGUSR2, &sa, NULL) == 0);
    }
    timer_soon(timer, 200);
}

static void set_own_stack(void)
{
    stack_t s;
    stack_memory = (unsigned char *)xmalloc(SMALL_STACK);
    memset(&s, 0, sizeof s);
    s.ss_sp = stack_memory;
    s.ss_size = SMALL_STACK;
    CHECK(sigaltstack(&s, NULL) == 0);
    own_stack = 1;
}

/* The thread still has the alternate stack that the program gave it, or none. */
static void check_own_stack(void)
{
    stack_t s;
    CHECK(sigaltstack(NULL, &s) == 0);
    if (own_stack)
        CHECK(s.ss_sp == stack_memory && s.ss_size == SMALL_STACK);
}

static void flags_are(enum how how, int flags)
{
    struct kernel_sigaction k;
    CHECK(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &k, 8) == 0);
    CHECK_EQ(k.flags & ~0x04000000ul, (unsigned long)flags | SA_RESTART | (how == BY_SIGINFO ? SA_SIGINFO : 0));
}

/* One way, in a process of its own. */
static void run(enum when when, enum how how, enum stack stack)
{
    int flags = stack == PLAIN ? 0 : SA_ONSTACK;
    main_tid = (pid_t)syscall(SYS_gettid);
    timer = thread_timer(SIGUSR2);
    big_frames = stack != ONSTACK_OWN;
    for (int at = BEFORE_LOAD; at < WHENS; at++) {
        if (at == BEFORE_INIT)
            dl_load(RTLD_NOW);
        if (at == AFTER_INIT)
            CHECK_ERR(dmtr_init(0, NULL), 0);
        if ((int)when == at) {
            if (stack == ONSTACK_OWN)
                set_own_stack();
            install(how, flags);
        }
    }
    ready = 1;
    for (int i = 0; i < 2000 && (inside < HITS || outside == 0); i++)
        dl_echo(10);
    timer_soon(timer, 0);
    check_no_mishap(&mishap, __FILE__);
    check_own_stack();
    flags_are(how, flags);
    CHECK(inside >= HITS);
    CHECK(outside > 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        int way = atoi(argv[1]);
        run((enum when)(way / 100), (enum how)(way / 10 % 10), (enum stack)(way % 10));
        return 0;
    }
    test_watchdog();
    for (int when = 0; when < WHENS; when++)
        for (int how = 0; how < HOWS; how++)
            for (int stack = 0; stack < STACKS; stack++) {
                char way[16];
                if (how == BY_SIGNAL && stack != PLAIN)
                    continue;
                snprintf(way, sizeof way, "%d%d%d", when, how, stack);
                run_again(way, "DMTR_WAIT", stack == ONSTACK_NONE ? "block" : "spin");
            }
    return 0;
}
