/*
 * fork() after dmtr_init(): the library stays with the parent. In the child every call gives EPERM,
 * and the parent does not notice.
 */
#include "test.h"

#include <sys/wait.h>
#include <unistd.h>

static int in_child(int client, int server, dmtr_qtoken_t pending)
{
    unsigned char data[1] = {0};
    dmtr_sgarray_t sga = test_sga(data, sizeof data);
    dmtr_qtoken_t qt;
    int flag = 1, qd;
    CHECK_ERR(dmtr_push(&qt, client, &sga), EPERM);
    CHECK_ERR(dmtr_pop(&qt, server), EPERM);
    CHECK_ERR(dmtr_wait(NULL, pending), EPERM);
    CHECK_ERR(dmtr_wait_any(NULL, NULL, &pending, 1), EPERM);
    CHECK_ERR(dmtr_poll(NULL, pending), EPERM);
    CHECK_ERR(dmtr_drop(pending), EPERM);
    CHECK_ERR(dmtr_close(server), EPERM);
    CHECK_ERR(dmtr_is_qd_valid(&flag, server), EPERM);
    CHECK_ERR(dmtr_queue(&qd), EPERM);
    CHECK_ERR(dmtr_init(0, NULL), EPERM);
    return 0;
}

int main(void)
{
    unsigned char data[1] = {'x'};
    dmtr_sgarray_t sga = test_sga(data, sizeof data);
    dmtr_qtoken_t push, pop;
    dmtr_qresult_t result;
    int client, server;
    test_init();
    test_tcp_pair(&client, &server);
    for (int i = 0; i < 50; i++) {
        CHECK_ERR(dmtr_pop(&pop, server), 0);
        pid_t pid = fork();
        if (pid == 0)
            _exit(in_child(client, server, pop));
        int status = -1;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK_EQ(status, 0);
        CHECK_ERR(dmtr_push(&push, client, &sga), 0);
        CHECK_ERR(dmtr_wait(NULL, push), 0);
        CHECK_ERR(dmtr_wait(&result, pop), 0);
        CHECK_EQ(result.qr_value.sga.sga_segs[0].sgaseg_len, 1);
        free(result.qr_value.sga.sga_buf);
    }
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
    return 0;
}
