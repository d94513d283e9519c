/* Events of the connection manager, of all identifiers. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <string.h>

/* What an event says of an error; it comes from the peer or from the kernel, so anything may be in it. */
static int errno_of(enum rdma_cm_event_type type, int status, enum role role)
{
    switch (type) {
    case RDMA_CM_EVENT_REJECTED:
        return ECONNREFUSED;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        return ENODEV;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
        return status < -1 && status > -4096 ? -status : EHOSTUNREACH;
    case RDMA_CM_EVENT_UNREACHABLE:
        if (role == LOOKUP && status > 0) /* there is a device, but nobody has the port */
            return ECONNREFUSED;
        return status < -1 && status > -4096 ? -status : ETIMEDOUT;
    case RDMA_CM_EVENT_CONNECT_ERROR:
        return status < -1 && status > -4096 ? -status : ECONNABORTED;
    default:
        return 0;
    }
}

static void fail(struct dmtr_rdma_event *out, enum rdma_cm_event_type type, int status)
{
    out->type = type;
    out->status = status;
    out->error = errno_of(type, status, ACTIVE);
}

/* Of a request that is not reported: who asks for the QP of datagrams is told it, and a connection is refused. */
static void answer(struct id *listener, struct rdma_cm_id *cm)
{
    if (listener->role == DATAGRAM) {
        struct rdma_conn_param param = {.qp_num = listener->qp->qp_num};
        rdma_accept(cm, &param);
    } else {
        rdma_reject(cm, NULL, 0);
    }
    rdma_destroy_id(cm);
}

/* Asks at the address for the QP of datagrams. */
static int ask(struct id *id)
{
    struct rdma_conn_param param = {.retry_count = 7};
    return rdma_connect(id->cm, &param) == 0 ? 0 : last_error();
}

/*
 * Nobody has answered for the address. The kernel asks once per call, and not at all if it happens to have asked in vain just before;
 * so a wire that has just come back needs another try. Returns whether there is one.
 */
static bool resolve_again(struct id *id, int status)
{
    if (status != -ETIMEDOUT || id->resolved_again == RESOLVE_TRIES - 1)
        return false;
    id->resolved_again++;
    return rdma_resolve_addr(id->cm, NULL, rdma_get_peer_addr(id->cm), RESOLVE_MS) == 0;
}

/* The address is resolved: the way to it is next. Returns whether there is something to report. */
static bool address_resolved(struct id *id, struct dmtr_rdma_event *out)
{
    if (id->cm->verbs != id->device->verbs)
        fail(out, RDMA_CM_EVENT_ADDR_ERROR, -ENETUNREACH); /* through another device */
    else if (rdma_resolve_route(id->cm, RESOLVE_MS) != 0)
        fail(out, RDMA_CM_EVENT_ROUTE_ERROR, -last_error());
    else
        return false;
    return true;
}

static bool route_resolved(struct id *id, struct dmtr_rdma_event *out)
{
    int error;
    if (id->role != LOOKUP)
        return true;
    error = ask(id);
    if (error == 0)
        return false;
    fail(out, RDMA_CM_EVENT_CONNECT_ERROR, -error);
    return true;
}

static void found(struct id *id, struct rdma_ud_param *param, struct dmtr_rdma_event *out)
{
    errno = 0;
    out->type = RDMA_CM_EVENT_ROUTE_RESOLVED;
    out->qpn = param->qp_num;
    out->qkey = param->qkey;
    out->ah = ibv_create_ah(id->device->pd, &param->ah_attr);
    if (out->ah == NULL)
        fail(out, RDMA_CM_EVENT_ADDR_ERROR, -last_error());
}

static void copy_private(struct dmtr_rdma_event *out, const struct rdma_conn_param *param)
{
    if (param->private_data == NULL)
        return;
    out->private_len = param->private_data_len;
    memcpy(out->private_data, param->private_data, param->private_data_len); /* at most 255 */
}

/* A new connection. Returns whether there is something to report; if so, its ID is the receiver's. */
static bool requested(struct device *d, struct id *listener, struct rdma_cm_id *cm, struct dmtr_rdma_event *out)
{
    struct id *id;
    if (listener->role == DATAGRAM || cm->verbs != d->verbs || id_new(d, PASSIVE, cm, &id) != 0)
        return false;
    out->id = &id->shared;
    out->listener = &listener->shared;
    return true;
}

static bool handle(struct device *d, struct rdma_cm_event *event, struct dmtr_rdma_event *out)
{
    struct id *id = event->id->context; /* of a request: the listener's */
    memset(out, 0, offsetof(struct dmtr_rdma_event, private_data));
    out->id = &id->shared;
    out->type = event->event;
    out->status = event->status;
    out->error = errno_of(event->event, event->status, id->role);
    switch (event->event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
        return address_resolved(id, out);
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
        return route_resolved(id, out);
    case RDMA_CM_EVENT_CONNECT_REQUEST:
        if (id->role == LISTENER)
            copy_private(out, &event->param.conn);
        return requested(d, id, event->id, out);
    case RDMA_CM_EVENT_ESTABLISHED:
        if (id->role == LOOKUP)
            found(id, &event->param.ud, out);
        else
            copy_private(out, &event->param.conn);
        return true;
    case RDMA_CM_EVENT_REJECTED:
        if (id->role != LOOKUP)
            copy_private(out, &event->param.conn);
        return true;
    case RDMA_CM_EVENT_DISCONNECTED:
        rdma_disconnect(id->cm); /* so that everything is flushed here, too, and the peer knows that we know */
        return true;
    case RDMA_CM_EVENT_ADDR_ERROR:
        return !resolve_again(id, event->status);
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
        return true;
    default:
        return false;
    }
}

/* The device is being removed, which waits until nothing uses it any more. */
static void let_go(struct device *d)
{
    rdma_destroy_id(d->anchor);
    d->anchor = NULL;
}

void events_get(struct dmtr_rdma_device *device)
{
    struct device *d = (struct device *)device;
    uint32_t n = 0, max = device->wanted_events < DMTR_RDMA_EVENTS ? device->wanted_events : DMTR_RDMA_EVENTS;
    struct rdma_cm_event *event;
    struct calm calm;
    calm_begin(&calm);
    while (n < max && rdma_get_cm_event(d->events, &event) == 0) {
        struct rdma_cm_id *request = event->event == RDMA_CM_EVENT_CONNECT_REQUEST ? event->id : NULL;
        struct id *id = event->id->context;
        bool removal = event->event == RDMA_CM_EVENT_DEVICE_REMOVAL;
        bool report = id != NULL && handle(d, event, &device->events[n]);
        rdma_ack_cm_event(event); /* before any of its IDs can be destroyed, which waits for this */
        if (id == NULL && removal)
            let_go(d);
        if (request != NULL && !report)
            answer(id, request);
        n += report;
    }
    device->num_events = n;
    calm_end(&calm);
}
