/* Identifiers of the connection manager, and their QPs. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* When nobody answers, and when the receiver has no buffer. 7 means for ever: with soft-RoCE of Linux 6.1 for the former, too. */
#define RETRIES 6
#define BUFFER_RETRIES 7

/* An identifier for cm, or for a new one if that is NULL. */
int id_new(struct device *d, enum role role, struct rdma_cm_id *cm, struct id **out)
{
    bool datagrams = role == DATAGRAM || role == LOOKUP;
    struct id *id = calloc(1, sizeof(*id));
    if (id == NULL)
        return ENOMEM;
    id->device = d;
    id->role = role;
    id->cm = cm;
    errno = 0;
    if (cm == NULL && rdma_create_id(d->events, &id->cm, NULL, datagrams ? RDMA_PS_UDP : RDMA_PS_TCP) != 0) {
        int error = last_error();
        free(id);
        return error;
    }
    id->cm->context = id;
    *out = id;
    return 0;
}

static void destroy(struct id *id)
{
    if (id->qp != NULL) {
        if (id->cm->qp == id->qp)
            rdma_destroy_qp(id->cm);
        else
            ibv_destroy_qp(id->qp);
        queue_release(id->queue, id->reserved);
    }
    rdma_destroy_id(id->cm);
    free(id);
}

void id_destroy(struct dmtr_rdma_id *id)
{
    struct calm calm;
    calm_begin(&calm);
    destroy((struct id *)id);
    calm_end(&calm);
}

/* Binds it and lets others find it. A port whose last owner's connections are not over yet can be had. */
static int find_me_at(struct id *id, const struct sockaddr_in *addr, int backlog)
{
    struct sockaddr_in at = *addr;
    int yes = 1;
    errno = 0;
    if (rdma_set_option(id->cm, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &yes, sizeof(yes)) != 0 ||
        rdma_bind_addr(id->cm, (struct sockaddr *)&at) != 0)
        return errno == ENODEV ? EADDRNOTAVAIL : last_error();
    if (id->cm->verbs != NULL && id->cm->verbs != id->device->verbs)
        return EADDRNOTAVAIL;
    return rdma_listen(id->cm, backlog) == 0 ? 0 : last_error();
}

int id_listen(struct dmtr_rdma_device *device, const struct sockaddr_in *addr, int backlog, struct dmtr_rdma_id **out)
{
    struct calm calm;
    struct id *id;
    int error;
    calm_begin(&calm);
    error = id_new((struct device *)device, LISTENER, NULL, &id);
    if (error == 0 && (error = find_me_at(id, addr, backlog)) != 0)
        destroy(id);
    else if (error == 0)
        *out = &id->shared;
    calm_end(&calm);
    return error;
}

int id_dial(struct dmtr_rdma_device *device, const struct sockaddr_in *addr, const struct sockaddr_in *local,
    struct dmtr_rdma_id *from, struct dmtr_rdma_id **out)
{
    struct sockaddr_in to = *addr, source;
    struct calm calm;
    struct id *id;
    int error;
    calm_begin(&calm);
    memset(&source, 0, sizeof(source));
    if (from != NULL) { /* the address, but not the port, which is taken */
        source = *(struct sockaddr_in *)rdma_get_local_addr(((struct id *)from)->cm);
        source.sin_port = 0;
    } else if (local != NULL) {
        source = *local;
    }
    if (source.sin_addr.s_addr == htonl(INADDR_ANY)) { /* or the way might lead through another device */
        source.sin_family = AF_INET;
        source.sin_addr = ((struct device *)device)->own;
    }
    error = id_new((struct device *)device, from ? LOOKUP : ACTIVE, NULL, &id);
    if (error == 0 && rdma_resolve_addr(id->cm, (struct sockaddr *)&source, (struct sockaddr *)&to, RESOLVE_MS) != 0) {
        error = last_error();
        destroy(id);
    } else if (error == 0) {
        *out = &id->shared;
    }
    calm_end(&calm);
    return error;
}

static int reserve(struct id *id, const struct dmtr_rdma_qp_params *p, enum ibv_qp_type type, struct ibv_qp_init_attr *attr)
{
    int error = 0;
    id->reserved = p->send_wr + p->recv_wr;
    id->queue = queue_reserve(id->device, id->reserved, &error);
    if (id->queue == NULL)
        return error;
    *attr = (struct ibv_qp_init_attr){.send_cq = id->queue->cq, .recv_cq = id->queue->cq, .qp_type = type,
        .cap = {p->send_wr, p->recv_wr, p->max_sge, 1, p->max_inline}};
    return 0;
}

static void made(struct id *id, struct ibv_qp *qp, const struct ibv_qp_init_attr *attr, struct dmtr_rdma_qp_params *p)
{
    id->qp = qp;
    p->max_sge = attr->cap.max_send_sge;
    p->max_inline = attr->cap.max_inline_data;
}

int id_create_qp(struct dmtr_rdma_id *shared, struct dmtr_rdma_qp_params *p)
{
    struct id *id = (struct id *)shared;
    struct ibv_qp_init_attr attr;
    struct calm calm;
    int error;
    calm_begin(&calm);
    error = reserve(id, p, IBV_QPT_RC, &attr);
    if (error == 0 && p->ack_timeout != 0) /* old kernels do not know it */
        rdma_set_option(id->cm, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &p->ack_timeout, sizeof(p->ack_timeout));
    errno = 0;
    if (error == 0 && rdma_create_qp(id->cm, id->device->pd, &attr) != 0) {
        error = last_error();
        queue_release(id->queue, id->reserved);
    } else if (error == 0) {
        made(id, id->cm->qp, &attr, p);
    }
    calm_end(&calm);
    return error;
}

static int ready_for_datagrams(struct ibv_qp *qp, uint8_t port)
{
    struct ibv_qp_attr attr = {.qp_state = IBV_QPS_INIT, .port_num = port, .qkey = RDMA_UDP_QKEY};
    int error = ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY);
    attr.qp_state = IBV_QPS_RTR;
    if (error == 0)
        error = ibv_modify_qp(qp, &attr, IBV_QP_STATE);
    attr.qp_state = IBV_QPS_RTS;
    return error != 0 ? error : ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_SQ_PSN);
}

/* The QP is made by hand, because one that is not bound to an address of a device gets none from librdmacm. */
static int datagram_qp(struct id *id, struct dmtr_rdma_qp_params *p)
{
    struct ibv_qp_init_attr attr;
    struct ibv_qp *qp;
    int error = reserve(id, p, IBV_QPT_UD, &attr);
    if (error != 0)
        return error;
    errno = 0;
    qp = ibv_create_qp(id->device->pd, &attr);
    error = qp != NULL ? ready_for_datagrams(qp, id->device->port) : last_error();
    if (error == 0) {
        made(id, qp, &attr, p);
        return 0;
    }
    if (qp != NULL)
        ibv_destroy_qp(qp);
    queue_release(id->queue, id->reserved);
    return error;
}

int id_datagram(struct dmtr_rdma_device *device, const struct sockaddr_in *local, struct dmtr_rdma_qp_params *p, struct dmtr_rdma_id **out)
{
    struct calm calm;
    struct id *id;
    int error;
    calm_begin(&calm);
    error = id_new((struct device *)device, DATAGRAM, NULL, &id);
    if (error == 0) {
        error = datagram_qp(id, p);
        if (error == 0)
            error = find_me_at(id, local, 1024);
        if (error != 0)
            destroy(id);
        else
            *out = &id->shared;
    }
    calm_end(&calm);
    return error;
}

static struct rdma_conn_param parameters(const void *data, uint32_t n)
{
    return (struct rdma_conn_param){.private_data = data, .private_data_len = (uint8_t)n, .responder_resources = RDMA_MAX_RESP_RES,
        .initiator_depth = RDMA_MAX_INIT_DEPTH, .flow_control = 1, .retry_count = RETRIES, .rnr_retry_count = BUFFER_RETRIES};
}

/* Asks for the connection, or takes it: by rdma_connect or rdma_accept. */
static int join(struct dmtr_rdma_id *shared, const void *data, uint32_t n, int (*call)(struct rdma_cm_id *, struct rdma_conn_param *))
{
    struct id *id = (struct id *)shared;
    struct rdma_conn_param param = parameters(data, n);
    struct calm calm;
    int error;
    calm_begin(&calm);
    error = call(id->cm, &param) == 0 ? 0 : last_error();
    id->connected = error == 0;
    calm_end(&calm);
    return error;
}

int id_connect(struct dmtr_rdma_id *shared, const void *data, uint32_t n) { return join(shared, data, n, rdma_connect); }
int id_accept(struct dmtr_rdma_id *shared, const void *data, uint32_t n) { return join(shared, data, n, rdma_accept); }

int id_reject(struct dmtr_rdma_id *shared, const void *data, uint32_t n)
{
    struct id *id = (struct id *)shared;
    struct calm calm;
    int error;
    calm_begin(&calm);
    error = rdma_reject(id->cm, data, (uint8_t)n) == 0 ? 0 : last_error();
    destroy(id);
    calm_end(&calm);
    return error;
}

int id_disconnect(struct dmtr_rdma_id *shared)
{
    struct id *id = (struct id *)shared;
    struct calm calm;
    int error = ENOTCONN;
    calm_begin(&calm);
    if (id->connected)
        error = rdma_disconnect(id->cm) == 0 ? 0 : last_error();
    calm_end(&calm);
    return error;
}

void id_address(struct dmtr_rdma_id *shared, struct sockaddr_in *local, struct sockaddr_in *peer)
{
    struct rdma_cm_id *cm = ((struct id *)shared)->cm;
    memcpy(local, rdma_get_local_addr(cm), sizeof(*local));
    memcpy(peer, rdma_get_peer_addr(cm), sizeof(*peer));
}

uint32_t id_qpn(struct dmtr_rdma_id *id) { return ((struct id *)id)->qp->qp_num; }
