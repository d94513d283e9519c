/* dmtr_connect. Unreachable networks and the like are made in a network namespace of our own. */
#include "api/kinds.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <time.h>

static int new_socket(int type)
{
    int qd = 0;
    CHECK_ERR(dmtr_socket(&qd, AF_INET, type, 0), 0);
    return qd;
}

static int connect_to(int qd, const struct sockaddr_in *addr)
{
    return dmtr_connect(qd, (const struct sockaddr *)addr, sizeof *addr);
}

static void test_addresses(int type)
{
    struct sockaddr_in addr, there;
    struct sockaddr_storage large;
    int fd = type == SOCK_STREAM ? plain_listen(&there, 5) : plain_udp(&there),
        qd = new_socket(type);
    addr = there;
    CHECK_ERR(dmtr_connect(qd, NULL, sizeof addr), EINVAL);
    for (socklen_t n = 0; n < sizeof addr; n++)
        CHECK_ERR(dmtr_connect(qd, ADDR(&addr), n), EINVAL);
    addr.sin_family = AF_INET6;
    CHECK_ERR(connect_to(qd, &addr), EAFNOSUPPORT);
    addr.sin_family = AF_UNIX;
    CHECK_ERR(connect_to(qd, &addr), EAFNOSUPPORT);
    memset(&large, 0, sizeof large);
    memcpy(&large, &there, sizeof there);
    CHECK_ERR(dmtr_connect(qd, ADDR(&large), sizeof large), 0);
    CHECK_ERR(connect_to(qd, &there), EPERM);
    q_push(qd, "x", 1);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/* Refused, refused again, and then somebody listens: the same queue gets through. */
static void test_refused(int bound)
{
    struct sockaddr_in there, any_port = test_own(0);
    int on = 1, fd = plain_listen(&there, 5), qd = new_socket(SOCK_STREAM);
    CHECK(close(fd) == 0);
    if (bound)
        CHECK_ERR(dmtr_bind(qd, ADDR(&any_port), sizeof any_port), 0);
    for (int i = 0; i < 3; i++) {
        dmtr_qtoken_t qt = 0;
        CHECK_ERR(connect_to(qd, &there), ECONNREFUSED);
        CHECK_ERR(dmtr_pop(&qt, qd), EINVAL); /* not connected */
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    CHECK(bind(fd, ADDR(&there), sizeof there) == 0 && listen(fd, 5) == 0);
    CHECK_ERR(connect_to(qd, &there), 0);
    q_push(qd, "x", 1);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/* A listener whose backlog is full: who connects to it has to wait. */
static int full_listener(struct sockaddr_in *addr, int *filler)
{
    int fd = plain_listen(addr, 0);
    *filler = plain_connect(addr, 0);
    return fd;
}

struct helper {
    int qd, listener, reader;
};

static void *close_it(void *arg)
{
    const struct helper *h = (const struct helper *)arg;
    usleep(50000);
    CHECK_ERR(dmtr_close(h->qd), 0);
    return NULL;
}

static void test_closed_meanwhile(void)
{
    struct sockaddr_in addr;
    int filler, fd = full_listener(&addr, &filler);
    struct helper h = {new_socket(SOCK_STREAM), 0, 0};
    pthread_t t;
    start_thread(&t, close_it, &h);
    CHECK_ERR(connect_to(h.qd, &addr), ECANCELED);
    join_thread(t);
    CHECK_ERR(connect_to(h.qd, &addr), ENOENT);
    CHECK(close(fd) == 0 && close(filler) == 0);
}

static void *read_then_accept(void *arg)
{
    const struct helper *h = (const struct helper *)arg;
    int fd;
    plain_expect_message(h->reader, 8 << 20, 1);
    fd = accept(h->listener, NULL, NULL);
    CHECK(fd >= 0 && close(fd) == 0);
    fd = accept(h->listener, NULL, NULL);
    CHECK(fd >= 0 && close(fd) == 0);
    return NULL;
}

/*
 * While a connect blocks, the push of another queue goes on: only when all of it has come does the
 * helper let the connect through.
 */
static void test_others_go_on(void)
{
    struct sockaddr_in addr;
    int filler, busy, qd = new_socket(SOCK_STREAM);
    unsigned char *data = (unsigned char *)xmalloc(8 << 20);
    struct helper h;
    dmtr_qtoken_t push;
    pthread_t t;
    h.listener = full_listener(&addr, &filler);
    busy = q_pair_with(&h.reader, 8192);
    fill(data, 8 << 20, 1, 0);
    push = q_start_push(busy, data, 8 << 20);
    start_thread(&t, read_then_accept, &h);
    CHECK_ERR(connect_to(qd, &addr), 0);
    join_thread(t);
    CHECK_ERR(dmtr_wait(NULL, push), 0);
    free(data);
    CHECK_ERR(dmtr_close(busy), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(h.listener) == 0 && close(h.reader) == 0 && close(filler) == 0);
}

/* ---- the part in a namespace ---- */

static struct sockaddr_in address(uint32_t ip)
{
    struct sockaddr_in addr = test_loopback(7);
    addr.sin_addr.s_addr = htonl(ip);
    return addr;
}

static void loopback_up(void)
{
    struct ifreq ifr;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    memset(&ifr, 0, sizeof ifr);
    strcpy(ifr.ifr_name, "lo");
    ifr.ifr_flags = IFF_UP | IFF_RUNNING;
    CHECK(ioctl(fd, SIOCSIFFLAGS, &ifr) == 0);
    CHECK(close(fd) == 0);
}

static int set_control(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), done;
    if (fd < 0)
        return 0;
    done = write(fd, value, strlen(value)) > 0;
    CHECK(close(fd) == 0);
    return done;
}

/* A failed connect tells the reason and leaves the queue usable. */
static void check_unreachable(uint32_t ip, int err)
{
    struct sockaddr_in bad = address(ip), good;
    int qd = new_socket(SOCK_STREAM), fd = plain_listen(&good, 5);
    CHECK_ERR(connect_to(qd, &bad), err);
    CHECK_ERR(connect_to(qd, &good), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void test_timeout(void)
{
    struct sockaddr_in addr;
    int filler, fd = full_listener(&addr, &filler), qd = new_socket(SOCK_STREAM);
    if (set_control("/proc/sys/net/ipv4/tcp_syn_retries", "1"))
        CHECK_ERR(connect_to(qd, &addr), ETIMEDOUT);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0 && close(filler) == 0);
}

/* No local port is left. */
static void test_no_port(void)
{
    struct sockaddr_in addr;
    int a, b = new_socket(SOCK_STREAM), fd = plain_listen(&addr, 5);
    if (set_control("/proc/sys/net/ipv4/ip_local_port_range", "61000 61000")) {
        a = plain_connect(&addr, 0);
        CHECK_ERR(connect_to(b, &addr), EADDRNOTAVAIL);
        CHECK(close(a) == 0);
    }
    CHECK_ERR(dmtr_close(b), 0);
    CHECK(close(fd) == 0);
}

static void test_namespace(void)
{
    test_init();
    check_unreachable(0xc0000201, ENETUNREACH); /* no route */
    if (system("ip route add unreachable 192.0.2.2/32") == 0 &&
        system("ip route add prohibit 192.0.2.3/32") == 0) {
        check_unreachable(0xc0000202, EHOSTUNREACH);
        check_unreachable(0xc0000203, EACCES);
    } else {
        fprintf(stderr, "EHOSTUNREACH and EACCES not reached: no command `ip`\n");
    }
    test_timeout();
    test_no_port();
}

int main(int argc, char **argv)
{
    struct kinds k;
    struct sockaddr_in addr = test_loopback(1), name;
    socklen_t size = sizeof name;
    if (argc > 1 && strcmp(argv[1], "enter") == 0) {
        if (unshare(CLONE_NEWNET) != 0) {
            fprintf(stderr, "no network namespaces here: ENETUNREACH and the like not reached\n");
            return 0;
        }
        loopback_up();
        run_again("namespace", NULL, NULL); /* so that all threads are in it */
        return 0;
    } else if (argc > 1) {
        test_namespace();
        return 0;
    }
    if (!test_own_stack() && !test_own_kind()) /* which do not ask the kernel for routes and ports */
        run_again("enter", NULL, NULL);
    test_init();
    kinds_open(&k);
    CHECK_BAD_QDS(&k, connect_to(qd, &addr));
    CHECK_ERR(connect_to(k.memory, &addr), ENOTSUP);
    CHECK_ERR(connect_to(k.file, &addr), ENOTSUP);
    CHECK_ERR(connect_to(k.listener, &addr), EINVAL);
    CHECK_ERR(connect_to(k.connected, &addr), EPERM);
    CHECK_ERR(dmtr_getsockname(k.listener, ADDR(&name), &size), 0); /* which still listens */
    CHECK_ERR(connect_to(k.tcp, &name), 0);
    CHECK_ERR(dmtr_close(q_accept(k.listener)), 0);
    test_addresses(SOCK_STREAM);
    test_addresses(SOCK_DGRAM);
    test_refused(0);
    test_refused(1);
    test_closed_meanwhile();
    test_others_go_on();
    kinds_close(&k);
    /* left out: ECONNRESET, which takes a peer whose reset comes between our SYN and its answer */
    return 0;
}
