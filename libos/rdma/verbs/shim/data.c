/* The way of the data. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <pthread.h>

_Static_assert(sizeof(struct dmtr_rdma_sge) == sizeof(struct ibv_sge), "struct ibv_sge");

static const enum ibv_wr_opcode opcodes[] = {
    [DMTR_RDMA_SEND] = IBV_WR_SEND, [DMTR_RDMA_READ] = IBV_WR_RDMA_READ, [DMTR_RDMA_WRITE] = IBV_WR_RDMA_WRITE};

/* A queue that does not take what it has room for is broken: everything in it is to be flushed. */
static void break_qp(struct id *id)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};
    ibv_modify_qp(id->qp, &attr, IBV_QP_STATE);
}

static void post_recvs(struct device *d)
{
    struct dmtr_rdma_device *s = &d->shared;
    uint32_t i, ids = 0;
    for (i = 0; i < s->num_recvs; i++) {
        struct dmtr_rdma_recv *r = &s->recvs[i];
        struct id *id = (struct id *)r->id;
        struct ibv_recv_wr *wr = &d->recv_wr[i];
        *wr = (struct ibv_recv_wr){.wr_id = r->wr_id, .sg_list = (struct ibv_sge *)&r->sge, .num_sge = 1};
        r->refused = 0;
        if (id->first_recv == NULL) {
            id->first_recv = wr;
            d->touched[ids++] = id;
        } else {
            id->last_recv->next = wr;
        }
        id->last_recv = wr;
    }
    for (i = 0; i < ids; i++) {
        struct id *id = d->touched[i];
        struct ibv_recv_wr *bad = NULL;
        if (ibv_post_recv(id->qp, id->first_recv, &bad) != 0) {
            break_qp(id);
            for (bad = bad ? bad : id->first_recv; bad != NULL; bad = bad->next) {
                s->recvs[bad - d->recv_wr].refused = 1;
                s->refused++;
            }
        }
        id->first_recv = NULL;
    }
}

static void fill_send(struct dmtr_rdma_send *r, struct id *id, struct ibv_send_wr *wr)
{
    *wr = (struct ibv_send_wr){.wr_id = r->wr_id, .sg_list = (struct ibv_sge *)r->sge, .num_sge = r->num_sge, .opcode = opcodes[r->op],
        .send_flags = r->flags & DMTR_RDMA_SIGNALED ? IBV_SEND_SIGNALED : 0};
    if (r->flags & DMTR_RDMA_INLINED) {
        wr->send_flags |= IBV_SEND_INLINE;
        r->sge[0].addr = (uintptr_t)r->bytes;
    }
    if (id->role == DATAGRAM) {
        wr->wr.ud.ah = r->ah;
        wr->wr.ud.remote_qpn = r->qpn;
        wr->wr.ud.remote_qkey = r->qkey;
    } else if (r->op != DMTR_RDMA_SEND) {
        wr->wr.rdma.remote_addr = r->remote_addr;
        wr->wr.rdma.rkey = r->rkey;
    }
}

static void post_sends(struct device *d)
{
    struct dmtr_rdma_device *s = &d->shared;
    uint32_t i, ids = 0;
    for (i = 0; i < s->num_sends; i++) {
        struct dmtr_rdma_send *r = &s->sends[i];
        struct id *id = (struct id *)r->id;
        struct ibv_send_wr *wr = &d->send_wr[i];
        fill_send(r, id, wr);
        r->refused = 0;
        if (id->first_send == NULL) {
            id->first_send = wr;
            d->touched[ids++] = id;
        } else {
            id->last_send->next = wr;
        }
        id->last_send = wr;
    }
    for (i = 0; i < ids; i++) {
        struct id *id = d->touched[i];
        struct ibv_send_wr *bad = NULL;
        if (ibv_post_send(id->qp, id->first_send, &bad) != 0) {
            break_qp(id);
            /* NULL: all were taken, but the device could not be told. They are flushed. */
            for (; bad != NULL; bad = bad->next) {
                s->sends[bad - d->send_wr].refused = 1;
                s->refused++;
            }
        }
        id->first_send = NULL;
    }
}

static uint32_t fetch_from(struct queue *q, struct dmtr_rdma_completion *to, uint32_t wanted)
{
    struct ibv_wc wc[DMTR_RDMA_COMPLETIONS];
    int i, n = ibv_poll_cq(q->cq, (int)wanted, wc);
    if (n <= 0 || (uint32_t)n < wanted) {
        q->taken -= q->left; /* nothing of QPs that are gone is in it any more */
        q->left = 0;
    }
    for (i = 0; i < n; i++) {
        to[i].wr_id = wc[i].wr_id;
        to[i].status = (uint8_t)wc[i].status;
        to[i].bytes = wc[i].byte_len;
        to[i].src_qpn = wc[i].src_qp;
        to[i].has_grh = (wc[i].wc_flags & IBV_WC_GRH) != 0;
    }
    return n > 0 ? (uint32_t)n : 0;
}

/* Fetches up to wanted completions, from each queue in turn. */
static void fetch(struct device *d, uint32_t wanted)
{
    struct dmtr_rdma_device *s = &d->shared;
    uint32_t i, at = d->next_queue, n = 0;
    for (i = 0; i < d->shared.num_queues && n < wanted; i++) {
        if (at >= d->shared.num_queues)
            at = 0;
        n += fetch_from(&d->queues[at++], s->completions + n, wanted - n);
    }
    d->next_queue = at;
    s->num_completions = n;
}

void data_burst(struct dmtr_rdma_device *device)
{
    struct device *d = (struct device *)device;
    device->refused = 0;
    if ((device->num_recvs | device->num_sends) != 0) {
        int cancel, error = errno;
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
        post_recvs(d);
        post_sends(d);
        pthread_setcancelstate(cancel, &cancel);
        errno = error;
    }
    device->num_completions = 0;
    if (device->wanted != 0)
        fetch(d, device->wanted < DMTR_RDMA_COMPLETIONS ? device->wanted : DMTR_RDMA_COMPLETIONS);
}

static void take_notices(struct device *d)
{
    struct ibv_cq *cq;
    void *context;
    uint32_t i;
    while (ibv_get_cq_event(d->completions, &cq, &context) == 0) {
        ibv_ack_cq_events(cq, 1);
        for (i = 0; i < d->shared.num_queues; i++)
            if (d->queues[i].cq == cq)
                d->queues[i].armed = false;
    }
}

/* A completion that came before a queue was armed makes no notice. So all are polled once more. */
void data_arm(struct dmtr_rdma_device *device)
{
    struct device *d = (struct device *)device;
    struct calm calm;
    uint32_t i;
    calm_begin(&calm);
    take_notices(d);
    for (i = 0; i < d->shared.num_queues; i++)
        if (!d->queues[i].armed && ibv_req_notify_cq(d->queues[i].cq, 0) == 0)
            d->queues[i].armed = true;
    fetch(d, DMTR_RDMA_COMPLETIONS);
    calm_end(&calm);
}
