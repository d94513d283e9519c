/* Between the files of the shim. */
#ifndef DMTR_RDMA_INTERNAL_H
#define DMTR_RDMA_INTERNAL_H

#include "own_thread.h"
#include "shim.h"

#include <rdma/rdma_cma.h>
#include <signal.h>
#include <stdbool.h>

/* A completion queue has room for all that its QPs can have under way, so that it cannot overflow. */
struct queue {
    struct ibv_cq *cq;
    uint32_t size;
    uint32_t taken; /* by QPs, and by what QPs that are gone may have left in it */
    uint32_t left;  /* the latter: free when the queue has been seen empty */
    bool armed;
};

#define MAX_QUEUES 64
#define RESOLVE_MS 2000 /* for an address, and for the way to it */
#define RESOLVE_TRIES 3 /* for an address */

struct device {
    struct dmtr_rdma_device shared; /* first: Go has the address of this */
    struct rdma_event_channel *events;
    struct rdma_cm_id *anchor; /* without it librdmacm may close the device; NULL when the device is being removed */
    struct in_addr own; /* the address of anchor */
    struct ibv_context *verbs;
    struct ibv_pd *pd;
    struct ibv_comp_channel *completions;
    struct queue queues[MAX_QUEUES];
    uint32_t next_queue; /* to be polled first */
    uint8_t port;
    struct ibv_send_wr send_wr[DMTR_RDMA_SENDS];
    struct ibv_recv_wr recv_wr[DMTR_RDMA_RECVS];
    struct id *touched[DMTR_RDMA_RECVS]; /* that the burst posts to */
};

enum role { LISTENER, ACTIVE, PASSIVE, DATAGRAM, LOOKUP };

struct id {
    struct dmtr_rdma_id shared; /* first */
    struct device *device;
    struct rdma_cm_id *cm;
    struct ibv_qp *qp;
    struct queue *queue;
    uint32_t reserved; /* in the queue */
    enum role role;
    uint8_t resolved_again; /* how many times */
    bool connected; /* the kernel has been told of the peer: it can be told of the end */
    struct ibv_send_wr *first_send, *last_send;
    struct ibv_recv_wr *first_recv, *last_recv;
};

/*
 * Around whatever may make system calls: rdma-core makes them by functions that are cancellation points and set errno, which a handler
 * of the program could change; and threads that it may start inherit the mask.
 */
struct calm {
    sigset_t mask;
    int cancel;
};
void calm_begin(struct calm *calm);
void calm_end(const struct calm *calm);

int last_error(void); /* errno, or EIO if that is 0 */

/* device.c */
int device_open(const char *name, uint32_t address, struct dmtr_rdma_device **device, char *error, size_t error_size);
void device_close(struct dmtr_rdma_device *device);
struct queue *queue_reserve(struct device *d, uint32_t n, int *error);
void queue_release(struct queue *q, uint32_t n);

/* memory.c */
int memory_register(struct dmtr_rdma_device *device, void *p, uint64_t n, uint32_t peers, struct dmtr_rdma_mr *mr);
void memory_deregister(void *mr);
int ah_new(struct dmtr_rdma_id *from, const struct sockaddr_in *addr, void **ah);
void ah_free(void *ah);

/* data.c */
void data_burst(struct dmtr_rdma_device *device);
void data_arm(struct dmtr_rdma_device *device);

/* event.c */
void events_get(struct dmtr_rdma_device *device);

/* id.c */
int id_new(struct device *d, enum role role, struct rdma_cm_id *cm, struct id **id);
int id_listen(struct dmtr_rdma_device *device, const struct sockaddr_in *addr, int backlog, struct dmtr_rdma_id **id);
int id_dial(struct dmtr_rdma_device *device, const struct sockaddr_in *addr, const struct sockaddr_in *local,
    struct dmtr_rdma_id *from, struct dmtr_rdma_id **id);
int id_datagram(struct dmtr_rdma_device *device, const struct sockaddr_in *local, struct dmtr_rdma_qp_params *params,
    struct dmtr_rdma_id **id);
int id_create_qp(struct dmtr_rdma_id *id, struct dmtr_rdma_qp_params *params);
int id_connect(struct dmtr_rdma_id *id, const void *data, uint32_t n);
int id_accept(struct dmtr_rdma_id *id, const void *data, uint32_t n);
int id_reject(struct dmtr_rdma_id *id, const void *data, uint32_t n);
int id_disconnect(struct dmtr_rdma_id *id);
void id_destroy(struct dmtr_rdma_id *id);
void id_address(struct dmtr_rdma_id *id, struct sockaddr_in *local, struct sockaddr_in *peer);
uint32_t id_qpn(struct dmtr_rdma_id *id);

#endif
