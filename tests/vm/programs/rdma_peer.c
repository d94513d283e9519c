/*
 * One end of the connections of tests/vm/rdma_guests.sh. It prints a line for whatever happens:
 *
 *   rdma_peer sink IP PORT               pops all that comes, on any number of connections. SIGUSR1: pops no more; SIGUSR2: goes on
 *   rdma_peer source IP PORT SIZE COUNT  pushes messages, one after the other; COUNT 0: until that fails
 *   rdma_peer idle IP PORT               only waits for what comes
 *   rdma_peer cycles IP PORT COUNT       connects, pushes a message and closes, so many times
 *
 * Exits with 0 if all went well, 1 if a connection failed.
 */
#include "test.h"

#include <dirent.h>
#include <time.h>

#include <dmtr/ext.h>

#define CONNECTIONS 64
#define SECOND 1000000000ull

static volatile sig_atomic_t stopped, going = 1;

static void on_signal(int sig)
{
    if (sig == SIGTERM)
        going = 0;
    else
        stopped = sig == SIGUSR1;
}

static uint64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void say(const char *what, uint64_t n, int error)
{
    uint64_t now = milliseconds();
    printf("%s %llu %s (%llu.%03u)\n", what, (unsigned long long)n, error != 0 ? test_errno_name(error) : "", (unsigned long long)(now / 1000), (unsigned)(now % 1000));
    fflush(stdout);
}

/* The pops of a sink: one for each connection, and an accept, which is the first. */
struct sink {
    dmtr_qtoken_t tokens[CONNECTIONS];
    int qds[CONNECTIONS];
    uint64_t messages[CONNECTIONS];
    int n;
};

static void forget(struct sink *s, int i)
{
    CHECK_ERR(dmtr_close(s->qds[i]), 0);
    s->n--;
    s->tokens[i] = s->tokens[s->n];
    s->qds[i] = s->qds[s->n];
    s->messages[i] = s->messages[s->n];
}

static void popped(struct sink *s, int i, const dmtr_qresult_t *qr, int error)
{
    if (error != 0) {
        say("ended after", s->messages[i], error);
        forget(s, i);
        return;
    }
    s->messages[i]++;
    free(qr->qr_value.sga.sga_buf);
    while (stopped && going)
        usleep(10000); /* what comes waits for the next pop */
    CHECK_ERR(dmtr_pop(&s->tokens[i], s->qds[i]), 0);
}

static int sink(const struct sockaddr_in *addr)
{
    static struct sink s;
    CHECK_ERR(dmtr_socket(&s.qds[0], AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_bind(s.qds[0], (const struct sockaddr *)addr, sizeof *addr), 0);
    CHECK_ERR(dmtr_listen(s.qds[0], 16), 0);
    CHECK_ERR(dmtr_accept(&s.tokens[0], s.qds[0]), 0);
    s.n = 1;
    say("listening", 0, 0);
    while (going) {
        dmtr_qresult_t qr;
        int i = -1, error = dmtr_wait_any_timeout(&qr, &i, s.tokens, s.n, SECOND / 10);
        if (i < 0)
            continue;
        if (i > 0) {
            popped(&s, i, &qr, error);
            continue;
        }
        CHECK_ERR(error, 0);
        CHECK(s.n < CONNECTIONS);
        s.qds[s.n] = qr.qr_value.ares.qd;
        s.messages[s.n] = 0;
        CHECK_ERR(dmtr_pop(&s.tokens[s.n], s.qds[s.n]), 0);
        s.n++;
        CHECK_ERR(dmtr_accept(&s.tokens[0], s.qds[0]), 0);
    }
    while (s.n > 0)
        forget(&s, s.n - 1);
    return 0;
}

static int dial(const struct sockaddr_in *addr)
{
    int qd = 0, error;
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    error = test_connect(qd, addr);
    if (error != 0) {
        say("not connected", 0, error);
        exit(1);
    }
    return qd;
}

static int source(const struct sockaddr_in *addr, uint32_t size, uint64_t count)
{
    void *buf = calloc(1, size);
    dmtr_sgarray_t sga = test_sga(buf, size);
    int qd = dial(addr), error = 0;
    uint64_t n = 0, told = milliseconds();
    say("connected", 0, 0);
    while (going && error == 0 && (count == 0 || n < count)) {
        dmtr_qtoken_t qt = 0;
        dmtr_qresult_t qr;
        error = dmtr_push(&qt, qd, &sga);
        if (error == 0)
            error = dmtr_wait(&qr, qt);
        n += error == 0;
        if (milliseconds() - told >= 500 || n == count) {
            told = milliseconds();
            say("sent", n, 0);
        }
    }
    if (error != 0)
        say("failed after", n, error);
    CHECK_ERR(dmtr_close(qd), 0);
    free(buf);
    return error != 0;
}

static int idle(const struct sockaddr_in *addr)
{
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    int qd = dial(addr), error;
    say("connected", 0, 0);
    CHECK_ERR(dmtr_pop(&qt, qd), 0);
    error = dmtr_wait(&qr, qt);
    say("failed after", 0, error);
    CHECK_ERR(dmtr_close(qd), 0);
    return error != 0;
}

static int descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static int cycles(const struct sockaddr_in *addr, int count)
{
    int before = 0;
    for (int i = 0; i < count; i++) {
        dmtr_sgarray_t sga = test_sga((void *)(uintptr_t) "cycle", 5);
        dmtr_qtoken_t qt = 0;
        int qd = dial(addr);
        CHECK_ERR(dmtr_push(&qt, qd, &sga), 0);
        CHECK_ERR(dmtr_wait(NULL, qt), 0);
        CHECK_ERR(dmtr_close(qd), 0);
        if (i == 0)
            before = descriptors();
    }
    CHECK_EQ(descriptors(), before);
    say("cycles", (uint64_t)count, 0);
    return 0;
}

int main(int argc, char **argv)
{
    struct sigaction sa;
    CHECK(argc >= 4);
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    CHECK(sigaction(SIGUSR1, &sa, NULL) == 0 && sigaction(SIGUSR2, &sa, NULL) == 0 && sigaction(SIGTERM, &sa, NULL) == 0);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    struct sockaddr_in addr = test_address(ntohl(inet_addr(argv[2])), (uint16_t)atoi(argv[3]));
    if (strcmp(argv[1], "sink") == 0)
        return sink(&addr);
    if (strcmp(argv[1], "idle") == 0)
        return idle(&addr);
    if (strcmp(argv[1], "cycles") == 0 && argc == 5)
        return cycles(&addr, atoi(argv[4]));
    CHECK(strcmp(argv[1], "source") == 0 && argc == 6);
    return source(&addr, (uint32_t)atoi(argv[4]), (uint64_t)atoll(argv[5]));
}
