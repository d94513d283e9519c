/* A shared object that is built for one generation and opened by a program of the other. */
#include "program.h"

#include "plugin.h"

void plugin_push(int qd, char *bytes, uint32_t len)
{
    struct guarded g;
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = array_of(bytes, len);
    CHECK_EQ(CALL(dmtr_push)(&qt, qd, &sga), 0);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qt), 0);
    check_result(&g, DMTR_OPC_PUSH, qt);
}

uint64_t plugin_start_pop(int qd)
{
    dmtr_qtoken_t qt = 0;
    CHECK_EQ(CALL(dmtr_pop)(&qt, qd), 0);
    return qt;
}

int plugin_pop(uint64_t qt, int way, void **sga_buf, const char **bytes, size_t *len)
{
    struct guarded g, again;
    dmtr_sgarray_t *sga = &g.qr.qr_value.sga;
    int rc, ready = 0;
    refresh(&g);
    if (way == BY_WAIT) {
        rc = CALL(dmtr_wait)(&g.qr, qt);
    } else if (way == BY_WAIT_ANY) {
        rc = CALL(dmtr_wait_any)(&g.qr, &ready, &qt, 1);
    } else {
        while ((rc = CALL(dmtr_poll)(&g.qr, qt)) == EAGAIN)
            ;
        refresh(&again);
        CHECK_EQ(CALL(dmtr_poll)(&again.qr, qt), rc);
        CHECK_EQ(again.qr.qr_value.sga.sga_numsegs, sga->sga_numsegs);
        CHECK_EQ(again.qr.qr_value.sga.sga_segs[0].sgaseg_len, sga->sga_segs[0].sgaseg_len);
        CHECK_EQ(CALL(dmtr_drop)(qt), 0);
    }
    check_result(&g, DMTR_OPC_POP, qt);
    *sga_buf = sga->sga_buf;
    *bytes = (const char *)sga->sga_segs[0].sgaseg_buf;
    CHECK_EQ(CALL(dmtr_sgalen)(len, sga), 0);
    for (uint32_t i = 1; i < sga->sga_numsegs; i++) /* of 2019 */
        CHECK(sga->sga_segs[i].sgaseg_buf == (char *)sga->sga_segs[i - 1].sgaseg_buf + sga->sga_segs[i - 1].sgaseg_len);
    return rc;
}

void plugin_tcp_pair(int *client, int *server)
{
    tcp_pair(client, server);
}
