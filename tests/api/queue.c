/* dmtr_queue: errors, and what a memory queue is. */
#include "api/kinds.h"

enum { LIMIT = 20 };

static void test_verbatim(void)
{
    int qd = 0;
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    dmtr_sgarray_t sga[3];
    CHECK_ERR(dmtr_queue(&qd), 0);
    CHECK(qd >= 0x40000000);
    CHECK_EQ(fcntl(qd, F_GETFD), -1);
    memset(sga, 0, sizeof sga);
    /* three arrays: pointers that are none, all segments, lengths of zero */
    for (uint32_t i = 0; i < 3; i++) {
        sga[i].sga_buf = (char *)NULL + 4096 * i + 1;
        sga[i].sga_numsegs = i + 1;
        for (uint32_t k = 0; k <= i; k++) {
            sga[i].sga_segs[k].sgaseg_buf = i == 0 ? NULL : (char *)NULL + 77 * k + 1;
            sga[i].sga_segs[k].sgaseg_len = i == 0 ? 0 : 0xffffffffu - k;
        }
        sga[i].sga_addr = test_loopback((uint16_t)(i + 1));
        CHECK_ERR(dmtr_push(&qt, qd, &sga[i]), 0);
        CHECK_EQ(QT2QD(qt), qd);
        CHECK_ERR(dmtr_wait(&qr, qt), 0);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
        CHECK_EQ(qr.qr_qd, qd);
        CHECK_EQ(qr.qr_qt, qt);
    }
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_ERR(dmtr_wait(&qr, q_start_pop(qd)), 0);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
        CHECK(qr.qr_value.sga.sga_buf == sga[i].sga_buf);
        CHECK_EQ(qr.qr_value.sga.sga_numsegs, i + 1);
        for (uint32_t k = 0; k <= i; k++) {
            CHECK(qr.qr_value.sga.sga_segs[k].sgaseg_buf == sga[i].sga_segs[k].sgaseg_buf);
            CHECK_EQ(qr.qr_value.sga.sga_segs[k].sgaseg_len, sga[i].sga_segs[k].sgaseg_len);
        }
        CHECK_EQ(qr.qr_value.sga.sga_addr.sin_port, htons((uint16_t)(i + 1)));
    }
    CHECK_ERR(dmtr_poll(NULL, q_start_pop(qd)), EAGAIN);
    CHECK_ERR(dmtr_close(qd), 0);
}

/* Descriptors are used again late, so that an old one is not mistaken for a new queue. */
static void test_descriptors(void)
{
    int first = 0;
    CHECK_ERR(dmtr_queue(&first), 0);
    CHECK_ERR(dmtr_close(first), 0);
    for (int i = 0; i < 5000; i++) {
        int qd = 0;
        CHECK_ERR(dmtr_queue(&qd), 0);
        CHECK(qd > 0 && qd != first);
        CHECK_EQ(q_valid(first), 0);
        CHECK_ERR(dmtr_close(qd), 0);
    }
}

static void test_limit(void)
{
    int qds[LIMIT], qd = 0;
    for (int i = 0; i < LIMIT; i++)
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
    for (int i = 0; i < 3; i++) {
        qd = 5;
        CHECK_ERR(dmtr_queue(&qd), EMFILE);
        CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), EMFILE);
        CHECK_ERR(dmtr_open(&qd, "/dev/null", O_RDONLY), EMFILE);
        CHECK_ERR(dmtr_close(qds[i]), 0);
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
    }
    q_push(qds[0], "x", 1);
    for (int i = 0; i < LIMIT; i++)
        CHECK_ERR(dmtr_close(qds[i]), 0);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc < 2)
        run_with_config("limit", "limits: {queues: 20}\n");
    test_init();
    if (argc >= 2) {
        test_limit();
        return 0;
    }
    CHECK_ERR(dmtr_queue(NULL), EINVAL);
    test_verbatim();
    test_descriptors();
    return 0;
}
