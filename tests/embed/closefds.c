/*
 * A program that closes descriptors that are not its own. At its start, as daemons do, that does not
 * matter. After dmtr_init() the library loses its own: what is started then fails with EBADF, a wait
 * that looks at them ends with EIO, as do all calls after it, and nothing crashes; nor if other files
 * have taken the numbers since. closed_waits.c has more about the waits.
 */
#include "embed/cases.h"

#include <dmtr/ext.h>
#include <sys/syscall.h>

enum { SOON_NS = 50000000 };

static void close_all(void)
{
    long rc = syscall(SYS_close_range, 3, ~0U, 0);
    if (rc != 0 && errno == ENOSYS)
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
    else
        CHECK_EQ(rc, 0);
}

/* Everything that may be done. What sockets return matters only if their descriptors are gone. */
static void try_all(int gone, int client, int server, int listener, int queue, const struct sockaddr_in *addr)
{
    dmtr_qtoken_t qts[5];
    dmtr_qresult_t qr;
    struct sockaddr_in name;
    socklen_t size = sizeof name;
    static char big[1 << 20];
    int n = 0, at, qd = 0;
    dmtr_sgarray_t small = test_sga(big, 10), large = test_sga(big, sizeof big);
    n += dmtr_push(&qts[n], client, &small) == 0;
    n += dmtr_push(&qts[n], client, &large) == 0;
    n += dmtr_pop(&qts[n], server) == 0;
    n += dmtr_accept(&qts[n], listener) == 0;
    n += dmtr_pop(&qts[n], queue) == 0;
    CHECK(n > 0); /* a memory queue needs no descriptor */
    dmtr_getsockname(listener, (struct sockaddr *)&name, &size);
    for (int i = 0; i < n; i++) {
        int err = dmtr_wait_timeout(NULL, qts[i], SOON_NS);
        if (QT2QD(qts[i]) == (uint32_t)queue)
            CHECK_ERR(err, EIO);
        else if (gone)
            CHECK_ERR(err, EBADF);
    }
    dmtr_wait_any_timeout(&qr, &at, qts, n, SOON_NS);
    if (dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0) == 0) {
        dmtr_qtoken_t qt;
        if (dmtr_pop(&qt, qd) == 0)
            dmtr_drop(qt);
        dmtr_bind(qd, ADDR(addr), sizeof *addr);
        dmtr_listen(qd, 5);
        dmtr_close(qd);
    }
    if (dmtr_open(&qd, "/dev/zero", O_RDONLY) == 0) {
        if (dmtr_pop(&qts[0], qd) == 0)
            dmtr_wait_timeout(NULL, qts[0], SOON_NS);
        dmtr_close(qd);
    }
    dmtr_close(client);
    dmtr_close(server);
    dmtr_close(listener);
    CHECK_ERR(dmtr_close(queue), EIO);
}

static int blocked_err = -1;
static void *blocked(void *arg)
{
    blocked_err = dmtr_wait_timeout(NULL, *(dmtr_qtoken_t *)arg, 10 * (uint64_t)SOON_NS);
    return NULL;
}

/* Those that come after the library's take the numbers of its descriptors. */
static void run_case(const char *name)
{
    struct sockaddr_in addr;
    int client, server, queue = 0, another = 0, listener, gone = strcmp(name, "closed") == 0;
    dmtr_qtoken_t pop;
    pthread_t t;
    test_init();
    alarm(10);
    listener = test_listen(&addr);
    test_tcp_connect(listener, &addr, &client, &server);
    CHECK_ERR(dmtr_queue(&queue), 0);
    CHECK_ERR(dmtr_queue(&another), 0);
    pop = q_start_pop(another); /* here, because the thread may come late */
    start_thread(&t, blocked, &pop);
    usleep(20000);
    close_all();
    if (!gone)
        for (int i = 0; i < 64; i++)
            CHECK(open(i % 2 ? "/dev/null" : "/dev/zero", O_RDWR) >= 0);
    try_all(gone, client, server, listener, queue, &addr);
    join_thread(t);
    CHECK_ERR(blocked_err, EIO);
}

/* As bash and daemons do, before the library starts. */
static void at_start(void)
{
    int client, server;
    close_all();
    test_init();
    test_tcp_pair(&client, &server);
    q_push(client, "hello", 5);
    q_pop_is(server, "hello", 5);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        if (strcmp(argv[1], "start") == 0)
            at_start();
        else
            run_case(argv[1]);
        return 0;
    }
    test_watchdog();
    case_passes("start");
    case_gives_up("closed");
    case_gives_up("reused");
    return cases_failed != 0;
}
