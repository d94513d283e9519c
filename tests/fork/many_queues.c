/*
 * A daemon that forked before dmtr_init(), so that there is no garbage collection in it, opens and closes
 * connections, sockets, files, watches and memory queues by the thousand. Its memory does not grow.
 */
#include "fork/fork.h"

#include <dmtr/ext.h>
#include <dmtr/option.h>
#include <sys/eventfd.h>

enum { WARM_UP = 300, ROUNDS = 3000, GROWTH_KIB = 512 };

static void watched(void)
{
    int fd = eventfd(1, EFD_CLOEXEC), qd = 0;
    CHECK(fd >= 0);
    CHECK_ERR(dmtr_watch(&qd, fd), 0);
    CHECK_ERR(dmtr_wait(NULL, q_start_pop(qd)), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void in_memory(void)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    q_push(qd, "left behind", 11);
    CHECK_ERR(dmtr_close(qd), 0);
}

static void datagram(void)
{
    struct sockaddr_in addr, other;
    int a = q_udp(&addr), b = q_udp(&other);
    dmtr_sgarray_t sga = test_sga((void *)"datagram", 8);
    dmtr_qtoken_t qt = 0;
    sga.sga_addr = addr;
    CHECK_ERR(dmtr_push(&qt, b, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
    q_pop_is(a, "datagram", 8);
    CHECK_ERR(dmtr_close(a), 0);
    CHECK_ERR(dmtr_close(b), 0);
}

/* Some is unread, and pops are pending, when it is closed. */
static void connection(int round)
{
    int client, server;
    test_tcp_pair(&client, &server);
    CHECK_ERR(dmtr_set_option(server, DMTR_OPT_KEEPALIVE_S, 100), 0);
    q_push(client, "request", 7);
    q_push(client, "request", 7);
    q_pop_is(server, "request", 7);
    q_push(server, "reply", 5);
    q_pop_is(client, "reply", 5);
    if (round % 2)
        CHECK_ERR(dmtr_drop(q_start_pop(client)), 0);
    CHECK_ERR(dmtr_close(round % 3 ? client : server), 0);
    CHECK_ERR(dmtr_close(round % 3 ? server : client), 0);
}

static void file(const char *path)
{
    int qd = 0;
    CHECK_ERR(dmtr_open2(&qd, path, O_RDWR | O_CREAT, 0600), 0);
    q_push(qd, "line", 4);
    CHECK_ERR(dmtr_close(qd), 0);
}

static void rounds(int from, int to, const char *path)
{
    for (int i = from; i < to; i++) {
        connection(i);
        datagram();
        in_memory();
        watched();
        file(path);
    }
}

static void be_daemon(int report)
{
    char dir[256], path[300], text[200];
    long before, grown;
    signal(SIGHUP, SIG_IGN);
    test_init();
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/file", dir);
    rounds(0, WARM_UP, path);
    before = rss_kib();
    rounds(0, ROUNDS, path);
    grown = rss_kib() - before;
    CHECK(remove(path) == 0 && remove(dir) == 0);
    snprintf(text, sizeof text, "%ld KiB more memory\n", grown);
    CHECK(write(report, text, strlen(text)) == (ssize_t)strlen(text));
#ifndef __SANITIZE_ADDRESS__ /* which keeps memory that has been freed */
    CHECK(grown < GROWTH_KIB);
#endif
    CHECK(write(report, "done\n", 5) == 5);
}

int main(void)
{
    alarm(TEST_SECONDS);
    be_daemon(daemonize("daemon"));
    return 0;
}
