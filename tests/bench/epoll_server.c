/* epoll_server CPU: a plain TCP echo server for many connections, one thread, level-triggered epoll. */
#include "bench.h"

#include <sys/epoll.h>

static void watch(int epoll, int fd)
{
    struct epoll_event ev;
    memset(&ev, 0, sizeof(ev));
    ev.events = EPOLLIN;
    ev.data.fd = fd;
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev), "epoll_ctl");
}

static void answer(int fd)
{
    static char buf[16384];
    ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
        close(fd);
}

int main(int argc, char *argv[])
{
    int listener, epoll;
    pin(argc > 1 ? atoi(argv[1]) : -1);
    listener = serve_on_free_port(SOCK_STREAM);
    epoll = (int)must(epoll_create1(0), "epoll_create1");
    watch(epoll, listener);
    for (;;) {
        struct epoll_event events[64];
        int i, n = (int)must(epoll_wait(epoll, events, 64, -1), "epoll_wait");
        for (i = 0; i < n; i++) {
            if (events[i].data.fd == listener) {
                int fd = (int)must(accept(listener, NULL, NULL), "accept");
                no_delay(fd);
                watch(epoll, fd);
            } else {
                answer(events[i].data.fd);
            }
        }
    }
}
