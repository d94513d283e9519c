/*
 * What the tests of the program's own faults share: ways to make one, and a handler that mends the
 * cause or jumps away.
 */
#ifndef DMTR_TESTS_EMBED_FAULTS_H
#define DMTR_TESTS_EMBED_FAULTS_H

#include "embed/dl.h"
#include "embed/cases.h"

#include <setjmp.h>

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

static inline unsigned char *past_end(void)
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

static inline void divide(void)
{
    static volatile int zero;
    zero = 7 / zero;
}

/* Does what the kind says, at the address if it needs one. */
static inline void commit(enum kind kind, unsigned char *at)
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

static inline unsigned char *place_of(enum kind kind)
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

static inline void handle(int sig)
{
    got++;
    got_sig = sig;
    if (mend == NULL)
        siglongjmp(away, 1);
    if (mprotect(mend, 4096, PROT_READ) != 0)
        _exit(3);
}

static inline void handle_with_info(int sig, siginfo_t *info, void *context)
{
    got_address = info->si_addr;
    if (context == NULL || info->si_signo != sig || info->si_code <= 0)
        _exit(4);
    handle(sig);
}

static inline void install(enum how how, int flags)
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

static inline void fault(enum kind kind)
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

static inline void all_faults(void)
{
    sigset_t mask;
    for (int i = 0; i < FAULTS; i++)
        fault((enum kind)(i % KINDS));
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    for (int i = 0; i < KINDS; i++)
        CHECK(!sigismember(&mask, sig_of[i]));
}

/* ---- the library, used meanwhile ---- */

static volatile int stop_traffic;

static inline void *traffic(void *arg)
{
    while (!stop_traffic)
        dl_echo(20);
    return arg;
}

static inline void started(void)
{
    dl_load(RTLD_NOW);
    test_init();
    dl_echo(3);
}

static inline void own_stack(void)
{
    static unsigned char memory[64 << 10];
    stack_t s = {.ss_sp = memory, .ss_size = sizeof memory};
    CHECK(sigaltstack(&s, NULL) == 0);
}

#endif
