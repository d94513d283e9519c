/* dmtr_poll */
#include "api/kinds.h"

static const dmtr_qtoken_t unknown[] = {0, 1, 0xffffffffffffffffu, (dmtr_qtoken_t)0x40000000 << 32,
                                        ((dmtr_qtoken_t)1 << 63) | 5};

int main(void)
{
    struct kinds k;
    dmtr_qresult_t qr;
    dmtr_qtoken_t qt, failed;
    void *block = NULL;
    int err = EAGAIN;
    test_init();
    kinds_open(&k);
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        CHECK_ERR(dmtr_poll(&qr, unknown[i]), ENOENT);
        CHECK_ERR(dmtr_poll(NULL, unknown[i]), ENOENT);
    }
    qt = q_start_pop(k.connected);
    for (uint64_t i = 1; i < 100; i++) { /* close to a real one */
        CHECK_ERR(dmtr_poll(&qr, qt + i), ENOENT);
        CHECK_ERR(dmtr_poll(&qr, qt ^ (i << 32)), ENOENT);
    }
    CHECK_ERR(dmtr_poll(&qr, qt), EAGAIN);
    CHECK_ERR(dmtr_poll(NULL, qt), EAGAIN);
    plain_send(k.peer, "hello", 5);
    for (int i = 0; i < 5000 && err == EAGAIN; i++) { /* polling alone makes it go on */
        err = dmtr_poll(NULL, qt);
        usleep(100);
    }
    CHECK_ERR(err, 0);
    for (int i = 0; i < 5; i++) { /* repeatable */
        memset(&qr, 0xee, sizeof qr);
        CHECK_ERR(dmtr_poll(&qr, qt), 0);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
        CHECK_EQ(qr.qr_qd, k.connected);
        CHECK_EQ(qr.qr_qt, qt);
        CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 5);
        CHECK(i == 0 || qr.qr_value.sga.sga_buf == block);
        block = qr.qr_value.sga.sga_buf;
    }
    CHECK_ERR(dmtr_drop(qt), 0);
    /* ours, once it was reported */
    CHECK(memcmp(qr.qr_value.sga.sga_segs[0].sgaseg_buf, "hello", 5) == 0);
    CHECK_ERR(dmtr_poll(&qr, qt), ENOENT);
    free(block);

    failed = q_start_pop(k.connected);
    plain_reset(k.peer);
    for (int i = 0; i < 5000 && (err = dmtr_poll(NULL, failed)) == EAGAIN; i++)
        usleep(100);
    for (int i = 0; i < 5; i++) {
        memset(&qr, 0xee, sizeof qr);
        CHECK_ERR(dmtr_poll(&qr, failed), ECONNRESET);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
        CHECK_EQ(qr.qr_qd, k.connected);
        CHECK_EQ(qr.qr_qt, failed);
    }
    CHECK_ERR(dmtr_wait(NULL, failed), ECONNRESET); /* a wait reports it as well, and drops it */
    CHECK_ERR(dmtr_poll(NULL, failed), ENOENT);
    k.peer = dup(0); /* for kinds_close */
    kinds_close(&k);
    return 0;
}
