/*
 * libdmtr-dpdk.so: what the library uses of DPDK. libdmtr.so opens it at run time, when a configuration asks for DPDK, and finds
 * one symbol in it, dmtr_dpdk. Device and shim talk through struct dmtr_dpdk_port, so that a burst is one call with one argument.
 */
#ifndef DMTR_DPDK_SHIM_H
#define DMTR_DPDK_SHIM_H

#include <stddef.h>
#include <stdint.h>

#define DMTR_DPDK_VERSION 1 /* of this interface: both sides must have the same */

#define DMTR_DPDK_RX 32 /* frames of one burst */
#define DMTR_DPDK_TX 64 /* buffers to be sent, a power of two */

/* As link.Flags. */
#define DMTR_DPDK_SUMS_GOOD 1u
#define DMTR_DPDK_SUM_IPV4 2u
#define DMTR_DPDK_SUM_TRANSPORT 4u

struct dmtr_dpdk_frame {
    uint8_t *data; /* of a buffer to be sent: NULL if there was no memory for it */
    uint32_t len;
    uint32_t flags;
};

/* As link.Counters. */
struct dmtr_dpdk_counters {
    uint64_t rx_frames, rx_bytes;
    uint64_t tx_frames, tx_bytes;
    uint64_t rx_dropped, tx_dropped;
    uint64_t rx_errors;
};

struct dmtr_dpdk_port {
    uint32_t rx_max;   /* how many frames a burst is to receive, at most DMTR_DPDK_RX; 0 leaves those received before alone */
    uint32_t rx_count; /* how many it has received */
    uint32_t tx_first; /* counts on for ever: the first buffer to be sent is tx[tx_first % DMTR_DPDK_TX] */
    uint32_t tx_count; /* how many are to be sent; a burst leaves 0 */
    struct dmtr_dpdk_counters counters;
    struct dmtr_dpdk_frame rx[DMTR_DPDK_RX];
    struct dmtr_dpdk_frame tx[DMTR_DPDK_TX];

    /* Constant after open. */
    uint32_t mtu;
    uint32_t offloads; /* DMTR_DPDK_SUM_... that frames may ask for */
    uint8_t mac[6];
    char name[64];
};

struct dmtr_dpdk_config {
    int num_args;
    char **args;       /* of the EAL, without the name of the program and without --vdev */
    const char *given; /* those of them that the user chose, which have to be the same whenever a port is opened */
    int num_vdevs;
    char **vdevs;     /* NAME or NAME,ARGUMENTS, as --vdev has them */
    const char *port; /* NULL: the first */
    uint32_t mtu;     /* 0: that of the port */
};

struct dmtr_dpdk {
    uint32_t version;
    uint32_t port_size; /* sizeof(struct dmtr_dpdk_port), as far as it is above */
    /* Returns 0, or an errno and one line about it. */
    int (*open)(const struct dmtr_dpdk_config *config, struct dmtr_dpdk_port **port, char *error, size_t error_size);
    /* Releases the frames of the burst before (if rx_max is not 0), sends, receives, and replaces the buffers sent. */
    void (*burst)(struct dmtr_dpdk_port *port);
    /* Brings the counters up to date with what only the port knows. */
    void (*count)(struct dmtr_dpdk_port *port);
    /* Buffers that are in use and neither received nor waiting to be sent; and 1 if the link is up. For tests. */
    int (*held)(struct dmtr_dpdk_port *port);
    int (*up)(struct dmtr_dpdk_port *port);
    void (*close)(struct dmtr_dpdk_port *port);
};

#endif
