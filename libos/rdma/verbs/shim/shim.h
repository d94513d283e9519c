/*
 * libdmtr-rdma.so: what the library uses of rdma-core. libdmtr.so opens it at run time, when a configuration asks for RDMA, and finds
 * one symbol in it, dmtr_rdma. Go and the shim talk through struct dmtr_rdma_device, so that a burst is one call with one argument.
 *
 * One thread at a time calls these functions. Those that return an int return 0 or an errno, but for what is said.
 */
#ifndef DMTR_RDMA_SHIM_H
#define DMTR_RDMA_SHIM_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#define DMTR_RDMA_VERSION 2 /* of this interface: both sides must have the same */

#define DMTR_RDMA_SENDS 128 /* of one burst */
#define DMTR_RDMA_RECVS 256
#define DMTR_RDMA_COMPLETIONS 64
#define DMTR_RDMA_EVENTS 16
#define DMTR_RDMA_SGES 8
#define DMTR_RDMA_INLINE 256
#define DMTR_RDMA_PRIVATE 256

/* As verbs.SGE, and as struct ibv_sge. */
struct dmtr_rdma_sge {
    uint64_t addr;
    uint32_t len, lkey;
};

/* An identifier of the connection manager with its QP. Of this part Go writes name, and the shim does not look at the rest. */
struct dmtr_rdma_id {
    uint32_t name;
};

/* As verbs.Access: what peers may do with memory. */
#define DMTR_RDMA_REMOTE_READ 1u
#define DMTR_RDMA_REMOTE_WRITE 2u

enum dmtr_rdma_op { DMTR_RDMA_SEND, DMTR_RDMA_READ, DMTR_RDMA_WRITE }; /* as verbs.Opcode */

#define DMTR_RDMA_SIGNALED 1u
#define DMTR_RDMA_INLINED 2u

struct dmtr_rdma_send {
    struct dmtr_rdma_id *id;
    void *ah; /* NULL unless the ID is for datagrams */
    uint64_t wr_id;
    uint64_t remote_addr;
    uint32_t rkey, qpn, qkey;
    uint8_t op, flags, num_sge;
    uint8_t refused; /* by the device; written by the shim */
    struct dmtr_rdma_sge sge[DMTR_RDMA_SGES];
    uint8_t bytes[DMTR_RDMA_INLINE]; /* of an inline send */
};

struct dmtr_rdma_recv {
    struct dmtr_rdma_id *id;
    uint64_t wr_id;
    struct dmtr_rdma_sge sge;
    uint8_t refused;
};

struct dmtr_rdma_completion {
    uint64_t wr_id;
    uint32_t bytes, src_qpn;
    uint8_t status;
    uint8_t has_grh;
};

struct dmtr_rdma_event {
    struct dmtr_rdma_id *id;
    struct dmtr_rdma_id *listener; /* of a connection request, whose id is new and to be given a name or destroyed */
    void *ah;                      /* of what was found for datagrams: the receiver's */
    uint32_t type, private_len;
    int32_t status, error; /* error: an errno, if the event is an error */
    uint32_t qpn, qkey;
    uint8_t private_data[DMTR_RDMA_PRIVATE];
};

struct dmtr_rdma_device {
    /* A burst: posts what is given, and fetches up to wanted completions. */
    uint32_t num_sends, num_recvs;
    uint32_t refused; /* written: how many of them the device has refused */
    uint32_t wanted, num_completions;
    struct dmtr_rdma_send sends[DMTR_RDMA_SENDS];
    struct dmtr_rdma_recv recvs[DMTR_RDMA_RECVS];
    struct dmtr_rdma_completion completions[DMTR_RDMA_COMPLETIONS];

    uint32_t wanted_events, num_events;
    struct dmtr_rdma_event events[DMTR_RDMA_EVENTS];

    /* Constant after open. */
    int completion_fd, event_fd;
    uint32_t max_inline, max_sge, max_wr, max_cqe, max_qp, max_read_atomic, port_mtu;
    uint8_t address[4]; /* by which it was found */
    char name[64];

    uint32_t num_queues; /* completion queues */
};

struct dmtr_rdma_qp_params {
    uint32_t send_wr, recv_wr, max_sge, max_inline; /* changed to what the QP has */
    uint8_t ack_timeout;
};

struct dmtr_rdma_mr {
    void *mr;
    uint32_t lkey, rkey;
};

struct dmtr_rdma {
    uint32_t version;
    uint32_t device_size; /* sizeof(struct dmtr_rdma_device) */
    /* name: of the device, or NULL; address: one that it must have, or 0. Gives one line about an error. */
    int (*open)(const char *name, uint32_t address, struct dmtr_rdma_device **device, char *error, size_t error_size);
    void (*close)(struct dmtr_rdma_device *device); /* after all IDs, MRs and AHs */

    void (*burst)(struct dmtr_rdma_device *device);
    void (*get_events)(struct dmtr_rdma_device *device);
    void (*arm)(struct dmtr_rdma_device *device); /* what has come already is in completions then */

    int (*register_memory)(struct dmtr_rdma_device *device, void *p, uint64_t n, uint32_t peers, struct dmtr_rdma_mr *mr);
    void (*deregister)(void *mr);
    int (*new_ah)(struct dmtr_rdma_id *from, const struct sockaddr_in *addr, void **ah);
    void (*free_ah)(void *ah);

    int (*listen)(struct dmtr_rdma_device *device, const struct sockaddr_in *addr, int backlog, struct dmtr_rdma_id **id);
    /* from: NULL, or on whose behalf the QP for datagrams at addr is looked for. */
    int (*dial)(struct dmtr_rdma_device *device, const struct sockaddr_in *addr, const struct sockaddr_in *local,
        struct dmtr_rdma_id *from, struct dmtr_rdma_id **id);
    int (*datagram)(struct dmtr_rdma_device *device, const struct sockaddr_in *local, struct dmtr_rdma_qp_params *params,
        struct dmtr_rdma_id **id);
    int (*create_qp)(struct dmtr_rdma_id *id, struct dmtr_rdma_qp_params *params);
    int (*connect)(struct dmtr_rdma_id *id, const void *data, uint32_t n);
    int (*accept)(struct dmtr_rdma_id *id, const void *data, uint32_t n);
    int (*reject)(struct dmtr_rdma_id *id, const void *data, uint32_t n);
    int (*disconnect)(struct dmtr_rdma_id *id);
    void (*destroy)(struct dmtr_rdma_id *id);
    void (*address)(struct dmtr_rdma_id *id, struct sockaddr_in *local, struct sockaddr_in *peer);
    uint32_t (*qpn)(struct dmtr_rdma_id *id);
};

#endif
