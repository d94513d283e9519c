/*
 * exec leaks no descriptors: a program started by this one, in whatever way, has those that this one
 * has opened itself and no others, while the library has sockets and files of all kinds, and threads
 * asleep in waits, also while others open and close, and also from a daemon.
 */
#include "fork/fork.h"

enum { SLEEPERS = 3, STORM = 60 };

/* Descriptors 0 to 2 and this one are the program's own, and one is that of ls for the folder. */
static int own_fd;

/* Checks what `ls -l /proc/self/fd` has written; lets the caller say what it has found. */
static void check_listing(FILE *f, const char *what)
{
    char line[500], all[8000] = "";
    int found = 0, foreign = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        int fd;
        const char *arrow = strstr(line, " -> "), *at = arrow;
        if (arrow == NULL)
            continue;
        while (at > line && at[-1] != ' ')
            at--;
        fd = atoi(at);
        if (fd == own_fd && strstr(arrow, "dmtr-own") != NULL)
            found++;
        else if (fd > 2 && strstr(arrow, "/fd\n") == NULL)
            foreign++;
        if (strlen(all) + strlen(line) < sizeof all)
            strcat(all, line);
    }
    if (foreign == 0 && found == 1)
        return;
    fprintf(stderr, "%s: the new program has these descriptors:\n%s", what, all);
    exit(1);
}

static char *const list[] = {(char *)"ls", (char *)"-l", (char *)"/proc/self/fd", NULL};

static void check_fork(const struct way_to_fork *way)
{
    int fds[2], status = -1;
    FILE *f;
    pid_t pid;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    pid = way->fork();
    if (pid == 0) {
        if (dup2(fds[1], 1) != 1)
            _exit(1);
        execv("/bin/ls", list);
        _exit(1);
    }
    CHECK(pid > 0 && close(fds[1]) == 0);
    f = fdopen(fds[0], "r");
    CHECK(f != NULL);
    check_listing(f, way->name);
    fclose(f);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void check_popen(void)
{
    FILE *f = popen("exec ls -l /proc/self/fd", "re");
    CHECK(f != NULL);
    check_listing(f, "popen");
    CHECK_EQ(pclose(f), 0);
}

static void check_all_ways(void)
{
    for (int i = 0; i < WAYS_TO_FORK; i++)
        check_fork(&ways_to_fork[i]);
    check_popen();
}

/* ---- what the library has open ---- */

struct open {
    int queues[8], n, plain[2];
    dmtr_qtoken_t tokens[SLEEPERS];
    pthread_t sleepers[SLEEPERS];
    char path[300], dir[256];
};

static void *sleep_in_wait(void *arg)
{
    CHECK_ERR(dmtr_wait(NULL, *(dmtr_qtoken_t *)arg), ECANCELED);
    return NULL;
}

static void open_everything(struct open *o)
{
    struct sockaddr_in addr;
    int client = 0, server = 0;
    o->n = 0;
    o->queues[o->n++] = test_listen(&addr);
    test_tcp_connect(o->queues[0], &addr, &client, &server);
    o->queues[o->n++] = client;
    o->queues[o->n++] = server;
    o->queues[o->n++] = q_udp(&addr);
    make_folder(o->dir, sizeof o->dir);
    snprintf(o->path, sizeof o->path, "%s/file", o->dir);
    CHECK_ERR(dmtr_open2(&o->queues[o->n++], o->path, O_RDWR | O_CREAT, 0600), 0);
    q_push(o->queues[o->n - 1], "x", 1);
    CHECK_ERR(dmtr_open(&o->queues[o->n++], "/dev/zero", O_RDONLY), 0);
    o->tokens[0] = q_start_pop(client);
    o->tokens[1] = q_start_accept(o->queues[0]);
    o->tokens[2] = q_start_pop(o->queues[3]);
    for (int i = 0; i < SLEEPERS; i++)
        start_thread(&o->sleepers[i], sleep_in_wait, &o->tokens[i]);
    usleep(20000);
}

static void close_everything(struct open *o)
{
    for (int i = 0; i < o->n; i++)
        CHECK_ERR(dmtr_close(o->queues[i]), 0);
    for (int i = 0; i < SLEEPERS; i++)
        join_thread(o->sleepers[i]);
    CHECK(remove(o->path) == 0 && remove(o->dir) == 0);
}

/* ---- while another thread makes new ones ---- */

static int over;

static void *open_and_close(void *arg)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr);
    (void)arg;
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        int client = 0, server = 0, file = 0, udp;
        dmtr_qtoken_t qt;
        test_tcp_connect(listener, &addr, &client, &server);
        CHECK_ERR(dmtr_open(&file, "/dev/zero", O_RDONLY), 0);
        udp = q_udp(&(struct sockaddr_in){0});
        qt = q_start_pop(server);
        CHECK_ERR(dmtr_wait_timeout(NULL, qt, MS), ETIMEDOUT);
        CHECK_ERR(dmtr_close(client), 0);
        CHECK_ERR(dmtr_close(server), 0);
        CHECK_ERR(dmtr_close(file), 0);
        CHECK_ERR(dmtr_close(udp), 0);
    }
    CHECK_ERR(dmtr_close(listener), 0);
    return NULL;
}

static void *short_lived(void *arg)
{
    CHECK_EQ(q_valid(1), 0);
    return arg;
}

static void test_storm(void)
{
    pthread_t t;
    over = 0;
    start_thread(&t, open_and_close, NULL);
    for (int i = 0; i < STORM; i++) {
        pthread_t other;
        check_fork(&ways_to_fork[i % WAYS_TO_FORK]);
        start_thread(&other, short_lived, NULL);
        join_thread(other);
    }
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    join_thread(t);
}

static void run(void)
{
    struct open o;
    own_fd = memfd_create("dmtr-own", 0);
    CHECK(own_fd > 2);
    check_all_ways();
    CHECK_ERR(dmtr_init(0, NULL), 0);
    check_all_ways();
    open_everything(&o);
    check_all_ways();
    close_everything(&o);
    test_storm();
    check_all_ways();
}

/* Those that CTest or a shell has left open are none of this test's business. */
static void keep_to_ourselves(void)
{
    for (int fd = 3; fd < 1000; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int main(int argc, char **argv)
{
    pid_t pid;
    if (argc < 2) {
        keep_to_ourselves();
        run_again("direct", "DMTR_WAIT", "block");
        run_again("direct", "DMTR_WAIT", "adaptive");
        run_again("daemon", "DMTR_WAIT", "block");
        run_with_config("direct", "posix:\n  io_uring: false\n");
        return 0;
    }
    test_watchdog();
    if (strcmp(argv[1], "direct") == 0) {
        run();
        return 0;
    }
    pid = fork();
    if (pid == 0) {
        CHECK(setsid() > 0);
        pid = fork();
        if (pid == 0) {
            alarm(TEST_SECONDS);
            run();
            exit(0);
        }
        child_passes(pid, "daemon");
        _exit(0);
    }
    child_passes(pid, "first child");
    return 0;
}
