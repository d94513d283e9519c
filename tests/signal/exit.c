/*
 * A handler that calls exit() at a random moment, with atexit() functions that close all queues: the
 * process ends at once and with its status, wherever it was hit. 300 times, in each wait mode.
 */
#include "signal/signals.h"

/* For LeakSanitizer: a process that ends amid an operation leaves behind what that was working on. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }

enum { TIMES = 300, WITHIN_MS = 1000, QUEUES = 4 };

static int qds[QUEUES];
static volatile int allocating; /* exit() in malloc() or free() may not work in any program */
static int inside;
static timer_t timer;

static void on_signal(int sig)
{
    int flag;
    (void)sig;
    if (allocating) {
        timer_soon(timer, 100);
        return;
    }
    inside = dmtr_is_qd_valid(&flag, qds[0]) == EBUSY;
    exit(0);
}

static void close_all(void)
{
    for (int i = 0; i < QUEUES; i++) {
        int err = dmtr_close(qds[i]);
        if (err != (inside ? EBUSY : 0)) {
            fprintf(stderr, "at exit, dmtr_close() returned %d, interrupted %s the library\n", err, inside ? "in" : "outside");
            _exit(1);
        }
    }
}

static void echo_for_ever(void)
{
    unsigned char data[2500];
    dmtr_qtoken_t never = q_start_pop(qds[0]);
    for (uint32_t i = 0;; i++) {
        dmtr_qresult_t qr;
        size_t len = i % 50 == 0 ? sizeof data : 1 + i * 37 % 1000;
        int from = qds[2 + i % 2], to = qds[3 - i % 2], at;
        fill(data, len, i, 0);
        q_push(from, data, len);
        dmtr_qtoken_t qts[2] = {never, q_start_pop(to)};
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts, 2), 0);
        allocating = 1;
        free(qr.qr_value.sga.sga_buf);
        allocating = 0;
        if (i % 20 == 0)
            CHECK_ERR(dmtr_wait_timeout(NULL, never, 30000), ETIMEDOUT); /* sleep a bit */
    }
}

static void child(void)
{
    CHECK_ERR(dmtr_init(0, NULL), 0);
    CHECK_ERR(dmtr_queue(&qds[0]), 0);
    CHECK_ERR(dmtr_socket(&qds[1], AF_INET, SOCK_STREAM, 0), 0);
    test_tcp_pair(&qds[2], &qds[3]);
    CHECK(atexit(close_all) == 0);
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    timer = thread_timer(SIGUSR1);
    timer_soon(timer, 2000);
    echo_for_ever();
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        test_watchdog();
        run_in_wait_modes("run");
        return 0;
    }
    (void)argv;
    for (uint64_t i = 0; i < test_scaled(TIMES / 3); i++) {
        pid_t pid = fork_child();
        if (pid == 0)
            child();
        CHECK_EQ(status_within(pid, test_own_stack() ? 10 * WITHIN_MS : WITHIN_MS), 0); /* the kernel has to take down the tap */
    }
    return 0;
}
