/* dmtr_pop */
#include "api/kinds.h"

static void test_result(const struct kinds *k)
{
    char frame[100];
    dmtr_qresult_t qr;
    dmtr_qtoken_t qt = q_start_pop(k->connected);
    size_t n = frame_build(frame, 3, SEGS(5, 0, 70), 1);
    char *block;
    plain_send(k->peer, frame, n);
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qd, k->connected);
    CHECK_EQ(qr.qr_qt, qt);
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, 3);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 5);
    CHECK_EQ(qr.qr_value.sga.sga_segs[1].sgaseg_len, 0);
    CHECK_EQ(qr.qr_value.sga.sga_segs[2].sgaseg_len, 70);
    check_fill(qr.qr_value.sga.sga_segs[0].sgaseg_buf, 5, 1, 0);
    check_fill(qr.qr_value.sga.sga_segs[2].sgaseg_buf, 70, 1, 5);
    block = (char *)qr.qr_value.sga.sga_buf; /* one block, which free() takes back */
    CHECK((char *)qr.qr_value.sga.sga_segs[0].sgaseg_buf >= block &&
          (char *)qr.qr_value.sga.sga_segs[2].sgaseg_buf > block);
    memset(qr.qr_value.sga.sga_segs[2].sgaseg_buf, 1, 70); /* and may be written to */
    free(block);
}

/* Bare bytes: what is at hand, at most 16 KiB. */
static void test_stream(void)
{
    static unsigned char data[40000];
    size_t got = 0;
    int fd, qd = q_pair(&fd);
    fill(data, sizeof data, 1, 0);
    data[0] = 'x';
    plain_send(fd, data, 3);
    q_pop_is(qd, data, 3);
    plain_send(fd, data, sizeof data);
    while (got < sizeof data) {
        dmtr_qresult_t qr;
        CHECK_ERR(dmtr_wait(&qr, q_start_pop(qd)), 0);
        CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
        CHECK(qr.qr_value.sga.sga_segs[0].sgaseg_len >= 1 &&
              qr.qr_value.sga.sga_segs[0].sgaseg_len <= 16384);
        CHECK(got + qr.qr_value.sga.sga_segs[0].sgaseg_len <= sizeof data);
        CHECK(memcmp(qr.qr_value.sga.sga_segs[0].sgaseg_buf, data + got,
                     qr.qr_value.sga.sga_segs[0].sgaseg_len) == 0);
        got += qr.qr_value.sga.sga_segs[0].sgaseg_len;
        free(qr.qr_value.sga.sga_buf);
    }
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void test_ends(void)
{
    char frame[64];
    dmtr_qtoken_t qt;
    int fd, qd = q_pair(&fd);
    CHECK(close(fd) == 0);
    q_wait_fails(q_start_pop(qd), DMTR_OPC_POP, ECONNABORTED);
    CHECK_ERR(dmtr_close(qd), 0);
    qd = q_pair(&fd);
    plain_reset(fd);
    q_wait_fails(q_start_pop(qd), DMTR_OPC_POP, ECONNRESET);
    CHECK_ERR(dmtr_close(qd), 0);
    qd = q_pair(&fd);
    frame_head(frame, 14, 1, 11); /* does not add up */
    plain_send(fd, frame, 30);
    q_wait_fails(q_start_pop(qd), DMTR_OPC_POP, EILSEQ);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
    qd = q_pair(&fd);
    frame_head(frame, 0xffffffffu, 1, 0xffffffffu - 4);
    plain_send(fd, frame, 16);
    q_wait_fails(q_start_pop(qd), DMTR_OPC_POP, EMSGSIZE);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
    qd = q_pair(&fd);
    qt = q_start_pop(qd);
    CHECK_ERR(dmtr_close(qd), 0);
    q_wait_fails(qt, DMTR_OPC_POP, ECANCELED);
    CHECK(close(fd) == 0);
}

static void test_datagrams(const struct kinds *k)
{
    struct sockaddr_in addr, mine;
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    int qd, fd = plain_udp(&mine);
    CHECK_ERR(dmtr_pop(&qt, k->udp), EINVAL);                      /* neither bound nor connected */
    CHECK_ERR(dmtr_connect(k->udp, ADDR(&mine), sizeof mine), 0);
    CHECK_ERR(dmtr_drop(q_start_pop(k->udp)), 0);
    qd = q_udp(&addr);
    qt = q_start_pop(qd);
    CHECK_EQ(sendto(fd, "hello", 5, 0, ADDR(&addr), sizeof addr), 5);
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 5);
    CHECK_EQ(qr.qr_value.sga.sga_addr.sin_port, mine.sin_port);
    free(qr.qr_value.sga.sga_buf);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

enum { TOKENS = 500, LARGEST = 1000 };

static void test_limits(void)
{
    char frame[LARGEST + 17];
    uint32_t len = LARGEST;
    int qd = 0, fd, n = 0;
    dmtr_qtoken_t qt = 0;
    qd = q_pair(&fd);
    plain_send(fd, frame, frame_build(frame, 1, &len, 1));
    fill(frame, LARGEST, 1, 0);
    q_pop_is(qd, frame, LARGEST);
    len++;
    plain_send(fd, frame, frame_build(frame, 1, &len, 1));
    q_wait_fails(q_start_pop(qd), DMTR_OPC_POP, EMSGSIZE);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
    qd = q_pair(&fd); /* bare bytes: at most max_pop at once */
    plain_send(fd, "0123456789", 10);
    q_pop_is(qd, "0123456", 7);
    q_pop_is(qd, "789", 3);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
    CHECK_ERR(dmtr_queue(&qd), 0);
    for (; n < TOKENS; n++)
        qt = q_start_pop(qd);
    CHECK_ERR(dmtr_pop(&qt, qd), ENOBUFS);
    CHECK_ERR(dmtr_pop2(&qt, qd, 1), ENOBUFS);
    CHECK_ERR(dmtr_drop(qt), 0);
    q_start_pop(qd);
    CHECK_ERR(dmtr_close(qd), 0);
}

int main(int argc, char **argv)
{
    struct kinds k;
    dmtr_qtoken_t qt = 0;
    int qd = 0;
    (void)argv;
    if (argc < 2)
        run_with_config("limits", "limits: {max_message: 1000, max_pop: 7, tokens: 500}\n");
    test_init();
    if (argc > 1) {
        test_limits();
        return 0;
    }
    kinds_open(&k);
    CHECK_BAD_QDS(&k, dmtr_pop(&qt, qd));
    CHECK_ERR(dmtr_pop(NULL, k.memory), EINVAL);
    CHECK_ERR(dmtr_pop(&qt, k.tcp), EINVAL);
    CHECK_ERR(dmtr_pop(&qt, k.listener), ENOTSUP);
    CHECK_ERR(dmtr_open(&qd, k.path, O_WRONLY), 0);
    CHECK_ERR(dmtr_pop(&qt, qd), EBADF);
    CHECK_ERR(dmtr_close(qd), 0);
    q_pop_is(k.file, "", 0); /* the end of a file */
    test_result(&k);
    test_stream();
    test_ends();
    test_datagrams(&k);
    kinds_close(&k);
    /* ECONNREFUSED of datagrams: net/udp */
    return 0;
}
