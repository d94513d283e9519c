/*
 * The functions of the generation of 2020 whose types differ from those of 2019: they call the
 * latter and convert. The headers give them the ELF version DMTR_2020, see dmtr/sys/api.h.
 */
#define DMTR_API 2020 /* for all that is included */
/*
 * Here they have names of their own in C, too, the ones that the headers give the symbols: for
 * debuggers, and for the ABI gate, as libabigail takes functions of one name for the same.
 */
#define dmtr_connect dmtr_connect_2020
#define dmtr_poll dmtr_poll_2020
#define dmtr_push dmtr_push_2020
#define dmtr_sgafree dmtr_sgafree_2020
#define dmtr_sgalen dmtr_sgalen_2020
#define dmtr_wait dmtr_wait_2020
#define dmtr_wait_all dmtr_wait_all_2020
#define dmtr_wait_any dmtr_wait_any_2020
#define dmtr_wait_any_timeout dmtr_wait_any_timeout_2020
#define dmtr_wait_some dmtr_wait_some_2020
#define dmtr_wait_timeout dmtr_wait_timeout_2020
#include "api2019.h"
#include "sga.c" /* the same source for both generations */

#include <dmtr/ext.h>
#include <dmtr/libos.h>
#include <dmtr/wait.h>
#include <string.h>

/* An opcode that no result has: shows that a call has not stored one. */
#define UNTOUCHED UINT32_MAX

/* Results that are converted in one call of dmtr_wait_some(). */
enum { SOME_AT_ONCE = 64 };

static void narrow_array(dmtr_sgarray_t *to, const struct array2019 *from)
{
    to->sga_buf = from->buf;
    to->sga_numsegs = from->numsegs;
    to->sga_segs[0] = from->segs[0];
    to->sga_addr = from->addr;
}

/* Hands on the result of a call that has returned rc. */
static int narrow(dmtr_qresult_t *to, struct result2019 *from, int rc)
{
    if (to == NULL || from->opcode == UNTOUCHED)
        return rc;
    to->qr_opcode = (dmtr_opcode_t)from->opcode;
    to->qr_qd = from->qd;
    to->qr_qt = from->qt;
    switch (to->qr_opcode) {
    case DMTR_OPC_POP:
        if (DMTR_UNLIKELY(from->value.sga.numsegs > DMTR_SGARRAY_MAXSIZE) && dmtr_join(&from->value.sga) != 0) {
            rc = EMSGSIZE;
            from->value.sga.numsegs = 0;
        } /* fall through */
    case DMTR_OPC_PUSH:
        narrow_array(&to->qr_value.sga, &from->value.sga);
        break;
    case DMTR_OPC_ACCEPT:
        to->qr_value.ares.qd = from->value.ares.qd;
        to->qr_value.ares.addr = from->value.ares.addr;
        break;
    default:
        memset(&to->qr_value, 0, sizeof to->qr_value);
    }
    return rc;
}

/* Makes a call of 2019 with a place for the result, if one is wanted, and returns in 2020's way. */
#define RETURN_NARROWED(function, ...)                                     \
    do {                                                                   \
        struct result2019 qr;                                              \
        qr.opcode = UNTOUCHED;                                             \
        int rc = function(qr_out == NULL ? NULL : &qr, __VA_ARGS__);       \
        return narrow(qr_out, &qr, rc);                                    \
    } while (0)

int dmtr_connect(dmtr_qtoken_t *qt_out, int qd, const struct sockaddr *saddr, socklen_t size)
{
    return dmtr_start_connect(qt_out, qd, saddr, size);
}

int dmtr_push(dmtr_qtoken_t *qt_out, int qd, const dmtr_sgarray_t *sga)
{
    if (sga == NULL)
        return push2019(qt_out, qd, NULL);
    struct array2019 wide = {sga->sga_buf, sga->sga_numsegs, {sga->sga_segs[0]}, sga->sga_addr};
    if (sga->sga_numsegs > DMTR_SGARRAY_MAXSIZE)
        wide.numsegs = MAX_SEGS_2019 + 1; /* too many there, too */
    return push2019(qt_out, qd, &wide);
}

int dmtr_poll(dmtr_qresult_t *qr_out, dmtr_qtoken_t qt)
{
    struct result2019 qr;
    qr.opcode = UNTOUCHED;
    int rc = poll2019(qr_out == NULL ? NULL : &qr, qt);
    if (qr.opcode == DMTR_OPC_POP && DMTR_UNLIKELY(qr.value.sga.numsegs > DMTR_SGARRAY_MAXSIZE) &&
        dmtr_join_token(&qr, qt) == ENOENT)
        return poll2019(NULL, qt); /* another thread has had it since */
    return narrow(qr_out, &qr, rc);
}

int dmtr_wait(dmtr_qresult_t *qr_out, dmtr_qtoken_t qt)
{
    RETURN_NARROWED(wait2019, qt);
}

int dmtr_wait_timeout(dmtr_qresult_t *qr_out, dmtr_qtoken_t qt, uint64_t timeout_ns)
{
    RETURN_NARROWED(wait_timeout2019, qt, timeout_ns);
}

int dmtr_wait_any(dmtr_qresult_t *qr_out, int *ready_offset, dmtr_qtoken_t *qts, int num_qts)
{
    RETURN_NARROWED(wait_any2019, ready_offset, qts, num_qts);
}

int dmtr_wait_any_timeout(dmtr_qresult_t *qr_out, int *ready_offset, dmtr_qtoken_t *qts, int num_qts,
                          uint64_t timeout_ns)
{
    RETURN_NARROWED(wait_any_timeout2019, ready_offset, qts, num_qts, timeout_ns);
}

int dmtr_wait_some(dmtr_qresult_t *qrs_out, int *errs_out, int *ready_offsets, int *num_ready, dmtr_qtoken_t *qts, int num_qts,
                   uint64_t timeout_ns)
{
    struct result2019 wide[SOME_AT_ONCE];
    if (qrs_out == NULL || errs_out == NULL || num_ready == NULL)
        return wait_some2019(NULL, errs_out, ready_offsets, num_ready, qts, num_qts, timeout_ns);
    int n = *num_ready < SOME_AT_ONCE ? *num_ready : SOME_AT_ONCE;
    int rc = wait_some2019(wide, errs_out, ready_offsets, &n, qts, num_qts, timeout_ns);
    if (rc == EINVAL || rc == EPERM || rc == EBUSY)
        return rc;
    *num_ready = n;
    for (int i = 0; i < n; i++)
        errs_out[i] = narrow(&qrs_out[i], &wide[i], errs_out[i]);
    return rc;
}

int dmtr_wait_all(dmtr_qresult_t *qr_out, dmtr_qtoken_t *qts, int num_qts)
{
    if (qr_out == NULL || qts == NULL || num_qts <= 0)
        return wait_all2019(NULL, qts, num_qts);
    int first = 0;
    for (int i = 0; i < num_qts; i++) {
        int rc = dmtr_wait(&qr_out[i], qts[i]);
        if (first == 0)
            first = rc;
    }
    return first;
}
