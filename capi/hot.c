/*
 * The short way: one system call for a small array, without Go. What makes it worth while is not
 * the 50 ns of a call into Go but the code that such a call pulls into the instruction cache
 * between a receive and the answer to it, some 300 ns.
 *
 * Only the plainest case is handled: one segment that the kernel takes whole, or one message or
 * piece of stream that arrives whole. Go does the rest, with the bytes or errors that came up here.
 * Framing is described in libos/internal/framing.
 */
#define _GNU_SOURCE
#include "hot.h"
#include "sys.h"
#include "token.h"

#include "_cgo_export.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    MAX_PUSH = 2048,
    SPARE_TOKENS = 64, /* fewer free records than this are for Go to add to */
    HEADER = 16        /* dmtr_header_t and the length of the only segment */
};

static struct dmtr_port *port_of(int qd) { return dmtr_ctl->port.qd == qd ? &dmtr_ctl->port : NULL; }

/* Writes an array of one segment as it is on the wire, and returns its length. */
static size_t encode(unsigned char *out, const dmtr_sgaseg_t *seg, int message)
{
    size_t at = 0;
    if (message) {
        uint32_t words[4] = {htonl(DMTR_HEADER_MAGIC), htonl(seg->sgaseg_len + 4), htonl(1), htonl(seg->sgaseg_len)};
        memcpy(out, words, sizeof words);
        at = sizeof words;
    }
    memcpy(out + at, seg->sgaseg_buf, seg->sgaseg_len);
    return at + seg->sgaseg_len;
}

/* What has come of sending len bytes: completes the token if the kernel took them all. */
static int pushed(dmtr_qtoken_t *qt_out, int qd, const dmtr_sgarray_t *sga, long n, size_t len, int64_t *sent)
{
    if (n != (long)len) {
        if (n != -EAGAIN && n != -EINTR)
            *sent = n;
        return 0;
    }
    struct dmtr_token *t = token_start(qd, DMTR_OPC_PUSH);
    t->result.qr_value.sga = *sga;
    *qt_out = t->result.qr_qt;
    token_complete(t, 0);
    return 1;
}

static struct dmtr_lane *lane_of(int qd)
{
    struct dmtr_lane *l = &dmtr_ctl->lanes[(uint32_t)qd & QD_INDEX_MASK];
    return l->qd == qd && !dmtr_ctl->broken ? l : NULL;
}

/* hot_push() for a socket that is not hot. */
static int lane_push(dmtr_qtoken_t *qt_out, int qd, const dmtr_sgarray_t *sga, int64_t *sent)
{
    unsigned char wire[HEADER + MAX_PUSH];
    const struct dmtr_lane *l = lane_of(qd);
    const dmtr_sgaseg_t *seg = &sga->sga_segs[0];
    int message = l != NULL && l->flags & LANE_MESSAGE;

    if (l == NULL || !(l->flags & LANE_PUSH) || sga->sga_numsegs != 1 || seg->sgaseg_buf == NULL || seg->sgaseg_len == 0 ||
        seg->sgaseg_len > (message ? MAX_PUSH : dmtr_ctl->max_message) || dmtr_ctl->free.count < SPARE_TOKENS)
        return 0;
    size_t len = message ? encode(wire, seg, 1) : seg->sgaseg_len;
    const void *from = message ? (void *)wire : seg->sgaseg_buf;
    long n = sys_call(SYS_sendto, l->fd, (long)from, (long)len, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    return pushed(qt_out, qd, sga, n, len, sent);
}

int hot_push(dmtr_qtoken_t *qt_out, int qd, const dmtr_sgarray_t *sga, int64_t *sent)
{
    unsigned char wire[HEADER + MAX_PUSH];
    const struct sockaddr *to = NULL;
    socklen_t to_len = 0;
    const struct dmtr_port *p = port_of(qd);
    const dmtr_sgaseg_t *seg = &sga->sga_segs[0];

    if (p == NULL)
        return lane_push(qt_out, qd, sga, sent);
    if (sga->sga_numsegs != 1 || seg->sgaseg_buf == NULL || seg->sgaseg_len - 1 >= MAX_PUSH ||
        seg->sgaseg_len > dmtr_ctl->max_message || dmtr_ctl->free.count < SPARE_TOKENS)
        return 0;
    if (!(p->flags & PORT_CONNECTED)) {
        if (sga->sga_addr.sin_family != AF_INET)
            return 0;
        to = (const struct sockaddr *)&sga->sga_addr;
        to_len = sizeof sga->sga_addr;
    }
    size_t len = encode(wire, seg, p->flags & PORT_MESSAGE);
    long n = sys_call(SYS_sendto, p->fd, (long)wire, (long)len, MSG_DONTWAIT | MSG_NOSIGNAL, (long)to, to_len);
    return pushed(qt_out, qd, sga, n, len, sent);
}

/* A pending pop that wants count bytes at most; 0 for the configured limit. */
static struct dmtr_token *start_pop(dmtr_qtoken_t *qt_out, int qd, uint32_t count)
{
    struct dmtr_token *t = token_start(qd, DMTR_OPC_POP);
    memset(&t->result.qr_value.sga, 0, sizeof t->result.qr_value.sga);
    t->err = count;
    t->state = TOKEN_PENDING;
    *qt_out = t->result.qr_qt;
    return t;
}

static int lane_pop(dmtr_qtoken_t *qt_out, int qd, uint32_t count)
{
    struct dmtr_lane *l = lane_of(qd);
    if (l == NULL || !(l->flags & LANE_POP) || l->pop != 0)
        return 0;
    l->pop = token_index(start_pop(qt_out, qd, count)) + 1;
    return 1;
}

int hot_pop(dmtr_qtoken_t *qt_out, int qd, size_t count)
{
    struct dmtr_port *p = port_of(qd);
    if (count > dmtr_ctl->max_message || dmtr_ctl->free.count < SPARE_TOKENS)
        return 0;
    if (p == NULL)
        return lane_pop(qt_out, qd, (uint32_t)count);
    if (count != 0 || !(p->flags & PORT_POP) || p->pop != TOKEN_NONE)
        return 0;
    p->pop = token_index(start_pop(qt_out, qd, 0));
    p->want = dmtr_ctl->max_pop;
    return 1;
}

/* Whether Go must find out first which socket's data are the oldest; see abi.Order. */
static int disordered(void)
{
    struct dmtr_order *o = &dmtr_ctl->order;
    if (o->away == 0)
        return 0;
    uint64_t now = __builtin_ia32_rdtsc();
    if (now - o->polled > o->away || o->num_events != 0)
        return 1;
    o->polled = now;
    return 0;
}

/* Takes what the epoll set has, but for the hot socket's event if that is all. */
static void take_events(void)
{
    struct dmtr_order *o = &dmtr_ctl->order;
    long n = sys_call(SYS_epoll_pwait, o->epfd, (long)o->events, MAX_EVENTS, 0, 0, 0);
    if (n > 0 && !(n == 1 && o->events[0].data.fd == o->place))
        o->num_events = (uint32_t)n;
}

int hot_ready(void) { return dmtr_ctl->port.pop != TOKEN_NONE && !disordered(); }

/* Whether n bytes are one message of one segment from beginning to end. */
static int is_message(const unsigned char *in, size_t n)
{
    uint32_t words[4];
    if (n <= HEADER)
        return 0;
    memcpy(words, in, sizeof words);
    return words[0] == htonl(DMTR_HEADER_MAGIC) && words[2] == htonl(1) && ntohl(words[3]) == n - HEADER &&
           ntohl(words[1]) == n - HEADER + 4;
}

/* Completes the port's pop with bytes from the scratch buffer; 0 if Go must. */
static int give(struct dmtr_port *p, size_t n)
{
    const unsigned char *in = dmtr_ctl->scratch;
    size_t skip = p->flags & PORT_MESSAGE ? HEADER : 0;
    if (skip != 0 && (!is_message(in, n) || n - HEADER > dmtr_ctl->max_message))
        return 0;
    unsigned char *block = malloc(n);
    if (block == NULL)
        return 0;
    memcpy(block, in, n);
    struct dmtr_token *t = token_at(p->pop);
    dmtr_sgarray_t *sga = &t->result.qr_value.sga;
    sga->sga_buf = block;
    sga->sga_numsegs = 1;
    sga->sga_segs[0].sgaseg_buf = block + skip;
    sga->sga_segs[0].sgaseg_len = (uint32_t)(n - skip);
    if (p->flags & PORT_DATAGRAM)
        sga->sga_addr = p->address;
    t->flags |= FLAG_OWNED;
    if (!(p->flags & (PORT_DATAGRAM | PORT_MESSAGE)))
        t->flags |= FLAG_BYTES;
    p->pop = TOKEN_NONE;
    p->misses = 0;
    token_complete(t, 0);
    return 1;
}

int hot_receive(void)
{
    struct dmtr_port *p = &dmtr_ctl->port;
    size_t want = p->flags & (PORT_DATAGRAM | PORT_MESSAGE) ? SCRATCH_LEN : p->want;
    int addressed = (p->flags & (PORT_DATAGRAM | PORT_CONNECTED)) == PORT_DATAGRAM;
    socklen_t size = sizeof p->address;
    long n = sys_call(SYS_recvfrom, p->fd, (long)dmtr_ctl->scratch, (long)want, MSG_DONTWAIT,
                      addressed ? (long)&p->address : 0, addressed ? (long)&size : 0);
    if (n == -EAGAIN || n == -EINTR) {
        p->misses++;
        return 0;
    }
    if (dmtr_ctl->order.away != 0)
        take_events();
    if (n <= 0 || !give(p, (size_t)n))
        dmtrGoGot(n);
    return 1;
}
