/*
 * Cases that may end the process: each is this program run again with its name as an argument, and
 * what it came to is looked at from outside.
 */
#ifndef DMTR_TESTS_EMBED_CASES_H
#define DMTR_TESTS_EMBED_CASES_H

#include "net/peer.h"

#include <poll.h>
#include <sys/resource.h>

struct outcome {
    int status;     /* as of waitpid() */
    char err[8192]; /* what it has written on stderr */
};

/* Runs a case to its end, or for 20 seconds. */
static inline struct outcome case_run(const char *name)
{
    char *const argv[] = {(char *)"case", (char *)name, NULL};
    struct outcome o = {-1, ""};
    size_t len = 0;
    ssize_t n;
    int fds[2];
    pid_t pid;
    posix_spawn_file_actions_t acts;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK_EQ(posix_spawn_file_actions_init(&acts), 0);
    CHECK_EQ(posix_spawn_file_actions_adddup2(&acts, fds[1], 2), 0);
    CHECK_EQ(posix_spawn(&pid, "/proc/self/exe", &acts, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&acts);
    close(fds[1]);
    for (;;) {
        struct pollfd p = {fds[0], POLLIN, 0};
        if (poll(&p, 1, 20000) <= 0) {
            fprintf(stderr, "case %s hangs; on stderr: %s\n", name, o.err);
            kill(pid, SIGKILL);
            exit(1);
        }
        if ((n = read(fds[0], o.err + len, sizeof o.err - 1 - len)) <= 0)
            break;
        len += (size_t)n;
    }
    o.err[len] = 0;
    close(fds[0]);
    CHECK(waitpid(pid, &o.status, 0) == pid);
    return o;
}

static int cases_failed;

static inline void case_fail(const char *name, const struct outcome *o)
{
    fprintf(stderr, "case %s: wait status 0x%x; on stderr:\n%s\n", name, (unsigned)o->status, o->err);
    cases_failed++;
}

/* The case ends with exit(0), silently. */
static inline void case_passes(const char *name)
{
    struct outcome o = case_run(name);
    if (o.status != 0 || o.err[0] != 0)
        case_fail(name, &o);
}

/* The case is ended by the signal, silently. */
static inline void case_dies(const char *name, int sig)
{
    struct outcome o = case_run(name);
    if (!WIFSIGNALED(o.status) || WTERMSIG(o.status) != sig || o.err[0] != 0)
        case_fail(name, &o);
}

/* One line on stderr that names an internal error. */
static inline int one_line(const char *err)
{
    static const char start[] = "libdmtr: internal error: ";
    const char *end = strchr(err, '\n');
    return strncmp(err, start, sizeof start - 1) == 0 && end != NULL && end[1] == 0;
}

/* The case ends with exit(0), and the library has reported one internal error. */
static inline void case_gives_up(const char *name)
{
    struct outcome o = case_run(name);
    if (o.status != 0 || !one_line(o.err))
        case_fail(name, &o);
}

/* For cases that are meant to crash. */
static inline void no_core_file(void)
{
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
}

static inline unsigned char *map_page(int prot)
{
    void *p = mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return (unsigned char *)p;
}

#endif
