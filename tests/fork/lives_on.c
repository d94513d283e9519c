/*
 * A child that lives on holds copies of all sockets of its parent. What the parent closes ends all
 * the same: at once its peers see the end, after all that was sent before, a listener refuses, and
 * the parent's own pending operations are cancelled.
 */
#include "fork/fork.h"

/* Of a child made past the C library (the other ways to fork) the parent's library does not learn. */
enum { LARGE = 200000, LEARNT = 1 };

/* A child that does nothing until the parent writes to its pipe. */
struct idler {
    pid_t pid;
    int fd;
};

static struct idler start_idler(const struct way_to_fork *way)
{
    int fds[2];
    struct idler c;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    c.pid = way->fork();
    if (c.pid == 0) {
        char byte;
        child_alarm(TEST_SECONDS);
        _exit(read(fds[0], &byte, 1) == 1 ? 0 : 1);
    }
    CHECK(c.pid > 0);
    CHECK(close(fds[0]) == 0);
    c.fd = fds[1];
    return c;
}

static void end_idler(struct idler c)
{
    CHECK_EQ(write(c.fd, "x", 1), 1);
    CHECK(close(c.fd) == 0);
    child_passes(c.pid, "idle child");
}

/* Waits at most as long as "at once" may take here. */
static int wait_soon(dmtr_qresult_t *qr, dmtr_qtoken_t qt)
{
    return dmtr_wait_timeout(qr, qt, SOON_NS);
}

static int refused(const struct sockaddr_in *addr)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), err;
    CHECK(fd >= 0);
    err = connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 ? 0 : errno;
    CHECK(close(fd) == 0);
    return err == ECONNREFUSED;
}

static void test_peer_is_queue(const struct way_to_fork *way)
{
    int client = 0, server = 0;
    dmtr_qtoken_t at_client, at_server;
    dmtr_qresult_t qr;
    struct idler c;
    test_tcp_pair(&client, &server);
    at_client = q_start_pop(client);
    at_server = q_start_pop(server);
    c = start_idler(way);
    q_push(client, "last", 4);
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(wait_soon(&qr, at_client), ECANCELED);
    CHECK_ERR(wait_soon(&qr, at_server), 0);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 4);
    free(qr.qr_value.sga.sga_buf);
    CHECK_ERR(wait_soon(&qr, q_start_pop(server)), ECONNABORTED);
    CHECK_ERR(dmtr_close(server), 0);
    end_idler(c);
}

static void *push_and_close(void *arg)
{
    unsigned char *data = (unsigned char *)xmalloc(LARGE);
    int qd = *(int *)arg;
    fill(data, LARGE, 7, 0);
    q_push(qd, data, LARGE);
    CHECK_ERR(dmtr_close(qd), 0);
    free(data);
    return NULL;
}

/* A plain peer gets all that was pushed, and then the end. */
static void test_peer_is_plain(const struct way_to_fork *way, int before)
{
    int fd, qd;
    struct idler c;
    struct timeval limit = {5, 0};
    char byte;
    pthread_t t;
    if (before)
        c = start_idler(way); /* it has no copy of the connection */
    qd = q_pair(&fd);
    if (!before)
        c = start_idler(way);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    plain_send_message(fd, 3, 1); /* so that it is message mode */
    {
        unsigned char want[3];
        fill(want, 3, 1, 0);
        q_pop_is(qd, want, 3);
    }
    start_thread(&t, push_and_close, &qd);
    plain_expect_message(fd, LARGE, 7);
    CHECK_EQ(recv(fd, &byte, 1, 0), 0);
    join_thread(t);
    CHECK(close(fd) == 0);
    end_idler(c);
}

/* A listener, and connections that nobody has accepted. */
static void test_listener(const struct way_to_fork *way)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr), waiting;
    struct timeval limit = {5, 0};
    dmtr_qresult_t qr;
    char byte;
    struct idler c;
    ssize_t n;
    waiting = plain_connect(&addr, 0);
    c = start_idler(way);
    CHECK_ERR(wait_soon(&qr, q_start_accept(listener)), 0);
    CHECK_ERR(dmtr_close(qr.qr_value.ares.qd), 0);
    CHECK(setsockopt(waiting, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK_EQ(recv(waiting, &byte, 1, 0), 0);
    CHECK(close(waiting) == 0);
    waiting = plain_connect(&addr, 0);
    CHECK(setsockopt(waiting, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK(refused(&addr));
    n = recv(waiting, &byte, 1, 0);
    CHECK(n == 0 || (n < 0 && errno == ECONNRESET));
    CHECK(close(waiting) == 0);
    end_idler(c);
}

/* Many connections, several children. */
static void test_children_of_many(const struct way_to_fork *way)
{
    enum { PAIRS = 20, CHILDREN = 3 };
    int fds[PAIRS], qds[PAIRS];
    struct timeval limit = {5, 0};
    struct idler c[CHILDREN];
    char byte;
    for (int i = 0; i < PAIRS; i++)
        qds[i] = q_pair(&fds[i]);
    for (int i = 0; i < CHILDREN; i++)
        c[i] = start_idler(way);
    for (int i = 0; i < PAIRS; i++) {
        CHECK(setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
        CHECK_ERR(dmtr_close(qds[i]), 0);
        CHECK_EQ(recv(fds[i], &byte, 1, 0), 0);
        CHECK(close(fds[i]) == 0);
    }
    for (int i = 0; i < CHILDREN; i++)
        end_idler(c[i]);
}

/* The child ends while the connections go on. */
static void test_child_ends(const struct way_to_fork *way)
{
    struct traffic t;
    traffic_open(&t);
    for (int i = 0; i < 5; i++) {
        struct idler c = start_idler(way);
        traffic_burst(&t, WINDOW);
        end_idler(c);
        traffic_burst(&t, WINDOW);
    }
    traffic_close(&t);
}

/* Each way in a process of its own: the library may remember the first child. */
int main(int argc, char **argv)
{
    static const char *modes[] = {"adaptive", "block", "spin"};
    if (argc < 2) {
        for (int i = 0; i < 3 * LEARNT; i++)
            run_again(ways_to_fork[i / 3].name, "DMTR_WAIT", modes[i % 3]);
        return 0;
    }
    for (int i = 0; i < LEARNT; i++) {
        const struct way_to_fork *way = &ways_to_fork[i];
        if (strcmp(argv[1], way->name) != 0)
            continue;
        test_init();
        test_peer_is_queue(way);
        test_peer_is_plain(way, 0);
        test_peer_is_plain(way, 1);
        test_listener(way);
        test_children_of_many(way);
        test_child_ends(way);
        no_children();
        return 0;
    }
    return 1;
}
