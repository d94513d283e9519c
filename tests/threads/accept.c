/*
 * Several threads accept from one listener, in each wait mode: every connection comes to exactly one
 * of them, and is served there.
 */
#include "api/timed.h"

enum { SERVERS = 8, CLIENTS = 5, CONNECTIONS = 40 };

static struct sockaddr_in addr;
static int listener;
static unsigned char served[CLIENTS * CONNECTIONS];

static void serve(int qd)
{
    dmtr_qresult_t qr;
    int number;
    CHECK_ERR(dmtr_wait(&qr, q_start_pop(qd)), 0);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, sizeof number);
    memcpy(&number, qr.qr_value.sga.sga_segs[0].sgaseg_buf, sizeof number);
    free(qr.qr_value.sga.sga_buf);
    CHECK(number >= 0 && number < CLIENTS * CONNECTIONS);
    __atomic_fetch_add(&served[number], 1, __ATOMIC_RELAXED);
    number = -number;
    q_push(qd, &number, sizeof number);
    CHECK_EQ(q_pop_error(qd), ECONNABORTED);
    CHECK_ERR(dmtr_close(qd), 0);
}

/* Waits in one of four ways, until the listener is closed. */
static void *server(void *arg)
{
    int way = *(int *)arg % 4, idle = 0;
    dmtr_qtoken_t qts[2];
    CHECK_ERR(dmtr_queue(&idle), 0);
    qts[0] = q_start_pop(idle);
    for (;;) {
        dmtr_qresult_t qr;
        int err, at = 1;
        err = dmtr_accept(&qts[1], listener);
        if (err == ENOENT)
            break;
        CHECK_ERR(err, 0);
        do {
            switch (way) {
            case 0: err = dmtr_wait(&qr, qts[1]); break;
            case 1: err = dmtr_wait_any(&qr, &at, qts, 2); break;
            case 2: err = dmtr_wait_timeout(&qr, qts[1], MS); break;
            default: err = dmtr_wait_any_timeout(&qr, &at, qts, 2, MS);
            }
        } while (err == ETIMEDOUT);
        if (err == ECANCELED)
            break;
        CHECK_ERR(err, 0);
        CHECK_EQ(at, 1);
        CHECK_EQ(qr.qr_qt, qts[1]);
        CHECK_EQ(qr.qr_qd, listener);
        serve(qr.qr_value.ares.qd);
    }
    CHECK_ERR(dmtr_close(idle), 0);
    return NULL;
}

/* Half of the connections are made through the library, half are plain. */
static void *client(void *arg)
{
    for (int i = 0; i < CONNECTIONS; i++) {
        int number = *(int *)arg * CONNECTIONS + i, answer = -number;
        if (i % 2) {
            int qd = 0;
            CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
            CHECK_ERR(dmtr_connect(qd, ADDR(&addr), sizeof addr), 0);
            q_push(qd, &number, sizeof number);
            q_pop_is(qd, &answer, sizeof answer);
            CHECK_ERR(dmtr_close(qd), 0);
        } else {
            int fd = plain_connect(&addr, 0);
            plain_send(fd, &number, sizeof number); /* a stream, as its first bytes are no magic */
            plain_expect(fd, &answer, sizeof answer);
            CHECK(close(fd) == 0);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t servers[SERVERS], clients[CLIENTS];
    int ids[SERVERS];
    if (argc < 2) {
        run_in_wait_modes(NULL);
        return 0;
    }
    fprintf(stderr, "mode %s\n", argv[1]);
    test_init();
    listener = test_listen(&addr);
    for (int i = 0; i < SERVERS; i++) {
        ids[i] = i;
        start_thread(&servers[i], server, &ids[i]);
        if (i < CLIENTS)
            start_thread(&clients[i], client, &ids[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        join_thread(clients[i]);
    CHECK_ERR(dmtr_close(listener), 0);
    for (int i = 0; i < SERVERS; i++)
        join_thread(servers[i]);
    for (int i = 0; i < CLIENTS * CONNECTIONS; i++)
        CHECK_EQ(served[i], 1);
    return 0;
}
