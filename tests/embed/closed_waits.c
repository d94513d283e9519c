/*
 * Waits for what can no longer come, because the program has closed the descriptors that the library
 * sleeps on, or opened others in their place: they end with EIO at once, and the library says why.
 */
#include "embed/cases.h"

#include <dmtr/ext.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

enum { LIMIT_SECONDS = 5 };

static void close_all(void)
{
    if (syscall(SYS_close_range, 3, ~0U, 0) != 0)
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
}

/* Others take the numbers: always readable, or never. */
static void open_others(int readable)
{
    for (int i = 0; i < 64; i++)
        CHECK((readable ? open("/dev/zero", O_RDWR) : eventfd(0, 0)) >= 0);
}

static void given_up(dmtr_qtoken_t pending)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), EIO);
    CHECK_ERR(dmtr_poll(NULL, pending), EIO);
    CHECK_ERR(dmtr_wait_timeout(NULL, pending, 0), EIO);
    CHECK_ERR(dmtr_wait_all(NULL, &pending, 1), EIO);
    CHECK_ERR(dmtr_drop(pending), EIO);
    CHECK_ERR(dmtr_init(0, NULL), EPERM);
    exit(0);
}

static void *sleeper(void *arg)
{
    CHECK_ERR(dmtr_wait_timeout(NULL, *(dmtr_qtoken_t *)arg, 300000000), EIO);
    return NULL;
}

static void run_case(const char *name)
{
    struct sockaddr_in addr;
    int queue = 0, at;
    dmtr_qtoken_t pop, accept;
    pthread_t t;
    test_init();
    alarm(LIMIT_SECONDS);
    CHECK_ERR(dmtr_queue(&queue), 0);
    pop = q_start_pop(queue);
    if (strcmp(name, "queue") == 0) {
        close_all();
        CHECK_ERR(dmtr_wait(NULL, pop), EIO);
    } else if (strcmp(name, "any") == 0) {
        close_all();
        CHECK_ERR(dmtr_wait_any(NULL, &at, &pop, 1), EIO);
    } else if (strcmp(name, "asleep") == 0) { /* it notices when it looks again, at the latest at its deadline */
        start_thread(&t, sleeper, &pop);
        usleep(50000);
        close_all();
        join_thread(t);
    } else {
        accept = q_start_accept(test_listen(&addr));
        CHECK_ERR(dmtr_wait_timeout(NULL, accept, 1000000), ETIMEDOUT);
        close_all();
        if (strncmp(name, "replaced", 8) == 0)
            open_others(strstr(name, "readable") != NULL);
        CHECK_ERR(dmtr_wait(NULL, accept), EIO);
    }
    given_up(pop);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"block", "adaptive", "spin"};
    if (argc > 1)
        run_case(argv[1]);
    test_watchdog();
    for (int i = 0; i < 3; i++) {
        setenv("DMTR_WAIT", modes[i], 1);
        case_gives_up("accept");
        case_gives_up("replaced, readable");
        case_gives_up("replaced, quiet");
        if (i == 2)
            continue; /* spinning waits do not look at descriptors while there are no sockets */
        case_gives_up("queue");
        case_gives_up("any");
        case_gives_up("asleep");
    }
    return cases_failed != 0;
}
