/*
 * The echo without a library: what the kernel's sockets alone cost on this machine.
 *
 *   echo_loop server tcp|udp spin|block CPU
 *   echo_loop client tcp|udp spin|block CPU PORT SIZE ITERATIONS WARMUP
 *
 * spin: non-blocking receives, again and again. block: epoll_wait, then the receive.
 */
#include "bench.h"

#include <sys/epoll.h>

struct peer {
    int fd;
    int epoll; /* -1: spin */
    struct sockaddr_in addr;
    socklen_t addr_size; /* 0: connected */
};

static struct peer peer_for(int fd, int block)
{
    struct peer p;
    memset(&p, 0, sizeof(p));
    p.fd = fd;
    p.epoll = -1;
    if (block) {
        struct epoll_event ev;
        memset(&ev, 0, sizeof(ev));
        ev.events = EPOLLIN;
        p.epoll = (int)must(epoll_create1(0), "epoll_create1");
        must(epoll_ctl(p.epoll, EPOLL_CTL_ADD, fd, &ev), "epoll_ctl");
    }
    return p;
}

/* Receives something; 0 at the end of the connection. */
static size_t receive(struct peer *p, char *buf, size_t size, int from_anyone)
{
    for (;;) {
        struct epoll_event ev;
        ssize_t n;
        if (p->epoll >= 0)
            must(epoll_wait(p->epoll, &ev, 1, -1), "epoll_wait");
        p->addr_size = from_anyone ? sizeof(p->addr) : 0;
        if (from_anyone)
            n = recvfrom(p->fd, buf, size, MSG_DONTWAIT, (struct sockaddr *)&p->addr, &p->addr_size);
        else
            n = recv(p->fd, buf, size, MSG_DONTWAIT);
        if (n >= 0)
            return (size_t)n;
        if (errno != EAGAIN)
            return 0;
    }
}

static void transmit(struct peer *p, const char *buf, size_t size)
{
    while (size > 0) {
        ssize_t n = sendto(p->fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL, p->addr_size ? (struct sockaddr *)&p->addr : NULL, p->addr_size);
        if (n < 0 && errno != EAGAIN)
            die("send");
        if (n > 0) {
            buf += n;
            size -= (size_t)n;
        }
    }
}

static void serve(int type, int block)
{
    static char buf[65536];
    int listener = serve_on_free_port(type);
    for (;;) {
        int udp = type == SOCK_DGRAM;
        int fd = udp ? listener : (int)must(accept(listener, NULL, NULL), "accept");
        struct peer p = peer_for(fd, block);
        size_t n;
        if (!udp)
            no_delay(fd);
        while ((n = receive(&p, buf, sizeof(buf), udp)) > 0)
            transmit(&p, buf, n);
        if (p.epoll >= 0)
            close(p.epoll);
        if (!udp)
            close(fd);
    }
}

static void measure(int type, int block, int port, size_t size, size_t iterations, size_t warmup)
{
    struct peer p = peer_for(connect_to(type, port), block);
    uint64_t *samples = malloc(iterations * sizeof(*samples));
    char *out = malloc(size), *in = malloc(size);
    size_t i;
    if (!samples || !out || !in)
        die("malloc");
    memset(samples, 1, iterations * sizeof(*samples)); /* no page faults later */
    memset(out, 'x', size);
    for (i = 0; i < warmup + iterations; i++) {
        size_t got = 0, n;
        uint64_t start;
        memcpy(out, &i, size < sizeof(i) ? size : sizeof(i));
        start = now_ns();
        transmit(&p, out, size);
        while (got < size && (n = receive(&p, in + got, size - got, 0)) > 0)
            got += n;
        if (i >= warmup)
            samples[i - warmup] = now_ns() - start;
        if (got != size || memcmp(in, out, size) != 0) {
            fprintf(stderr, "other bytes came back than were sent\n");
            exit(1);
        }
    }
    print_summary("rtt", samples, iterations);
    free(samples);
    free(out);
    free(in);
}

int main(int argc, char *argv[])
{
    int type, block;
    if (argc < 5) {
        fprintf(stderr, "see the head of echo_loop.c\n");
        return 2;
    }
    type = strcmp(argv[2], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
    block = strcmp(argv[3], "block") == 0;
    pin(atoi(argv[4]));
    if (strcmp(argv[1], "server") == 0)
        serve(type, block);
    else if (argc == 9)
        measure(type, block, atoi(argv[5]), strtoul(argv[6], NULL, 10), strtoul(argv[7], NULL, 10), strtoul(argv[8], NULL, 10));
    return 0;
}
