/*
 * The program's own faults are its own affair. Its handlers for SIGSEGV, SIGBUS and SIGFPE, installed
 * at any time and in any way, get all faults outside the library, with the right address, on any
 * thread, while others use the library; they may mend the cause and return, or jump away. Without a
 * handler the process ends by the signal, and nothing is printed. The flags of a handler do what they
 * do without the library.
 */
#include "embed/dl.h"
#include "embed/cases.h"

#include <setjmp.h>
#include <sys/syscall.h>

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1 /* has handlers of its own */
#else
#define SANITIZED 0
#endif

enum { FAULTS = 100 };
enum when { BEFORE_LOAD, AFTER_LOAD, AFTER_INIT, WHENS };
enum how { BY_SIGNAL, BY_SIGINFO, BY_SIGINFO_ONSTACK, HOWS };
enum kind { NOWHERE, PROTECTED, UNCANONICAL, BAD_CALL, PAST_END, DIVISION, KINDS };

static const int sig_of[KINDS] = {SIGSEGV, SIGSEGV, SIGSEGV, SIGSEGV, SIGBUS, SIGFPE};

/* ---- faults ---- */

static unsigned char *past_end(void)
{
    FILE *f = tmpfile();
    CHECK(f != NULL);
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
    CHECK(p != MAP_FAILED);
    fclose(f);
    return (unsigned char *)p;
}

/* Reads a byte, which is where the fault happens. */
static __attribute__((noinline)) int peek(volatile unsigned char *p)
{
    return *p;
}

static void divide(void)
{
    static volatile int zero;
    zero = 7 / zero;
}

/* Does what the kind says, at the address if it needs one. */
static void commit(enum kind kind, unsigned char *at)
{
    void (*code)(void);
    if (kind == DIVISION)
        divide();
    else if (kind == BAD_CALL) {
        memcpy(&code, &at, sizeof code);
        code();
    } else
        peek(at);
}

static unsigned char *place_of(enum kind kind)
{
    switch (kind) {
    case NOWHERE: return (unsigned char *)16;
    case UNCANONICAL: return (unsigned char *)0x8000000000001000u;
    case PAST_END: return past_end();
    default: return map_page(PROT_NONE);
    }
}

/* ---- handlers ---- */

static __thread sigjmp_buf away;
static __thread unsigned char *volatile mend; /* a page that can be made accessible, or NULL: jump */
static __thread volatile int got_sig, got;
static __thread void *volatile got_address;

static void handle(int sig)
{
    got++;
    got_sig = sig;
    if (mend == NULL)
        siglongjmp(away, 1);
    if (mprotect(mend, 4096, PROT_READ) != 0)
        _exit(3);
}

static void handle_with_info(int sig, siginfo_t *info, void *context)
{
    got_address = info->si_addr;
    if (context == NULL || info->si_signo != sig || info->si_code <= 0)
        _exit(4);
    handle(sig);
}

static void install(enum how how, int flags)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = handle_with_info;
    sa.sa_flags = SA_SIGINFO | flags | (how == BY_SIGINFO_ONSTACK ? SA_ONSTACK : 0);
    for (int i = PROTECTED; i < KINDS; i++)
        if (how == BY_SIGNAL)
            CHECK(signal(sig_of[i], handle) != SIG_ERR);
        else
            CHECK(sigaction(sig_of[i], &sa, NULL) == 0);
}

/* ---- handled faults ---- */

static enum how installed_by;
static volatile int stop_traffic;

static void fault(enum kind kind)
{
    unsigned char *volatile at = place_of(kind);
    volatile int before = got;
    mend = NULL;
    got_address = (void *)&got;
    if (sigsetjmp(away, 1) == 0) {
        commit(kind, at);
        CHECK(!"there was no fault");
    }
    CHECK_EQ(got, before + 1);
    CHECK_EQ(got_sig, sig_of[kind]);
    if (installed_by != BY_SIGNAL && kind != DIVISION)
        CHECK(got_address == (kind == UNCANONICAL ? NULL : at));
    if (kind == PROTECTED) { /* the same again, with a handler that returns */
        mend = at;
        CHECK_EQ(peek(at), 0);
        CHECK_EQ(got, before + 2);
    }
    if (kind == PROTECTED || kind == BAD_CALL || kind == PAST_END)
        munmap(at, 4096);
}

static void all_faults(void)
{
    sigset_t mask;
    for (int i = 0; i < FAULTS; i++)
        fault((enum kind)(i % KINDS));
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    for (int i = 0; i < KINDS; i++)
        CHECK(!sigismember(&mask, sig_of[i]));
}

static void *faults_only(void *arg)
{
    all_faults();
    return arg;
}

static void *faults_between_calls(void *arg)
{
    int qd = 0;
    dl_echo(1);
    CHECK_ERR(dmtr_queue(&qd), 0);
    for (int i = 0; i < KINDS * 10; i++) {
        fault((enum kind)(i % KINDS));
        q_push(qd, "x", 1);
        q_pop_is(qd, "x", 1);
    }
    CHECK_ERR(dmtr_close(qd), 0);
    dl_echo(10);
    return arg;
}

static void *traffic(void *arg)
{
    while (!stop_traffic)
        dl_echo(20);
    return arg;
}

static void own_stack(void)
{
    static unsigned char memory[64 << 10];
    stack_t s = {.ss_sp = memory, .ss_size = sizeof memory};
    CHECK(sigaltstack(&s, NULL) == 0);
}

static void case_handled(enum when when, enum how how)
{
    pthread_t t[4];
    installed_by = how;
    if (how == BY_SIGINFO_ONSTACK)
        own_stack();
    if (when == BEFORE_LOAD) {
        install(how, 0);
        all_faults();
    }
    dl_load(when == AFTER_LOAD ? RTLD_LAZY : RTLD_NOW);
    if (when == AFTER_LOAD)
        install(how, 0);
    if (when != AFTER_INIT)
        all_faults();
    test_init();
    if (when == AFTER_INIT)
        install(how, 0);
    all_faults();
    faults_between_calls(NULL);
    start_thread(&t[0], traffic, NULL);
    start_thread(&t[1], faults_only, NULL);
    start_thread(&t[2], faults_between_calls, NULL);
    start_thread(&t[3], faults_between_calls, NULL);
    all_faults();
    for (int i = 1; i < 4; i++)
        join_thread(t[i]);
    stop_traffic = 1;
    join_thread(t[0]);
}

/* ---- faults that nobody handles ---- */

static void *fault_and_end(void *arg)
{
    enum kind kind = *(enum kind *)arg;
    commit(kind, place_of(kind));
    return NULL;
}

static void *use_fault_and_end(void *arg)
{
    dl_echo(3);
    return fault_and_end(arg);
}

/* Where: 0 main thread before dmtr_init(), 1 after calls, 2 another thread, 3 one that has made calls. */
enum { WHERES = 4 };
static void case_unhandled(enum kind kind, int where)
{
    pthread_t t;
    dl_load(RTLD_NOW);
    if (where == 0)
        fault_and_end(&kind);
    test_init();
    dl_echo(3);
    if (where == 1)
        fault_and_end(&kind);
    start_thread(&t, where == 2 ? fault_and_end : use_fault_and_end, &kind);
    pause();
}

/* ---- single cases ---- */

static volatile int hits;

static void count(int sig)
{
    (void)sig;
    hits++;
}

static void started(void)
{
    dl_load(RTLD_NOW);
    test_init();
    dl_echo(3);
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
    int a, b;
    no_core_file();
    if (sscanf(name, "handled-%d-%d", &a, &b) == 2) {
        case_handled((enum when)a, (enum how)b);
        return;
    }
    if (sscanf(name, "unhandled-%d-%d", &a, &b) == 2)
        case_unhandled((enum kind)a, b);
    for (int i = 0; i < SINGLES; i++)
        if (strcmp(name, singles[i].name) == 0) {
            singles[i].run();
            return;
        }
    CHECK(!"no such case");
}

int main(int argc, char **argv)
{
    char name[64];
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
    for (int kind = 0; kind < KINDS; kind++)
        for (int where = 0; where < WHERES; where++) {
            snprintf(name, sizeof name, "unhandled-%d-%d", kind, where);
            case_dies(name, sig_of[kind]);
        }
    for (int when = 0; when < WHENS; when++)
        for (int how = 0; how < HOWS; how++) {
            snprintf(name, sizeof name, "handled-%d-%d", when, how);
            case_passes(name);
        }
    return cases_failed != 0;
}
