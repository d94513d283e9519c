/*
 * fork() in a program that uses the library: children that only exec or exit, at any moment;
 * children that start the library themselves; and a child of a process in which it runs already,
 * which must get an error and not hang.
 */
#include "api/kinds.h"

static void check_child(pid_t pid)
{
    int status = -1;
    CHECK(pid > 0);
    for (int i = 0; i < 10000; i++) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        CHECK(got >= 0);
        if (got == pid) {
            CHECK_EQ(status, 0);
            return;
        }
        usleep(500);
    }
    kill(pid, SIGKILL);
    fprintf(stderr, "the child hangs\n");
    exit(1);
}

/* Right after the program has started, while the library's own threads do. */
static int fork_at_once(void)
{
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        check_child(pid);
    }
    return 0;
}

static void use_it(void)
{
    unsigned char data[1000];
    int client = 0, server = 0;
    test_init();
    test_tcp_pair(&client, &server);
    for (uint32_t i = 0; i < 200; i++) {
        fill(data, sizeof data, i, 0);
        q_push(client, data, sizeof data);
        q_pop_is(server, data, sizeof data);
    }
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
}

/* As daemons do: the child is the one that goes on. */
static int daemon_like(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        use_it();
        _exit(0);
    }
    check_child(pid);
    return 0;
}

/* A child of a running one: whatever it calls answers, and the parent goes on. */
static int fork_later(void)
{
    pid_t pid;
    int fd, qd;
    use_it();
    qd = q_pair(&fd);
    pid = fork();
    if (pid == 0) {
        int other = 0;
        dmtr_qtoken_t qt = 0;
        alarm(5);
        (void)dmtr_queue(&other);
        (void)dmtr_pop(&qt, qd);
        (void)dmtr_close(qd);
        _exit(0);
    }
    check_child(pid);
    plain_send(fd, "x", 1);
    q_pop_is(qd, "x", 1);
    q_push(qd, "y", 1);
    plain_expect(fd, "y", 1);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        for (int i = 0; i < 60; i++)
            run_again("at once", NULL, NULL);
        for (int i = 0; i < 10; i++)
            run_again("daemon", NULL, NULL);
        run_again("later", NULL, NULL);
        return 0;
    }
    if (strcmp(argv[1], "at once") == 0)
        return fork_at_once();
    return strcmp(argv[1], "daemon") == 0 ? daemon_like() : fork_later();
}
