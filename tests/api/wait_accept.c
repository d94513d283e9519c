/*
 * Waiting without qr_out for an accept: a connection that nobody has been told of is closed, one
 * that dmtr_poll() has reported is the program's and stays open.
 */
#include "test.h"

static int connect_to(const struct sockaddr_in *addr)
{
    int qd = 0;
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_connect(qd, (const struct sockaddr *)addr, sizeof *addr), 0);
    return qd;
}

int main(void)
{
    struct sockaddr_in addr;
    dmtr_qtoken_t accept, pop;
    dmtr_qresult_t result;
    int client, seen = 0, valid = 0, err;
    test_init();
    int listener = test_listen(&addr);

    CHECK_ERR(dmtr_accept(&accept, listener), 0);
    client = connect_to(&addr);
    while ((err = dmtr_poll(&result, accept)) == EAGAIN)
        continue;
    CHECK_ERR(err, 0);
    seen = result.qr_value.ares.qd;
    CHECK_ERR(dmtr_wait(NULL, accept), 0);
    CHECK_ERR(dmtr_is_qd_valid(&valid, seen), 0);
    CHECK_EQ(valid, 1);
    CHECK_ERR(dmtr_close(seen), 0);
    CHECK_ERR(dmtr_close(client), 0);

    CHECK_ERR(dmtr_accept(&accept, listener), 0);
    client = connect_to(&addr);
    CHECK_ERR(dmtr_wait(NULL, accept), 0);
    CHECK_ERR(dmtr_pop(&pop, client), 0);
    CHECK_ERR(dmtr_wait(&result, pop), ECONNABORTED);
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    return 0;
}
