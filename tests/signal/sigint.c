/*
 * A server as old ports have it: its SIGINT handler closes the queues and exits. Whatever the server
 * was doing, it ends with status 0, and the peer sees the end of its connection at once.
 */
#include "signal/signals.h"

/* For LeakSanitizer: a process that ends amid an operation leaves behind what that was working on. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }

enum { TIMES = 20, WITHIN_MS = 1000 };

static int listener, connection;

static void on_sigint(int sig)
{
    unsigned char frame[32 * 1024];
    frame_fill(frame, sizeof frame, sig);
    int first = dmtr_close(connection), second = dmtr_close(listener);
    if (first != second || (first != 0 && first != EBUSY) || !frame_ok(frame, sizeof frame, sig))
        _exit(1);
    exit(0);
}

/* Closes one queue and then does what echoes do; echoes until SIGINT. */
static void serve(int port_pipe)
{
    struct sockaddr_in addr;
    dmtr_qtoken_t qts[2];
    CHECK_ERR(dmtr_init(0, NULL), 0);
    listener = test_listen(&addr);
    CHECK(write(port_pipe, &addr, sizeof addr) == sizeof addr);
    connection = q_accept(listener);
    CHECK(signal(SIGINT, on_sigint) != SIG_ERR);
    qts[0] = q_start_accept(listener);
    qts[1] = q_start_pop(connection);
    for (;;) {
        dmtr_qresult_t qr;
        int at = -1;
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts, 2), 0);
        CHECK_EQ(at, 1);
        if (qr.qr_opcode == DMTR_OPC_POP) /* the block is leaked: no handler may exit within free() */
            CHECK_ERR(dmtr_push(&qts[1], connection, &qr.qr_value.sga), 0);
        else
            qts[1] = q_start_pop(connection);
    }
}

static void run_once(int with_traffic)
{
    struct sockaddr_in addr;
    int port_pipe[2];
    uint64_t from;
    char c;
    CHECK(pipe(port_pipe) == 0);
    pid_t pid = fork_child();
    if (pid == 0)
        serve(port_pipe[1]);
    CHECK(read(port_pipe[0], &addr, sizeof addr) == sizeof addr);
    int fd = plain_connect(&addr, 0);
    for (uint32_t i = 0; i < 20; i++) {
        plain_send_message(fd, 1000, i);
        plain_expect_message(fd, 1000, i);
    }
    if (with_traffic)
        for (uint32_t i = 0; i < 20; i++)
            plain_send_message(fd, 1000, i);
    else
        usleep(1000 + any(3000));
    from = now_us();
    if (test_own_stack()) { /* nobody ends the connection if the handler interrupts the library */
        struct timeval enough = {1, 0};
        CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &enough, sizeof enough) == 0);
    }
    CHECK(kill(pid, SIGINT) == 0);
    while (recv(fd, &c, 1, 0) > 0)
        ;
    CHECK(now_us() - from < WITHIN_MS * 1000 || test_own_stack());
    CHECK_EQ(status_within(pid, WITHIN_MS), 0);
    CHECK(close(fd) == 0 && close(port_pipe[0]) == 0 && close(port_pipe[1]) == 0);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        test_watchdog();
        run_in_wait_modes("run");
        return 0;
    }
    (void)argv;
    for (int i = 0; i < TIMES; i++)
        run_once(i % 2);
    return 0;
}
