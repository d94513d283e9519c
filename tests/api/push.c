/* dmtr_push */
#include "api/kinds.h"

static dmtr_qtoken_t qt;

static int push(int qd, const dmtr_sgarray_t *sga)
{
    return dmtr_push(&qt, qd, sga);
}

static void test_bad_arrays(int qd)
{
    dmtr_sgarray_t sga = test_sga((void *)"x", 1);
    CHECK_ERR(dmtr_push(NULL, qd, &sga), EINVAL);
    CHECK_ERR(push(qd, NULL), EINVAL);
    sga.sga_numsegs = 0;
    CHECK_ERR(push(qd, &sga), EINVAL);
    sga.sga_numsegs = DMTR_SGARRAY_MAXSIZE + 1;
    CHECK_ERR(push(qd, &sga), EINVAL);
    sga.sga_numsegs = 0xffffffffu;
    CHECK_ERR(push(qd, &sga), EINVAL);
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_buf = NULL;
    CHECK_ERR(push(qd, &sga), EINVAL);
    sga.sga_numsegs = 3;
    sga.sga_segs[0].sgaseg_len = 0;
    sga.sga_segs[2].sgaseg_len = 1;
    CHECK_ERR(push(qd, &sga), EINVAL);
}

/* No bytes, in one or several segments: a network cannot send that, and goes on. */
static void test_nothing(int qd)
{
    dmtr_sgarray_t sga = test_sga(NULL, 0);
    sga.sga_addr = test_loopback(9);
    for (uint32_t n = 1; n <= 3; n++) {
        sga.sga_numsegs = n;
        CHECK_ERR(push(qd, &sga), 0);
        q_wait_fails(qt, DMTR_OPC_PUSH, ENOMSG);
    }
}

/* The array is echoed, and is needed during the call only. */
static void test_result(const struct kinds *k)
{
    static char a[] = "abc", b[] = "de", frame[12 + 4 + 3 + 4 + 2];
    dmtr_sgarray_t sga;
    dmtr_qresult_t qr;
    dmtr_qtoken_t mine;
    memset(&sga, 0xee, sizeof sga);
    sga.sga_numsegs = 2;
    sga.sga_segs[0].sgaseg_buf = a;
    sga.sga_segs[0].sgaseg_len = 3;
    sga.sga_segs[1].sgaseg_buf = b;
    sga.sga_segs[1].sgaseg_len = 2;
    CHECK_ERR(push(k->connected, &sga), 0);
    mine = qt;
    memset(&sga, 0, sizeof sga);
    CHECK_EQ(QT2QD(mine), k->connected);
    CHECK_ERR(dmtr_wait(&qr, mine), 0);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
    CHECK_EQ(qr.qr_qd, k->connected);
    CHECK_EQ(qr.qr_qt, mine);
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, 2);
    CHECK(qr.qr_value.sga.sga_segs[0].sgaseg_buf == a);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 3);
    CHECK(qr.qr_value.sga.sga_segs[1].sgaseg_buf == b);
    CHECK_EQ(qr.qr_value.sga.sga_segs[1].sgaseg_len, 2);
    CHECK_EQ(plain_recv(k->peer, frame, sizeof frame), sizeof frame);
    CHECK_EQ(get32(frame), DMTR_HEADER_MAGIC);
    CHECK_EQ(get32(frame + 4), 13);
    CHECK_EQ(get32(frame + 8), 2);
    CHECK_EQ(get32(frame + 12), 3);
    CHECK(memcmp(frame + 16, "abc", 3) == 0);
    CHECK_EQ(get32(frame + 19), 2);
    CHECK(memcmp(frame + 23, "de", 2) == 0);
}

static void test_files(const struct kinds *k)
{
    dmtr_sgarray_t sga = test_sga((void *)"x", 1);
    int qd = 0;
    CHECK_ERR(dmtr_open(&qd, k->path, O_RDONLY), 0);
    CHECK_ERR(push(qd, &sga), EBADF);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_open(&qd, "/dev/full", O_WRONLY), 0);
    CHECK_ERR(push(qd, &sga), 0);
    q_wait_fails(qt, DMTR_OPC_PUSH, ENOSPC);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(push(k->file, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
}

static void test_datagrams(void)
{
    static char big[65508];
    struct sockaddr_in addr;
    dmtr_sgarray_t sga = test_sga(big, sizeof big);
    int fd = plain_udp(&addr), qd = 0;
    char got[64];
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0), 0);
    sga.sga_segs[0].sgaseg_len = 5;
    CHECK_ERR(push(qd, &sga), EINVAL); /* no address */
    sga.sga_addr = addr;
    sga.sga_segs[0].sgaseg_len = sizeof big;
    CHECK_ERR(push(qd, &sga), 0);
    q_wait_fails(qt, DMTR_OPC_PUSH, EMSGSIZE);
    sga.sga_segs[0].sgaseg_len = 5;
    CHECK_ERR(push(qd, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
    CHECK_EQ(recv(fd, got, sizeof got, 0), 21);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void test_ends(void)
{
    static char data[1 << 20];
    int err = 0, fd, qd = q_pair_with(&fd, 4096);
    dmtr_qtoken_t qts[20];
    for (int i = 0; i < 20; i++)
        qts[i] = q_start_push(qd, data, sizeof data);
    CHECK_ERR(dmtr_close(qd), 0);
    q_wait_fails(qts[19], DMTR_OPC_PUSH, ECANCELED);
    for (int i = 0; i < 19; i++)
        CHECK_ERR(dmtr_drop(qts[i]), 0);
    CHECK(close(fd) == 0);
    qd = q_pair(&fd);
    plain_reset(fd);
    for (int i = 0; i < 1000 && err == 0; i++) { /* the reset is on its way */
        err = dmtr_wait(NULL, q_start_push(qd, data, 10));
        usleep(1000);
    }
    CHECK(err == EPIPE || err == ECONNRESET);
    CHECK_ERR(dmtr_close(qd), 0);
}

enum { LONGEST = 10, LARGEST = 1000, TOKENS = 500 };

static void test_limits(void)
{
    static char data[LARGEST + 1];
    dmtr_sgarray_t sga = test_sga(data, LARGEST + 1);
    dmtr_qtoken_t qts[TOKENS];
    int qd = 0, fd, tcp = q_pair(&fd), n = 0;
    CHECK_ERR(push(tcp, &sga), EMSGSIZE);
    sga.sga_segs[0].sgaseg_len = 0xffffffffu;
    CHECK_ERR(push(tcp, &sga), EMSGSIZE);
    sga.sga_segs[0].sgaseg_len = LARGEST;
    CHECK_ERR(push(tcp, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
    CHECK_ERR(dmtr_queue(&qd), 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < LONGEST; i++)
            q_push(qd, data, 1);
        CHECK_ERR(push(qd, &sga), ENOBUFS);
        for (int i = 0; i < LONGEST; i++)
            CHECK_ERR(dmtr_wait(NULL, q_start_pop(qd)), 0);
    }
    while (n < TOKENS)
        qts[n++] = q_start_pop(tcp);
    CHECK_ERR(push(qd, &sga), ENOBUFS);
    CHECK_ERR(dmtr_drop(qts[0]), 0);
    CHECK_ERR(push(qd, &sga), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(tcp), 0);
    CHECK(close(fd) == 0);
}

int main(int argc, char **argv)
{
    struct kinds k;
    dmtr_sgarray_t sga = test_sga((void *)"x", 1);
    (void)argv;
    if (argc < 2)
        run_with_config("limits", "limits:\n  memory_queue: 10\n  max_message: 1000\n"
                                  "  max_pop: 1000\n  tokens: 500\n");
    test_init();
    if (argc > 1) {
        test_limits();
        return 0;
    }
    kinds_open(&k);
    CHECK_BAD_QDS(&k, push(qd, &sga));
    test_bad_arrays(k.memory);
    test_bad_arrays(k.connected);
    test_bad_arrays(k.file);
    CHECK_ERR(push(k.tcp, &sga), EINVAL);
    CHECK_ERR(push(k.listener, &sga), ENOTSUP);
    test_result(&k);
    test_nothing(k.connected);
    test_nothing(k.udp);
    test_files(&k);
    test_datagrams();
    test_ends();
    kinds_close(&k);
    return 0;
}
