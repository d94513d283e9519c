/*
 * Faults and fault signals, one after the other, in programs that use the library: sent, raised,
 * ignored, blocked, nested, passed on to the handler before. Each does what it does without the
 * library, and so do the flags of handlers.
 */
#include "embed/faults.h"

static volatile int hits;

static void count(int sig)
{
    (void)sig;
    hits++;
}

static void kill_self(void)
{
    started();
    kill(getpid(), SIGSEGV);
    pause();
}

static void raise_bus(void)
{
    started();
    raise(SIGBUS);
}

static void raise_in_thread(void)
{
    pthread_t t;
    started();
    start_thread(&t, traffic, NULL);
    pthread_kill(t, SIGFPE);
    pause();
}

static void sent_and_handled(int before)
{
    if (before)
        signal(SIGSEGV, count);
    dl_load(RTLD_NOW);
    test_init();
    if (!before)
        signal(SIGSEGV, count);
    raise(SIGSEGV);
    kill(getpid(), SIGSEGV);
    dl_echo(10);
    kill(getpid(), SIGSEGV);
    CHECK_EQ(hits, 3);
}

static void sent_before(void) { sent_and_handled(1); }
static void sent_after(void) { sent_and_handled(0); }

static void ignored(int before)
{
    if (before)
        signal(SIGSEGV, SIG_IGN);
    started();
    if (!before)
        signal(SIGSEGV, SIG_IGN);
    kill(getpid(), SIGSEGV);
    raise(SIGSEGV);
    dl_echo(3);
}

static void ignored_before(void) { ignored(1); }
static void ignored_after(void) { ignored(0); }

/* A fault kills even if the signal is ignored, or blocked. */
static void ignored_fault(void)
{
    ignored(1);
    peek((unsigned char *)16);
}

static void blocked_fault(void)
{
    sigset_t s;
    started();
    sigemptyset(&s);
    sigaddset(&s, SIGSEGV);
    sigprocmask(SIG_BLOCK, &s, NULL);
    peek((unsigned char *)16);
}

/* A handler that mends nothing, but is there only once: the second time the process ends. */
static void once(int before)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = count;
    sa.sa_flags = (int)SA_RESETHAND;
    if (before)
        CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
    started();
    if (!before)
        CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
    alarm(5);
    peek((unsigned char *)16);
}

static void once_before(void) { once(1); }
static void once_after(void) { once(0); }

static void back_to_default(void)
{
    signal(SIGSEGV, count);
    started();
    signal(SIGSEGV, SIG_DFL);
    peek((unsigned char *)16);
}

/* A fault in the handler itself, which SA_NODEFER allows. */
static __thread sigjmp_buf inner;
static volatile int depth;
static void nested_handler(int sig)
{
    (void)sig;
    if (depth++ > 0)
        siglongjmp(inner, 1);
    if (sigsetjmp(inner, 1) == 0)
        peek((unsigned char *)16);
    siglongjmp(away, 1);
}

static void nested(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = nested_handler;
    sa.sa_flags = SA_NODEFER;
    CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
    started();
    if (sigsetjmp(away, 1) == 0)
        peek((unsigned char *)16);
    CHECK_EQ(depth, 2);
}

/* The signals of sa_mask wait until the handler has returned. */
static volatile int hits_inside = -1;
static void masked_handler(int sig)
{
    (void)sig;
    raise(SIGUSR1);
    hits_inside = hits;
    siglongjmp(away, 1);
}

static void masked(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = masked_handler;
    sigaddset(&sa.sa_mask, SIGUSR1);
    CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
    signal(SIGUSR1, count);
    started();
    if (sigsetjmp(away, 1) == 0)
        peek((unsigned char *)16);
    CHECK_EQ(hits_inside, 0);
    CHECK_EQ(hits, 1);
}

/* A handler that passes on what is not its own to the one before it. */
static struct sigaction previous;
static void chaining_handler(int sig, siginfo_t *info, void *context)
{
    hits++;
    if (previous.sa_flags & SA_SIGINFO)
        previous.sa_sigaction(sig, info, context);
    else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
        previous.sa_handler(sig);
    else {
        signal(sig, SIG_DFL);
    }
}

static void chain(int handled)
{
    struct sigaction sa;
    installed_by = BY_SIGINFO;
    if (handled)
        install(BY_SIGINFO, 0);
    started();
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = chaining_handler;
    sa.sa_flags = SA_SIGINFO;
    for (int i = PROTECTED; i < KINDS; i++)
        CHECK(sigaction(sig_of[i], &sa, &previous) == 0);
    alarm(5);
    if (!handled)
        peek((unsigned char *)16);
    all_faults();
    CHECK(hits > FAULTS);
}

static void chain_handled(void) { chain(1); }
static void chain_unhandled(void) { chain(0); }

/* Signals that the library has nothing to do with. */
static void illegal(void)
{
    started();
    __asm__ volatile("ud2");
}

static void aborts(void)
{
    started();
    abort();
}

/* The stack is used up: the program's own alternate stack serves. */
static __attribute__((noinline)) int use_stack(volatile int n)
{
    volatile char frame[4096];
    frame[0] = (char)n;
    return n < 0 ? 0 : use_stack(n + 1) + frame[0];
}

static void overflow(void)
{
    struct rlimit small = {1 << 20, 1 << 20};
    own_stack();
    CHECK(setrlimit(RLIMIT_STACK, &small) == 0);
    installed_by = BY_SIGINFO_ONSTACK;
    install(BY_SIGINFO_ONSTACK, 0);
    started();
    for (int i = 0; i < 3; i++)
        if (sigsetjmp(away, 1) == 0)
            use_stack(0);
    CHECK_EQ(got, 3);
    dl_echo(3);
}

static void overflow_unhandled(void)
{
    started();
    use_stack(0);
}

static const struct single {
    const char *name;
    void (*run)(void);
    int sig; /* by which it ends, or 0 */
} singles[] = {
    {"kill_self", kill_self, SIGSEGV},
    {"raise_bus", raise_bus, SIGBUS},
    {"raise_in_thread", raise_in_thread, SIGFPE},
    {"sent_before", sent_before, 0},
    {"sent_after", sent_after, 0},
    {"ignored_before", ignored_before, 0},
    {"ignored_after", ignored_after, 0},
    {"ignored_fault", ignored_fault, SIGSEGV},
    {"blocked_fault", blocked_fault, SIGSEGV},
    {"once_before", once_before, SIGSEGV},
    {"once_after", once_after, SIGSEGV},
    {"back_to_default", back_to_default, SIGSEGV},
    {"nested", nested, 0},
    {"masked", masked, 0},
    {"chain_handled", chain_handled, 0},
    {"chain_unhandled", chain_unhandled, SIGSEGV},
    {"illegal", illegal, SIGILL},
    {"aborts", aborts, SIGABRT},
    {"overflow", overflow, 0},
    {"overflow_unhandled", overflow_unhandled, SIGSEGV},
};
enum { SINGLES = sizeof singles / sizeof singles[0] };

static void run_case(const char *name)
{
    no_core_file();
    for (int i = 0; i < SINGLES; i++)
        if (strcmp(name, singles[i].name) == 0) {
            singles[i].run();
            return;
        }
    CHECK(!"no such case");
}

int main(int argc, char **argv)
{
    if (SANITIZED)
        skip("the sanitizer handles faults itself");
    if (argc > 1) {
        run_case(argv[1]);
        return 0;
    }
    test_watchdog();
    for (int i = 0; i < SINGLES; i++)
        if (singles[i].sig == 0)
            case_passes(singles[i].name);
        else
            case_dies(singles[i].name, singles[i].sig);
    return cases_failed != 0;
}
