/* Helpers of the benchmark programs: clock, CPU, sockets, results as JSON in the form the echo programs print. */
#ifndef BENCH_H
#define BENCH_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* For calls that return -1 and set errno. */
static inline long must(long result, const char *what)
{
    if (result < 0)
        die(what);
    return result;
}

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Stays on one CPU; a negative number leaves that open. */
static inline void pin(int cpu)
{
    cpu_set_t set;
    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    must(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

static inline struct sockaddr_in loopback(int port)
{
    struct sockaddr_in addr;
    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t)port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

/* A socket of the given type, bound to a free loopback port, which it announces; a TCP socket listens. */
static inline int serve_on_free_port(int type)
{
    struct sockaddr_in addr = loopback(0);
    socklen_t size = sizeof(addr);
    int fd = (int)must(socket(AF_INET, type, 0), "socket");
    must(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), "bind");
    if ((type & SOCK_STREAM) == SOCK_STREAM)
        must(listen(fd, SOMAXCONN), "listen");
    must(getsockname(fd, (struct sockaddr *)&addr, &size), "getsockname");
    fprintf(stderr, "listening on 127.0.0.1:%d\n", ntohs(addr.sin_port));
    return fd;
}

static inline void no_delay(int fd)
{
    int one = 1;
    must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), "TCP_NODELAY");
}

static inline int connect_to(int type, int port)
{
    struct sockaddr_in addr = loopback(port);
    int fd = (int)must(socket(AF_INET, type, 0), "socket");
    must(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), "connect");
    if (type == SOCK_STREAM)
        no_delay(fd);
    return fd;
}

static inline int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Nearest rank, of sorted samples. */
static inline uint64_t percentile(const uint64_t *sorted, size_t n, double p)
{
    size_t rank = (size_t)(p / 100 * (double)n);
    if ((double)rank < p / 100 * (double)n)
        rank++;
    return sorted[rank == 0 ? 0 : rank - 1];
}

/* Sorts the samples and prints their percentiles. */
static inline void print_summary(const char *name, uint64_t *samples, size_t n)
{
    double sum = 0;
    size_t i;
    qsort(samples, n, sizeof(*samples), by_value);
    for (i = 0; i < n; i++)
        sum += (double)samples[i];
    printf("{\"recorders\":{\"%s\":{\"count\":%zu,\"min\":%llu,\"mean\":%.1f,\"p50\":%llu,\"p99\":%llu,\"p99.9\":%llu,\"p99.99\":%llu,\"max\":%llu}}}\n",
           name, n, (unsigned long long)samples[0], sum / (double)n, (unsigned long long)percentile(samples, n, 50),
           (unsigned long long)percentile(samples, n, 99), (unsigned long long)percentile(samples, n, 99.9),
           (unsigned long long)percentile(samples, n, 99.99), (unsigned long long)samples[n - 1]);
}

#endif
