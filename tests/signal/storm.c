/*
 * 100,000 signals at random moments for an echo pair of two processes under load, in each framing
 * and wait mode, from timers of its threads and from another process: none is answered wrongly, and
 * no byte is lost or repeated. The handlers are installed by plain signal(), use 32 KiB of stack
 * each, and interrupt each other.
 *
 * DMTR_TEST_SCALE=10 makes it ten times as many.
 */
#include "signal/storm.h"

enum { SIGNALS = 100000 };

int main(int argc, char **argv)
{
    if (argc > 1) {
        storm_processes(argv[1], test_scaled(SIGNALS / 6));
        return 0;
    }
    test_watchdog();
    run_in_wait_modes("messages");
    setenv("DMTR_FRAMING", "stream", 1);
    run_in_wait_modes("stream");
    return 0;
}
