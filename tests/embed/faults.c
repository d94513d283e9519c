/*
 * The program's own faults are its own affair. Its handlers for SIGSEGV, SIGBUS and SIGFPE, installed
 * at any time and in any way, get all faults outside the library, with the right address, on any
 * thread, while others use the library; they may mend the cause and return, or jump away. Without a
 * handler the process ends by the signal, and nothing is printed. faults_single.c has more.
 */
#include "embed/faults.h"

#include <sys/syscall.h>

/* ---- handled faults ---- */

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

static void run_case(const char *name)
{
    int a, b;
    no_core_file();
    if (sscanf(name, "handled-%d-%d", &a, &b) == 2)
        case_handled((enum when)a, (enum how)b);
    else if (sscanf(name, "unhandled-%d-%d", &a, &b) == 2)
        case_unhandled((enum kind)a, b);
    else
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
