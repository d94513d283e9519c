/*
 * Signals as the program has set them up. When Go starts it takes over SIGSEGV, SIGBUS, SIGFPE,
 * SIGPIPE and SIGURG, and sets SA_ONSTACK for every handler there is. The latter two are not needed,
 * since nothing here writes to broken pipes, and goroutines are not preempted by signals (see GODEBUG
 * in the Makefile). So all becomes what it was, but for the three that report faults: a fault in Go
 * code becomes a panic, which ends in EIO; any other goes where it would go without us.
 */
#define _GNU_SOURCE
#include "front.h"
#include "sys.h"

#include <link.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

/* An action as the kernel has it: the C library adds a flag to those that it sets. */
struct action {
    union {
        void (*plain)(int);
        void (*with_info)(int, siginfo_t *, void *);
    } handler;
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static struct action programs[_NSIG], gos[_NSIG];
static uintptr_t text_start, text_end;

static int is_fault(int sig)
{
    return sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE;
}

/* The C library needs some to itself, and begins to use them when the first thread is made. */
static int is_c_librarys(int sig)
{
    return sig > SIGSYS && sig < SIGRTMIN;
}

static void get(int sig, struct action *now)
{
    sys_call(SYS_rt_sigaction, sig, 0, (long)now, sizeof now->mask, 0, 0);
}

static void set(int sig, const struct action *wanted)
{
    sys_call(SYS_rt_sigaction, sig, (long)wanted, 0, sizeof wanted->mask, 0, 0);
}

/* Calls a handler in the way that its flags ask for. */
static void call(struct action *action, int sig, siginfo_t *info, void *context)
{
    struct action now = *action;
    if (now.flags & SA_RESETHAND)
        *action = (struct action){.flags = 0};
    uint64_t own = 1ULL << (sig - 1);
    sys_call(SYS_rt_sigprocmask, SIG_BLOCK, (long)&now.mask, 0, sizeof now.mask, 0, 0);
    if (now.flags & SA_NODEFER)
        sys_call(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&own, 0, sizeof own, 0, 0);
    if (now.flags & SA_SIGINFO)
        now.handler.with_info(sig, info, context);
    else
        now.handler.plain(sig);
}

/* Lets a signal do what the program had arranged for when it loaded the library. */
static void to_program(int sig, siginfo_t *info, void *context)
{
    struct action *old = &programs[sig];
    if (old->handler.plain == SIG_IGN && info->si_code <= 0)
        return;
    if (old->handler.plain != SIG_DFL && old->handler.plain != SIG_IGN) {
        call(old, sig, info, context);
        return;
    }
    /* A fault happens again on return, and ends the process. */
    static const struct action end;
    set(sig, &end);
    if (info->si_code <= 0)
        sys_call(SYS_tgkill, getpid(), gettid(), sig, 0, 0, 0);
}

/* Where Go hands on what did not happen in its code. */
static void from_go(int sig, siginfo_t *info, void *context)
{
    to_program(sig, info, context);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    if (info->si_code > 0 && at >= text_start && at < text_end)
        gos[sig].handler.with_info(sig, info, context);
    else
        to_program(sig, info, context);
}

/* Finds the code of this library. */
static int find_text(struct dl_phdr_info *object, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + p->p_vaddr, here = (uintptr_t)find_text;
        if (p->p_type == PT_LOAD && here >= start && here < start + p->p_memsz) {
            text_start = start;
            text_end = start + p->p_memsz;
            return 1;
        }
    }
    return 0;
}

void dmtr_before_go(void)
{
    struct sigaction ours = {.sa_sigaction = from_go, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (int sig = 1; sig < _NSIG; sig++) {
        get(sig, &programs[sig]);
        if (is_fault(sig))
            sigaction(sig, &ours, NULL);
    }
}

void dmtr_after_go(void)
{
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    dl_iterate_phdr(find_text, NULL);
    for (int sig = 1; sig < _NSIG; sig++) {
        get(sig, &gos[sig]);
        if (is_fault(sig))
            sigaction(sig, &ours, NULL);
        else if (!is_c_librarys(sig) && (gos[sig].handler.plain != programs[sig].handler.plain || gos[sig].flags != programs[sig].flags))
            set(sig, &programs[sig]);
    }
}
