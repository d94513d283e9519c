/*
 * What the tests over memif share: several processes, started from one program, whose stacks DPDK's memif joins. The first argument
 * of a process is what it is to do; its configuration is a file. One of the two ends has the role of memif's server.
 */
#ifndef DMTR_TESTS_MEMIF_H
#define DMTR_TESTS_MEMIF_H

#include "test.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define SERVER_IP 0x0a000001 /* 10.0.0.1 */
#define PORT 7

extern char **environ;

static char memif_folder[] = "/tmp/dmtr-memif-XXXXXX";

static inline double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void memif_clean_up(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", memif_folder);
    if (system(command) != 0)
        perror(command);
}

static inline void memif_config(const char *end, const char *role, const char *address, const char *more)
{
    char path[100];
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", memif_folder, end);
    CHECK((f = fopen(path, "w")) != NULL);
    fprintf(f, "libos: dpdk\nnetwork:\n  address: %s/24\n%s", address, more);
    fprintf(f, "dpdk:\n  eal_init: [--no-huge, --no-pci, '--vdev=net_memif0,role=%s,socket=%s/memif,socket-abstract=no']\n", role, memif_folder);
    CHECK(fclose(f) == 0);
}

/* Skips the test if the library cannot use DPDK; otherwise makes the configurations of both ends. */
static inline void memif_setup(const char *more)
{
    char path[PATH_MAX];
    const char *lib = getenv("DMTR_LIB_DIR");
    snprintf(path, sizeof path, "%s/libdmtr-dpdk.so", lib != NULL ? lib : ".");
    if (access(path, F_OK) != 0)
        skip("libdmtr-dpdk.so was not built, for want of DPDK or in this tree");
    CHECK(mkdtemp(memif_folder) != NULL);
    atexit(memif_clean_up);
    memif_config("server", "server", "10.0.0.1", more);
    memif_config("client", "client", "10.0.0.2", more);
}

struct process {
    pid_t pid;
    int out; /* what it prints */
};

/* Runs this program again, at that end of the link. */
static inline struct process start(const char *end, const char *what)
{
    char path[PATH_MAX], config[PATH_MAX];
    char *argv[] = {path, (char *)what, NULL};
    posix_spawn_file_actions_t actions;
    struct process p;
    int fds[2];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    CHECK(n > 0);
    path[n] = 0;
    snprintf(config, sizeof config, "%s/%s", memif_folder, end);
    CHECK(setenv("DMTR_CONFIG", config, 1) == 0);
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, fds[1], 1) == 0);
    CHECK(posix_spawn(&p.pid, path, &actions, NULL, argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    p.out = fds[0];
    return p;
}

/* What each such process does first: it must not outlive a test that has failed. */
static inline void end_with_the_test(void)
{
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
}

/* The next letter that a process prints; 0 if there is none for so long, or it has ended. */
static inline char letter(struct process *p, double patience)
{
    double end = seconds() + patience;
    char c = 0;
    for (;;) {
        struct pollfd fd = {p->out, POLLIN, 0};
        double left = end - seconds();
        if (left <= 0 || poll(&fd, 1, (int)(left * 1000) + 1) < 0)
            return 0;
        if (fd.revents != 0)
            return read(p->out, &c, 1) == 1 ? c : 0;
    }
}

static inline void expect_letter(struct process *p, char want, double patience)
{
    char c = letter(p, patience);
    if (c != want) {
        fprintf(stderr, "'%c' expected within %.0f s, '%c' came\n", want, patience, c != 0 ? c : '-');
        kill(p->pid, SIGKILL);
        exit(1);
    }
}

static inline void say(char c)
{
    CHECK(write(1, &c, 1) == 1);
}

/* Ends a process by SIGKILL. It must have lived until then. */
static inline void kill_hard(struct process *p)
{
    int status;
    CHECK(kill(p->pid, SIGKILL) == 0);
    CHECK(waitpid(p->pid, &status, 0) == p->pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fprintf(stderr, "a process ended by itself: status %#x\n", (unsigned)status);
        exit(1);
    }
    close(p->out);
}

static inline dmtr_qtoken_t start_push(int qd, void *data, uint32_t size)
{
    dmtr_sgarray_t sga;
    dmtr_qtoken_t qt;
    memset(&sga, 0, sizeof sga);
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_buf = data;
    sga.sga_segs[0].sgaseg_len = size;
    return dmtr_push(&qt, qd, &sga) == 0 ? qt : 0;
}

/* Sends a message and waits until it has come back; returns the error, if there is one. */
static inline int echo(int qd, uint32_t number, uint32_t size)
{
    static unsigned char data[4096];
    dmtr_qtoken_t push, pop;
    dmtr_qresult_t qr;
    int err, err2;
    CHECK(size <= sizeof data);
    memset(data, (int)number, size);
    memcpy(data, &number, sizeof number);
    if ((push = start_push(qd, data, size)) == 0 || (err = dmtr_pop(&pop, qd)) != 0)
        return ECONNRESET;
    err = dmtr_wait(&qr, push);
    if (err == 0) /* the push may have gone before the connection did */
        err = dmtr_wait(&qr, pop);
    else if ((err2 = dmtr_wait(&qr, pop)) == 0)
        dmtr_sgafree(&qr.qr_value.sga);
    if (err != 0)
        return err;
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, size);
    CHECK(memcmp(qr.qr_value.sga.sga_segs[0].sgaseg_buf, data, size) == 0);
    CHECK_ERR(dmtr_sgafree(&qr.qr_value.sga), 0);
    return 0;
}

/* Serves any number of connections for ever, if wanted with a child that outlives it. A message of one byte asks how many are open, and how many ended with an error. */
static inline void serve_echo(int with_child)
{
    enum { MOST = 256 };
    struct sockaddr_in addr = test_address(SERVER_IP, PORT);
    dmtr_qtoken_t tokens[MOST];
    int qds[MOST], n = 1, failed = 0;
    CHECK_ERR(dmtr_init(0, NULL), 0);
    CHECK_ERR(dmtr_socket(&qds[0], AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_bind(qds[0], (struct sockaddr *)&addr, sizeof addr), 0);
    CHECK_ERR(dmtr_listen(qds[0], 64), 0);
    CHECK_ERR(dmtr_accept(&tokens[0], qds[0]), 0);
    if (with_child && fork() == 0) {
        close(1);
        sleep(5);
        _exit(0);
    }
    say('l');
    for (;;) {
        dmtr_qresult_t qr;
        int i, err = dmtr_wait_any(&qr, &i, tokens, n);
        if (i == 0) {
            CHECK_ERR(err, 0);
            CHECK(n < MOST);
            qds[n] = qr.qr_value.ares.qd;
            CHECK_ERR(dmtr_pop(&tokens[n], qds[n]), 0);
            n++;
            CHECK_ERR(dmtr_accept(&tokens[0], qds[0]), 0);
            continue;
        }
        if (err == 0 && qr.qr_value.sga.sga_numsegs > 0) {
            dmtr_sgarray_t *sga = &qr.qr_value.sga;
            int counts[2] = {n - 1, failed};
            dmtr_qtoken_t push = sga->sga_segs[0].sgaseg_len == 1 ? start_push(qds[i], counts, sizeof counts)
                                                                : start_push(qds[i], sga->sga_segs[0].sgaseg_buf, sga->sga_segs[0].sgaseg_len);
            err = push == 0 ? ECONNRESET : dmtr_wait(NULL, push);
            CHECK_ERR(dmtr_sgafree(sga), 0);
            if (err == 0 && dmtr_pop(&tokens[i], qds[i]) == 0)
                continue;
        }
        if (err != 0) {
            CHECK(err == ECONNRESET || err == ETIMEDOUT || err == EHOSTUNREACH);
            failed++;
        }
        CHECK_ERR(dmtr_close(qds[i]), 0);
        n--;
        tokens[i] = tokens[n];
        qds[i] = qds[n];
    }
}

/* Connects, and says 'k' after the first echo. Returns -1 and sets *err if that was not to be. */
static inline int connect_and_echo(int *err)
{
    struct sockaddr_in addr = test_address(SERVER_IP, PORT);
    int qd;
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    if ((*err = test_connect(qd, &addr)) == 0 && (*err = echo(qd, 0, 64)) == 0) {
        say('k');
        return qd;
    }
    CHECK_ERR(dmtr_close(qd), 0);
    return -1;
}

#endif
