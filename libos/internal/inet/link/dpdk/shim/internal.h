/* Between the files of the shim. */
#ifndef DMTR_DPDK_INTERNAL_H
#define DMTR_DPDK_INTERNAL_H

#include "own_thread.h"
#include "shim.h"

#include <rte_config.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <stdbool.h>

#define MAX_PORTS 8

struct port {
    struct dmtr_dpdk_port shared; /* first: Go has the address of this */
    struct rte_mbuf *rx[DMTR_DPDK_RX];
    struct rte_mbuf *tx[DMTR_DPDK_TX];
    uint32_t rx_held;  /* of rx, still to be released */
    uint32_t tx_empty; /* of tx, without a buffer */
    uint32_t max_len;  /* of a frame */
    uint16_t id;
    uint16_t lcore;       /* whose cache of the pool the bursts use */
    volatile bool running; /* started, so that bursts make sense */
    volatile bool busy;    /* in a burst; see gate.c */
    bool memif_client;     /* has to be started anew when its peer has gone */
    int channels;          /* of a memif: control channels that are open */
    uint64_t missed;       /* frames that the port had lost at the last count */
    struct rte_mempool *pool;
    char vdev[64]; /* "" if it was there before */
};

/* eal.c */
int eal_start(const struct dmtr_dpdk_config *config, char *error, size_t error_size);

/* gate.c: keeps bursts and the control of ports apart. */
extern volatile bool gate_closed;
void gate_init(void);
void control_begin(void); /* waits until no burst runs; bursts do nothing until control_end */
void control_end(void);
void gate_add(struct port *p);
void gate_remove(struct port *p);
extern struct port *gate_ports[MAX_PORTS];
extern bool gate_fences; /* membarrier is not to be had */

static inline bool burst_begin(struct port *p)
{
    p->busy = true;
    if (__builtin_expect(gate_fences, 0))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __asm__ volatile("" ::: "memory");
    if (__builtin_expect(!gate_closed && p->running, 1))
        return true;
    __atomic_store_n(&p->busy, false, __ATOMIC_RELEASE);
    return false;
}

static inline void burst_end(struct port *p) { __atomic_store_n(&p->busy, false, __ATOMIC_RELEASE); }

/* port.c */
bool link_up(struct port *p);

/* memif.c */
void memif_init(void);
void memif_clean_path(const char *vdev);
int memif_start(struct port *p);
void memif_close_listener(struct port *p);
void memif_disown(struct port *p);
extern struct port *memif_owner; /* of the channels that are registered at present; NULL: nobody's */

#endif
