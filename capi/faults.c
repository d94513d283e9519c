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

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE};
static struct sigaction programs[_NSIG], gos[_NSIG];
static uintptr_t text_start, text_end;

/* Lets a signal do what the program had arranged for when it loaded the library. */
static void to_program(int sig, siginfo_t *info, void *context)
{
    const struct sigaction *old = &programs[sig];
    if (old->sa_flags & SA_SIGINFO) {
        old->sa_sigaction(sig, info, context);
    } else if (old->sa_handler == SIG_IGN && info->si_code <= 0) {
        return;
    } else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        old->sa_handler(sig);
    } else {
        /* A fault happens again on return, and ends the process. */
        struct sigaction end = {.sa_handler = SIG_DFL};
        sigaction(sig, &end, NULL);
        if (info->si_code <= 0)
            sys_call(SYS_tgkill, getpid(), gettid(), sig, 0, 0, 0);
    }
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
        gos[sig].sa_sigaction(sig, info, context);
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
    for (int sig = 1; sig < _NSIG; sig++)
        sigaction(sig, NULL, &programs[sig]);
    struct sigaction ours = {.sa_sigaction = from_go, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigaction(faults[i], &ours, NULL);
}

void dmtr_after_go(void)
{
    dl_iterate_phdr(find_text, NULL);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        sigaction(faults[i], NULL, &gos[faults[i]]);
        struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        ours.sa_mask = programs[faults[i]].sa_mask;
        sigaction(faults[i], &ours, NULL);
    }
    for (int sig = 1; sig < _NSIG; sig++) {
        struct sigaction now;
        if (sig != SIGSEGV && sig != SIGBUS && sig != SIGFPE && sigaction(sig, NULL, &now) == 0 &&
            (now.sa_sigaction != programs[sig].sa_sigaction || now.sa_flags != programs[sig].sa_flags))
            sigaction(sig, &programs[sig], NULL);
    }
}
