/* dmtr_close (tokens of closed queues: also net/drop) */
#include "api/kinds.h"

static void test_tokens(void)
{
    int qd = 0;
    dmtr_qtoken_t done, pending[2];
    CHECK_ERR(dmtr_queue(&qd), 0);
    q_push(qd, "x", 1);
    done = q_start_pop(qd);
    pending[0] = q_start_pop(qd);
    pending[1] = q_start_pop(qd);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_poll(NULL, pending[0]), ECANCELED);
    q_wait_fails(pending[0], DMTR_OPC_POP, ECANCELED);
    CHECK_ERR(dmtr_drop(pending[1]), 0);
    CHECK_ERR(dmtr_wait(NULL, done), 0);
}

int main(void)
{
    struct kinds k;
    struct sockaddr_in addr;
    socklen_t size = sizeof addr;
    char byte;
    int before, qd = 0, *all[] = {&k.memory, &k.file, &k.udp, &k.tcp, &k.listener, &k.connected};
    test_init();
    kinds_open(&k); /* whatever the library opens on first use is open now */
    q_pop_is(k.file, "", 0);
    kinds_close(&k);
    before = count_fds();
    for (int round = 0; round < 3; round++) {
        kinds_open(&k);
        CHECK_BAD_QDS(&k, dmtr_close(qd));
        CHECK_ERR(dmtr_getsockname(k.listener, ADDR(&addr), &size), 0);
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            CHECK_EQ(q_valid(*all[i]), 1);
            CHECK_ERR(dmtr_close(*all[i]), 0);
            CHECK_EQ(q_valid(*all[i]), 0);
            CHECK_ERR(dmtr_close(*all[i]), ENOENT);
        }
        CHECK_EQ(recv(k.peer, &byte, 1, 0), 0); /* the peer sees the end */
        CHECK(close(k.peer) == 0);
        CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
        /* nobody listens any more */
        CHECK_ERR(dmtr_connect(qd, ADDR(&addr), sizeof addr), ECONNREFUSED);
        CHECK_ERR(dmtr_close(qd), 0);
        CHECK(remove(k.path) == 0 && remove(k.dir) == 0);
    }
    CHECK_EQ(count_fds(), before);
    test_tokens();
    return 0;
}
