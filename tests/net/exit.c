/*
 * A program pushes, waits for the push, and exits: with the queue closed or not, the peer gets all of it and then the
 * end of the connection.
 */
#include "net/peer.h"

enum { LEN = 3000000 };

static void serve(int port_pipe, int closes)
{
    struct sockaddr_in addr;
    char *data = (char *)xmalloc(LEN);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    int qd, listener = test_listen(&addr);
    CHECK(write(port_pipe, &addr, sizeof addr) == sizeof addr);
    qd = q_accept(listener);
    q_pop_is(qd, "go", 2);
    fill(data, LEN, 7, 0);
    q_push(qd, data, LEN);
    free(data);
    if (closes)
        CHECK_ERR(dmtr_close(qd), 0);
    exit(0);
}

static void run(int closes)
{
    struct sockaddr_in addr;
    int port_pipe[2], status, fd;
    char *got;
    pid_t pid;
    CHECK(pipe(port_pipe) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        serve(port_pipe[1], closes);
    CHECK(close(port_pipe[1]) == 0);
    if (read(port_pipe[0], &addr, sizeof addr) != sizeof addr)
        exit(1); /* the child says why */
    got = (char *)xmalloc(LEN);
    fd = plain_connect(&addr, 8192);
    plain_send(fd, "go", 2);
    usleep(20000);
    CHECK_EQ(plain_recv(fd, got, LEN), LEN);
    check_fill(got, LEN, 7, 0);
    CHECK_EQ(plain_recv(fd, got, 1), 0);
    CHECK(close(fd) == 0 && close(port_pipe[0]) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    free(got);
}

int main(void)
{
    test_watchdog();
    run(1);
    run(0);
    return 0;
}
