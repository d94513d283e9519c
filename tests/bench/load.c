/*
 * load CPU SECONDS SIZE CONNECTIONS PORT...: keeps one message of SIZE bytes under way on each of so many TCP connections, which are spread
 * over the ports, and prints how many messages per second came back. Sleeps in epoll_wait between them.
 */
#include "bench.h"

#include <sys/epoll.h>

struct conn {
    int fd;
    size_t got;
};

static void open_all(struct conn *conns, int count, int epoll, char *ports[], int num_ports)
{
    int i;
    for (i = 0; i < count; i++) {
        struct epoll_event ev;
        memset(&ev, 0, sizeof(ev));
        ev.events = EPOLLIN;
        ev.data.ptr = &conns[i];
        conns[i].fd = connect_to(SOCK_STREAM, atoi(ports[i % num_ports]));
        conns[i].got = 0;
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, conns[i].fd, &ev), "epoll_ctl");
    }
}

static void start(struct conn *c, const char *message, size_t size)
{
    c->got = 0;
    if (send(c->fd, message, size, MSG_NOSIGNAL) != (ssize_t)size)
        die("send");
}

/* Takes what has arrived; returns 1 if that completes a message. */
static int take(struct conn *c, size_t size, int flags)
{
    static char buf[65536];
    ssize_t n = must(recv(c->fd, buf, size - c->got, flags), "recv");
    if (n == 0) {
        fprintf(stderr, "the server closed a connection\n");
        exit(1);
    }
    c->got += (size_t)n;
    return c->got == size;
}

static unsigned long run(struct conn *conns, int count, int epoll, double seconds, size_t size)
{
    char *message = calloc(1, size);
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    unsigned long messages = 0;
    int i;
    for (i = 0; i < count; i++)
        start(&conns[i], message, size);
    while (now_ns() < end) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, 100);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (take(c, size, MSG_DONTWAIT)) {
                messages++;
                start(c, message, size);
            }
        }
    }
    free(message);
    return messages;
}

int main(int argc, char *argv[])
{
    struct conn *conns;
    double seconds;
    size_t size;
    int count, epoll;
    if (argc < 6) {
        fprintf(stderr, "usage: load CPU SECONDS SIZE CONNECTIONS PORT...\n");
        return 2;
    }
    pin(atoi(argv[1]));
    seconds = atof(argv[2]);
    size = strtoul(argv[3], NULL, 10);
    count = atoi(argv[4]);
    conns = calloc((size_t)count, sizeof(*conns));
    epoll = (int)must(epoll_create1(0), "epoll_create1");
    open_all(conns, count, epoll, argv + 5, argc - 5);
    run(conns, count, epoll, 0.1, size); /* warm-up, which leaves messages under way */
    for (int i = 0; i < count; i++)
        while (!take(&conns[i], size, 0))
            continue;
    printf("{\"messages_per_s\":%.0f}\n", (double)run(conns, count, epoll, seconds, size) / seconds);
    free(conns);
    return 0;
}
