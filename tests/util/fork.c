/*
 * A program may fork at any time before dmtr_init: right after its start, while the Go runtime is still busy, and after calls into the
 * library. The child is not held up, and may start the library itself, as a program does that becomes a daemon.
 */
#include "test.h"

#include <sys/wait.h>

#define ROUNDS 60

/* What every third child does: start the library, and pass an array through a queue. */
static void use_library(void)
{
    int qd = 0;
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = test_sga(NULL, 0);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    CHECK_ERR(dmtr_queue(&qd), 0);
    CHECK_ERR(dmtr_push(&qt, qd, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
    CHECK_ERR(dmtr_pop(&qt, qd), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
}

int main(void)
{
    int valid = 1;
    test_watchdog();
    for (int i = 0; i < ROUNDS; i++) {
        int status = 0;
        if (i % 2 == 1)
            CHECK_ERR(dmtr_is_qd_valid(&valid, 1), EPERM);
        usleep((useconds_t)(i % 10 * 100));
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            if (i % 3 == 0)
                use_library();
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK_EQ(status, 0);
    }
    return 0;
}
