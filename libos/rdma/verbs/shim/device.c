/* Opening a device. */
#define _GNU_SOURCE
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_SIZE 16384

void calm_begin(struct calm *calm)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &calm->mask);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &calm->cancel);
    errno = 0;
}

void calm_end(const struct calm *calm)
{
    int ignored;
    pthread_setcancelstate(calm->cancel, &ignored);
    pthread_sigmask(SIG_SETMASK, &calm->mask, NULL);
}

int last_error(void) { return errno > 0 ? errno : EIO; }

/* A place for n completions. New queues are made as large as can be, since each one is polled. */
struct queue *queue_reserve(struct device *d, uint32_t n, int *error)
{
    uint32_t i, size = d->shared.max_cqe < QUEUE_SIZE ? d->shared.max_cqe : QUEUE_SIZE;
    struct queue *q;
    for (i = 0; i < d->shared.num_queues; i++)
        if (d->queues[i].size - d->queues[i].taken >= n) {
            d->queues[i].taken += n;
            return &d->queues[i];
        }
    *error = ENOMEM;
    if (d->shared.num_queues == MAX_QUEUES || n > size)
        return NULL;
    q = &d->queues[d->shared.num_queues];
    memset(q, 0, sizeof(*q));
    errno = 0;
    q->cq = ibv_create_cq(d->verbs, (int)size, NULL, d->completions, 0);
    if (q->cq == NULL) {
        *error = last_error();
        return NULL;
    }
    q->size = (uint32_t)q->cq->cqe;
    q->taken = n;
    d->shared.num_queues++;
    return q;
}

void queue_release(struct queue *q, uint32_t n) { q->left += n; }

static uint32_t bytes_of_mtu(enum ibv_mtu mtu) { return mtu >= IBV_MTU_256 && mtu <= IBV_MTU_4096 ? 128u << mtu : 256; }

/* Whether it is what is looked for; name may be NULL, and address 0. */
static bool fits(const struct rdma_cm_id *id, const char *name)
{
    return id->verbs != NULL && (name == NULL || strcmp(ibv_get_device_name(id->verbs->device), name) == 0);
}

/* Finds a device by the addresses of this network namespace, and keeps an identifier on it, so that it stays open. */
static void find(struct device *d, const char *name, uint32_t address)
{
    struct ifaddrs *all, *a;
    if (getifaddrs(&all) != 0)
        return;
    for (a = all; a != NULL && d->anchor == NULL; a = a->ifa_next) {
        struct sockaddr_in at;
        if (a->ifa_addr == NULL || a->ifa_addr->sa_family != AF_INET || (a->ifa_flags & IFF_LOOPBACK))
            continue;
        memcpy(&at, a->ifa_addr, sizeof(at));
        at.sin_port = 0;
        if ((address != 0 && at.sin_addr.s_addr != address) || rdma_create_id(d->events, &d->anchor, NULL, RDMA_PS_TCP) != 0)
            continue;
        if (rdma_bind_addr(d->anchor, (struct sockaddr *)&at) != 0 || !fits(d->anchor, name)) {
            rdma_destroy_id(d->anchor);
            d->anchor = NULL;
        }
    }
    freeifaddrs(all);
}

static int choose(struct device *d, const char *name, uint32_t address, char *error, size_t size)
{
    find(d, name, address);
    if (d->anchor == NULL) {
        struct in_addr in = {address};
        char text[INET_ADDRSTRLEN] = "";
        if (address != 0)
            inet_ntop(AF_INET, &in, text, sizeof(text));
        return explain(address != 0 ? EADDRNOTAVAIL : ENODEV, error, size, "there is no RDMA device %.64s%swith %s", name ? name : "", name ? " " : "",
            address ? text : "an IPv4 address");
    }
    d->own = ((struct sockaddr_in *)rdma_get_local_addr(d->anchor))->sin_addr;
    d->verbs = d->anchor->verbs;
    d->port = d->anchor->port_num;
    return 0;
}

/* What the device can do, as far as Go has to know. */
static int describe(struct device *d)
{
    struct dmtr_rdma_device *s = &d->shared;
    struct ibv_device_attr attr;
    struct ibv_port_attr port;
    const char *name = ibv_get_device_name(d->verbs->device);
    if (ibv_query_device(d->verbs, &attr) != 0)
        return last_error();
    if (ibv_query_port(d->verbs, d->port, &port) != 0)
        return last_error();
    snprintf(s->name, sizeof(s->name), "%s", name);
    s->max_sge = attr.max_sge < DMTR_RDMA_SGES ? (uint32_t)attr.max_sge : DMTR_RDMA_SGES;
    s->max_wr = (uint32_t)attr.max_qp_wr;
    s->max_cqe = (uint32_t)attr.max_cqe;
    s->max_qp = (uint32_t)attr.max_qp;
    s->max_read_atomic = (uint32_t)(attr.max_qp_rd_atom < attr.max_qp_init_rd_atom ? attr.max_qp_rd_atom : attr.max_qp_init_rd_atom);
    s->port_mtu = bytes_of_mtu(port.active_mtu);
    memcpy(s->address, &((struct sockaddr_in *)rdma_get_local_addr(d->anchor))->sin_addr, sizeof(s->address));
    return 0;
}

/* How much a send may have inline is not told: the device refuses QPs that want more. */
static int find_max_inline(struct device *d)
{
    struct ibv_qp_init_attr attr = {.qp_type = IBV_QPT_RC, .cap = {1, 1, d->shared.max_sge, 1, 0}};
    uint32_t bytes;
    int error = 0;
    struct queue *q = queue_reserve(d, 2, &error);
    if (q == NULL)
        return error;
    attr.send_cq = attr.recv_cq = q->cq;
    for (bytes = DMTR_RDMA_INLINE; bytes >= 32; bytes /= 2) {
        struct ibv_qp *qp;
        attr.cap.max_inline_data = bytes;
        qp = ibv_create_qp(d->pd, &attr);
        if (qp != NULL) {
            ibv_destroy_qp(qp);
            d->shared.max_inline = bytes;
            break;
        }
    }
    queue_release(q, 2);
    return 0;
}

static int set_nonblocking(int fd) { return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 ? 0 : errno; }

struct opening {
    const char *name;
    uint32_t address;
    struct device *device;
    char *error;
    size_t error_size;
};

static int open_here(void *arg)
{
    struct opening *o = arg;
    struct device *d = o->device;
    int result = 0;
    ibv_fork_init(); /* does nothing where the kernel copies what is registered when the program forks (Linux 5.12) */
    errno = 0;
    d->events = rdma_create_event_channel();
    if (d->events == NULL)
        return explain(errno == ENOENT ? ENODEV : errno, o->error, o->error_size, "there is no RDMA connection manager (rdma_ucm)");
    result = choose(d, o->name, o->address, o->error, o->error_size);
    if (result != 0)
        return result;
    result = describe(d);
    if (result == 0 && ((d->pd = ibv_alloc_pd(d->verbs)) == NULL || (d->completions = ibv_create_comp_channel(d->verbs)) == NULL))
        result = last_error();
    if (result == 0 && (result = set_nonblocking(d->events->fd)) == 0)
        result = set_nonblocking(d->completions->fd);
    if (result == 0)
        result = find_max_inline(d);
    if (result != 0)
        return explain(result, o->error, o->error_size, "%s cannot be used: %s", ibv_get_device_name(d->verbs->device), strerror(result));
    d->shared.completion_fd = d->completions->fd;
    d->shared.event_fd = d->events->fd;
    return 0;
}

static int close_here(void *arg)
{
    struct device *d = arg;
    uint32_t i;
    for (i = 0; i < d->shared.num_queues; i++)
        ibv_destroy_cq(d->queues[i].cq);
    if (d->completions != NULL)
        ibv_destroy_comp_channel(d->completions);
    if (d->pd != NULL)
        ibv_dealloc_pd(d->pd);
    if (d->anchor != NULL)
        rdma_destroy_id(d->anchor);
    if (d->events != NULL)
        rdma_destroy_event_channel(d->events);
    free(d);
    return 0;
}

int device_open(const char *name, uint32_t address, struct dmtr_rdma_device **device, char *error, size_t error_size)
{
    struct opening o = {name, address, calloc(1, sizeof(*o.device)), error, error_size};
    int result;
    if (o.device == NULL)
        return explain(ENOMEM, error, error_size, "no memory");
    result = on_own_thread(open_here, &o);
    if (result != 0) {
        on_own_thread(close_here, o.device);
        return result;
    }
    *device = &o.device->shared;
    return 0;
}

void device_close(struct dmtr_rdma_device *device)
{
    struct calm calm;
    calm_begin(&calm);
    close_here(device);
    calm_end(&calm);
}

__attribute__((visibility("default"))) const struct dmtr_rdma dmtr_rdma = {
    .version = DMTR_RDMA_VERSION,
    .device_size = sizeof(struct dmtr_rdma_device),
    .open = device_open,
    .close = device_close,
    .burst = data_burst,
    .get_events = events_get,
    .arm = data_arm,
    .register_memory = memory_register,
    .deregister = memory_deregister,
    .new_ah = ah_new,
    .free_ah = ah_free,
    .listen = id_listen,
    .dial = id_dial,
    .datagram = id_datagram,
    .create_qp = id_create_qp,
    .connect = id_connect,
    .accept = id_accept,
    .reject = id_reject,
    .disconnect = id_disconnect,
    .destroy = id_destroy,
    .address = id_address,
    .qpn = id_qpn,
};
