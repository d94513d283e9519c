/*
 * Messages of several segments, for programs of 2020, whose arrays have one.
 *
 * A received message lies in its block as it came over the wire (see libos/internal/framing), with
 * the length of each segment before it, so that the later ones need only move up.
 */
#include "api2019.h"
#include "front.h"
#include "token.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#define SAME(name, ours, theirs) typedef char name##_is_the_same[(ours) == (theirs) ? 1 : -1]
SAME(array, sizeof(struct array2019), sizeof(dmtr_sgarray_t));
SAME(segments, offsetof(struct array2019, segs), offsetof(dmtr_sgarray_t, sga_segs));
SAME(address, offsetof(struct array2019, addr), offsetof(dmtr_sgarray_t, sga_addr));
SAME(accept, sizeof(struct accept2019), sizeof(dmtr_accept_result_t));
SAME(result, sizeof(struct result2019), sizeof(dmtr_qresult_t));
SAME(value, offsetof(struct result2019, value), offsetof(dmtr_qresult_t, qr_value));

enum { LENGTH = 4 /* bytes of a length word */ };

/*
 * Whether the array is a received message. Others of several segments come through memory queues,
 * with pointers that the library knows nothing of.
 */
static int received(const struct array2019 *sga)
{
    dmtr_header_t header;
    const char *at = (const char *)sga->buf + sizeof header;
    if (sga->buf == NULL)
        return 0;
    for (uint32_t i = 0; i < sga->numsegs; i++) {
        if (sga->segs[i].sgaseg_buf != at + LENGTH)
            return 0;
        at += LENGTH + sga->segs[i].sgaseg_len;
    }
    memcpy(&header, sga->buf, sizeof header);
    return header.h_magic == htonl(DMTR_HEADER_MAGIC) && header.h_sgasegs == htonl(sga->numsegs);
}

int dmtr_join(struct array2019 *sga)
{
    if (sga->numsegs > MAX_SEGS_2019 || !received(sga))
        return EMSGSIZE;
    uint32_t len = sga->segs[0].sgaseg_len;
    for (uint32_t i = 1; i < sga->numsegs; i++) {
        memmove((char *)sga->segs[0].sgaseg_buf + len, sga->segs[i].sgaseg_buf, sga->segs[i].sgaseg_len);
        len += sga->segs[i].sgaseg_len;
    }
    sga->segs[0].sgaseg_len = len;
    sga->numsegs = 1;
    return 0;
}

int dmtr_join_token(struct result2019 *qr, dmtr_qtoken_t qt)
{
    int rc = ENOENT;
    uint64_t seq = dmtr_enter();
    struct dmtr_token *t = token_find(qt);
    if (t != NULL && token_done(t)) {
        struct array2019 *sga = (struct array2019 *)&t->result.qr_value.sga;
        rc = sga->numsegs > 1 ? dmtr_join(sga) : 0;
        memcpy(qr, &t->result, sizeof *qr);
    }
    dmtr_leave(seq);
    return rc;
}
