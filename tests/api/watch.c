/*
 * dmtr_watch: errors; pops of descriptors of all sorts, readable before and after, one and many, in
 * each wait mode and beside sockets; dropped, closed, and with the descriptor closed first.
 */
#include "api/timed.h"
#include "api/kinds.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

enum { CALLS = 5000 }; /* after so many calls that do not wait what is readable has been seen */

static int watch(int fd)
{
    int qd = 0;
    CHECK_ERR(dmtr_watch(&qd, fd), 0);
    CHECK(qd >= 0x40000000);
    CHECK_EQ(q_valid(qd), 1);
    return qd;
}

static int memory_queue(void)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    return qd;
}

static void put(int fd)
{
    uint64_t one = 1;
    CHECK_EQ(write(fd, &one, sizeof one), sizeof one);
}

static void get(int fd)
{
    uint64_t n;
    CHECK_EQ(read(fd, &n, sizeof n), sizeof n);
}

static void is_event(const dmtr_qresult_t *qr, dmtr_qtoken_t qt)
{
    CHECK_EQ(qr->qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr->qr_qd, QT2QD(qt));
    CHECK_EQ(qr->qr_qt, qt);
    CHECK(qr->qr_value.sga.sga_buf == NULL);
    CHECK_EQ(qr->qr_value.sga.sga_numsegs, 0);
}

/* Checks that a pop completes. */
static void wait_event(dmtr_qtoken_t qt)
{
    dmtr_qresult_t qr;
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait_timeout(&qr, qt, LONG_NS), 0);
    is_event(&qr, qt);
}

static void is_readable(int qd)
{
    wait_event(q_start_pop(qd));
}

static void not_readable(int qd)
{
    dmtr_qtoken_t qt = q_start_pop(qd);
    CHECK_ERR(dmtr_wait_timeout(NULL, qt, 2 * MS), ETIMEDOUT);
    for (int i = 0; i < 200; i++)
        CHECK_ERR(dmtr_poll(NULL, qt), EAGAIN);
    CHECK_ERR(dmtr_drop(qt), 0);
}

/* Checks that a wait for something else sleeps. */
static void others_sleep(void)
{
    int qd = memory_queue();
    sleeps_quietly(q_start_pop(qd));
    CHECK_ERR(dmtr_close(qd), 0);
}

static void test_errors(void)
{
    struct kinds k;
    struct sockaddr_in addr = test_loopback(1);
    int qd = 12345, p[2], other, folder = open("/", O_RDONLY | O_CLOEXEC), file;
    dmtr_qtoken_t qt;
    dmtr_sgarray_t sga = test_sga(&qt, 1);
    kinds_open(&k);
    file = open(k.path, O_RDWR | O_CLOEXEC);
    CHECK(folder >= 0 && file >= 0 && pipe(p) == 0);
    CHECK_ERR(dmtr_watch(NULL, p[0]), EINVAL);
    CHECK_ERR(dmtr_watch(&qd, -1), EINVAL);
    CHECK_ERR(dmtr_watch(&qd, INT_MIN), EINVAL);
    CHECK_ERR(dmtr_watch(&qd, 99999), EBADF);
    CHECK_ERR(dmtr_watch(&qd, k.memory), EBADF);
    CHECK_ERR(dmtr_watch(&qd, folder), ENOTSUP);
    CHECK_ERR(dmtr_watch(&qd, file), ENOTSUP);
    CHECK_EQ(qd, 12345);
    qd = watch(p[0]);
    CHECK_ERR(dmtr_watch(&other, p[0]), EEXIST);
    CHECK_ERR(dmtr_push(&qt, qd, &sga), ENOTSUP);
    CHECK_ERR(dmtr_accept(&qt, qd), ENOTSUP);
    CHECK_ERR(dmtr_listen(qd, 1), ENOTSUP);
    CHECK_ERR(dmtr_bind(qd, ADDR(&addr), sizeof addr), ENOTSUP);
    CHECK_ERR(dmtr_lseek(qd, 0, SEEK_SET), ENOTSUP);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_pop(&qt, qd), ENOENT);
    qd = watch(p[0]); /* again */
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(p[0]) == 0 && close(p[1]) == 0 && close(folder) == 0 && close(file) == 0);
    kinds_close(&k);
}

static void *put_later(void *arg)
{
    usleep(20000);
    put(*(int *)arg);
    return NULL;
}

/* A descriptor that is readable when put() has been called on another, or the same, until get(). */
static void test_turns(int fd, int in, int drain)
{
    int qd = watch(fd);
    dmtr_qtoken_t qt, both[2];
    dmtr_qresult_t qr;
    pthread_t t;
    uint64_t from;
    int rc;
    not_readable(qd);
    put(in); /* before the pop */
    for (int i = 0; i < 3; i++)
        is_readable(qd);
    CHECK_ERR(dmtr_pop2(&qt, qd, 100), 0);
    wait_event(qt);
    get(drain);
    not_readable(qd);
    for (int i = 0; i < 2; i++)
        both[i] = q_start_pop(qd);
    CHECK_ERR(dmtr_wait_timeout(NULL, both[1], MS), ETIMEDOUT);
    put(in); /* after it */
    wait_event(both[1]);
    wait_event(both[0]);
    qt = q_start_pop(qd); /* without a wait */
    for (int i = 0; (rc = dmtr_poll(&qr, qt)) == EAGAIN; i++)
        CHECK(i < CALLS);
    CHECK_ERR(rc, 0);
    is_event(&qr, qt);
    CHECK_ERR(dmtr_drop(qt), 0);
    get(drain);
    qt = q_start_pop(qd); /* while a wait sleeps */
    sleeps_quietly(qt);
    from = now_ns();
    start_thread(&t, put_later, &in);
    wait_event(qt);
    CHECK(now_ns() - from < SOON_NS);
    join_thread(t);
    get(drain);
    not_readable(qd);
    CHECK_ERR(dmtr_close(qd), 0);
    put(in); /* the descriptor is the program's still */
    get(drain);
}

static int epoll_of(int fd)
{
    struct epoll_event ev = {EPOLLIN, {0}};
    int set = epoll_create1(EPOLL_CLOEXEC);
    CHECK(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev) == 0);
    return set;
}

static void test_sorts(void)
{
    int p[2], s[2], e = eventfd(0, EFD_CLOEXEC), t = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), set, nested, qd;
    struct itimerspec soon = {{0, 0}, {0, 5000000}};
    CHECK(pipe(p) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && e >= 0 && t >= 0);
    set = epoll_of(p[0]);
    nested = epoll_of(set);
    test_turns(p[0], p[1], p[0]);
    test_turns(s[0], s[1], s[0]);
    test_turns(e, e, e);
    test_turns(set, p[1], p[0]);
    test_turns(nested, p[1], p[0]);
    qd = watch(t);
    not_readable(qd);
    CHECK(timerfd_settime(t, 0, &soon, NULL) == 0);
    is_readable(qd);
    get(t);
    not_readable(qd);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(set) == 0 && close(nested) == 0 && close(e) == 0 && close(t) == 0);

    CHECK(close(p[1]) == 0); /* the end of a pipe, of which nobody asks, or somebody does */
    qd = watch(p[0]);
    others_sleep();
    is_readable(qd);
    is_readable(qd);
    others_sleep();
    CHECK_ERR(dmtr_close(qd), 0);
    qd = watch(s[0]);
    CHECK(shutdown(s[1], SHUT_WR) == 0);
    is_readable(qd);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(p[0]) == 0 && close(s[0]) == 0 && close(s[1]) == 0);
    CHECK(pipe(p) == 0);
    qd = watch(p[1]); /* an error */
    not_readable(qd);
    CHECK(close(p[0]) == 0);
    is_readable(qd);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(p[1]) == 0);
}

static void test_drop(void)
{
    int e = eventfd(0, EFD_CLOEXEC), qd = watch(e);
    dmtr_qtoken_t a = q_start_pop(qd), b = q_start_pop(qd);
    CHECK_ERR(dmtr_drop(a), 0); /* pending */
    CHECK_ERR(dmtr_poll(NULL, b), EAGAIN);
    put(e);
    wait_event(b);
    a = q_start_pop(qd);
    q_progress(5);
    CHECK_ERR(dmtr_drop(a), 0); /* completed, unseen: the next one asks anew */
    get(e);
    not_readable(qd);
    a = q_start_pop(qd);
    q_progress(1);
    CHECK_ERR(dmtr_drop(a), 0); /* pending; then comes what it has waited for */
    put(e);
    others_sleep();
    is_readable(qd);
    a = q_start_pop(qd);
    CHECK_ERR(dmtr_drop(a), 0);
    others_sleep();
    a = q_start_pop(qd);
    get(e);
    CHECK_ERR(dmtr_wait_timeout(NULL, a, 5 * MS), ETIMEDOUT);
    CHECK_ERR(dmtr_close(qd), 0); /* with a pending pop */
    q_wait_fails(a, DMTR_OPC_POP, ECANCELED);
    put(e);
    others_sleep();
    CHECK(close(e) == 0);
}

/* The program closes the descriptor first, and its number is used again. */
static void test_closed_first(void)
{
    int p[2], again[2], copy, qd, qd2;
    dmtr_qtoken_t qt, qt2;
    CHECK(pipe(p) == 0);
    qd = watch(p[0]);
    qt = q_start_pop(qd);
    CHECK(close(p[0]) == 0);
    sleeps_quietly(qt);
    CHECK_ERR(dmtr_pop(&qt2, qd), 0); /* armed, so that it is not noticed */
    CHECK(pipe(again) == 0);
    CHECK_EQ(again[0], p[0]);
    qd2 = watch(again[0]);
    q_wait_fails(qt, DMTR_OPC_POP, EBADF);
    q_wait_fails(qt2, DMTR_OPC_POP, EBADF);
    CHECK_ERR(dmtr_pop(&qt, qd), EBADF);
    qt2 = q_start_pop(qd2);
    CHECK_ERR(dmtr_close(qd), 0); /* does not concern the other */
    put(again[1]);
    wait_event(qt2);
    CHECK_ERR(dmtr_close(qd2), 0);
    CHECK(close(again[0]) == 0 && close(again[1]) == 0 && close(p[1]) == 0);

    CHECK(pipe(p) == 0); /* a copy stays, as in a child process */
    qd = watch(p[0]);
    qt = q_start_pop(qd);
    copy = dup(p[0]);
    CHECK(copy >= 0 && close(p[0]) == 0);
    CHECK_ERR(dmtr_close(qd), 0);
    q_wait_fails(qt, DMTR_OPC_POP, ECANCELED);
    put(p[1]);
    others_sleep();
    CHECK(close(copy) == 0);
    CHECK(close(p[1]) == 0);
}

/* The same, and the number goes to a socket of the library's own, if it has those of the system. */
static void test_taken_by_socket(void)
{
    struct sockaddr_in addr;
    int spare[1000], spares = 0, p[2], watched, qd, listener = test_listen(&addr), fd = plain_connect(&addr, 0);
    dmtr_qtoken_t qt, never;
    CHECK(pipe(p) == 0);
    watched = watch(p[1]);
    never = q_start_pop(watched);
    CHECK(close(p[1]) == 0 && close(p[0]) == 0);
    while ((spare[spares] = dup(fd)) < p[1])
        CHECK(spares++ < 999);
    CHECK(spare[spares] == p[1] && close(p[1]) == 0);
    qd = q_accept(listener);
    for (int turn = 0; turn < 2; turn++) {
        qt = q_start_pop(qd);
        CHECK_ERR(dmtr_poll(NULL, qt), EAGAIN);
        sleeps_quietly(qt);
        if (turn == 0 && dmtr_poll(NULL, never) == EAGAIN)
            CHECK_ERR(dmtr_drop(never), 0);
        if (turn == 0)
            CHECK_ERR(dmtr_pop(&never, watched), EBADF);
        else
            CHECK_ERR(dmtr_close(watched), 0);
        plain_send_message(fd, 10, 1);
        CHECK_ERR(dmtr_wait_timeout(NULL, qt, LONG_NS), 0);
    }
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    while (spares > 0)
        CHECK(close(spare[--spares]) == 0);
    CHECK(close(fd) == 0);
}

/* More of them than one look brings; all together, and one after the other. */
static void test_many(void)
{
    enum { MANY = 200 };
    int fds[MANY], qds[MANY], at;
    dmtr_qtoken_t qts[MANY];
    dmtr_qresult_t qr;
    for (int i = 0; i < MANY; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC);
        qds[i] = watch(fds[i]);
        qts[i] = q_start_pop(qds[i]);
    }
    CHECK_ERR(dmtr_wait_any_timeout(NULL, NULL, qts, MANY, 2 * MS), ETIMEDOUT);
    for (int i = 0; i < MANY; i++)
        put(fds[i * 7 % MANY]);
    for (int i = 0; i < MANY; i++) {
        CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, MANY, LONG_NS), 0);
        is_event(&qr, qts[at]);
        get(fds[at]);
        qts[at] = q_start_pop(qds[at]);
    }
    CHECK_ERR(dmtr_wait_any_timeout(NULL, NULL, qts, MANY, 2 * MS), ETIMEDOUT);
    for (int i = 0; i < MANY; i++) {
        put(fds[i]);
        CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, MANY, LONG_NS), 0);
        CHECK_EQ(at, i);
        get(fds[i]);
        qts[i] = q_start_pop(qds[i]);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK_ERR(dmtr_close(qds[i]), 0);
        q_wait_fails(qts[i], DMTR_OPC_POP, ECANCELED);
        CHECK(close(fds[i]) == 0);
    }
}

/* Waits that do not block, with sockets idle and busy, see it after a limited number of calls. */
static void test_beside_sockets(int busy)
{
    int fd, qd = q_pair(&fd), e = eventfd(0, EFD_CLOEXEC), watched = watch(e), at;
    dmtr_qtoken_t qts[2] = {q_start_pop(qd), q_start_pop(watched)};
    dmtr_qresult_t qr;
    if (busy) /* so that the socket is hot */
        plain_send_message(fd, 10, 1);
    for (int turn = 0; turn < 20; turn++) {
        CHECK_ERR(dmtr_wait_timeout(NULL, qts[1], 0), ETIMEDOUT);
        put(e);
        for (int i = 0;; i++) {
            int rc = dmtr_wait_any_timeout(&qr, &at, qts, 2, busy && turn % 2 ? LONG_NS : 0);
            CHECK(i < CALLS);
            if (rc == ETIMEDOUT)
                continue;
            CHECK_ERR(rc, 0);
            if (at == 1)
                break;
            free(qr.qr_value.sga.sga_buf);
            plain_send_message(fd, 10, 1);
            qts[0] = q_start_pop(qd);
        }
        is_event(&qr, qts[1]);
        get(e);
        qts[1] = q_start_pop(watched);
    }
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(watched), 0);
    CHECK(close(fd) == 0 && close(e) == 0);
}

int main(int argc, char *argv[])
{
    int qd = 12345;
    CHECK_ERR(dmtr_watch(&qd, 0), EPERM);
    (void)argv;
    if (argc == 1) {
        test_watchdog();
        run_in_wait_modes(NULL);
        return 0;
    }
    test_init();
    test_errors();
    test_sorts();
    test_drop();
    test_closed_first();
    test_taken_by_socket();
    test_many();
    test_beside_sockets(0);
    test_beside_sockets(1);
    return 0;
}
