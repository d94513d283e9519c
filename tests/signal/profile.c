/*
 * A profiler: setitimer() signals echo pairs by processor time and by the clock, and the handlers,
 * with 32 KiB of stack, take a backtrace wherever they hit, inside Go, too. No byte is lost.
 */
#define STORM_ARM arm_profiler
#define STORM_DISARM disarm_profiler
struct party;
static void arm_profiler(struct party *p);
static void disarm_profiler(struct party *p);

#include "signal/storm.h"

#include <execinfo.h>
#include <sys/time.h>

enum { FRAME = 32 * 1024, DEPTH = 64 };

/* The signals at SIGNALS; the clock fires as often as it is asked to, processor time once a tick. */
static int timer_of(const char *name) { return strcmp(name, "prof") == 0 ? ITIMER_PROF : ITIMER_REAL; }
static const char *kind;
static int shortest_trace = DEPTH;

static void on_profile(int sig)
{
    unsigned char frame[FRAME];
    void *trace[DEPTH];
    frame_fill(frame, sizeof frame, sig);
    int n = backtrace(trace, DEPTH);
    if (n < shortest_trace)
        shortest_trace = n;
    interrupted();
    NOTE(&storm->mishap, frame_ok(frame, sizeof frame, sig), 1);
}

static void set_timer(int us)
{
    struct itimerval when = {{0, us}, {0, us}};
    CHECK(setitimer(timer_of(kind), &when, NULL) == 0);
}

static void arm_profiler(struct party *p)
{
    void *trace[1];
    (void)p;
    backtrace(trace, 1); /* its first call loads a library, which a handler must not */
    CHECK(signal(timer_of(kind) == ITIMER_PROF ? SIGPROF : SIGALRM, on_profile) != SIG_ERR);
    set_timer(100 + (int)any(100));
}

static void disarm_profiler(struct party *p)
{
    (void)p;
    set_timer(0);
    CHECK(shortest_trace >= 2);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        kind = argv[1];
        storm_begin(1);
        storm->calm = 1;
        storm->busy = timer_of(kind) == ITIMER_PROF;
        storm_processes(kind, test_scaled(timer_of(kind) == ITIMER_PROF ? 400 : 10000));
        return 0;
    }
    test_watchdog();
    run_in_wait_modes("prof");
    run_in_wait_modes("real");
    return 0;
}
