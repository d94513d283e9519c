/*
 * Handlers may use 200 KiB of stack wherever they hit, also inside Go: an echo pair under signals in
 * mode spin, where they nearly always hit the library.
 */
#define STORM_FRAME (200 * 1024)
#define STORM_ARM no_timer /* one signal alone: handlers do not interrupt each other */
#define STORM_DISARM no_timer
struct party;
static void no_timer(struct party *p);

#include "signal/storm.h"

static void no_timer(struct party *p) { (void)p; }

int main(int argc, char **argv)
{
    if (argc > 1) {
        storm_processes(argv[1], test_scaled(3000));
        return 0;
    }
    test_watchdog();
    run_again("deep frames", "DMTR_WAIT", "spin");
    run_again("deep frames", "DMTR_WAIT", "block");
    return 0;
}
