/* A port: opening it, its bursts, closing it. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <rte_bus_vdev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POOL 4095         /* buffers: the rings of a NIC, those received, and those to be sent */
#define POOL_CACHE 256
#define RING 512          /* descriptors of each ring, if the port leaves that open */
#define SEND_TRIES 16     /* while a full ring is being emptied */
#define LINK_UP_MS 300    /* what a start waits for a link whose other end is there */

static inline int room(const struct port *p) { return (int)p->max_len; }

bool link_up(struct port *p)
{
    struct rte_eth_link link = {0};
    return rte_eth_link_get_nowait(p->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

/* Gives the empty ones of tx a buffer each. */
static void refill(struct port *p)
{
    int i;
    for (i = 0; p->tx_empty > 0 && i < DMTR_DPDK_TX; i++) {
        struct dmtr_dpdk_frame *slot = &p->shared.tx[i];
        struct rte_mbuf *m;
        if (slot->data != NULL)
            continue;
        if ((m = rte_pktmbuf_alloc(p->pool)) == NULL)
            return;
        p->tx[i] = m;
        slot->data = rte_pktmbuf_mtod(m, uint8_t *);
        p->tx_empty--;
    }
}

/* What the port is to fill in. The stack has put the sum of the pseudo-header where DPDK wants it. */
static void ask_for_sums(struct rte_mbuf *m, const struct dmtr_dpdk_frame *f)
{
    uint8_t protocol = f->data[14 + 9];
    m->l2_len = 14;
    m->l3_len = (uint64_t)(f->data[14] & 15) * 4;
    m->ol_flags |= RTE_MBUF_F_TX_IPV4;
    if (f->flags & DMTR_DPDK_SUM_IPV4) {
        m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
        f->data[14 + 10] = f->data[14 + 11] = 0; /* as DPDK wants it */
    }
    if ((f->flags & DMTR_DPDK_SUM_TRANSPORT) && protocol == 6)
        m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    else if ((f->flags & DMTR_DPDK_SUM_TRANSPORT) && protocol == 17)
        m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
}

/* New buffers for those sent, in one go as long as there are enough. */
static inline void replace(struct port *p, uint32_t first, uint32_t n)
{
    struct rte_mbuf *fresh[DMTR_DPDK_TX];
    uint32_t i;
    bool have = rte_pktmbuf_alloc_bulk(p->pool, fresh, n) == 0;
    for (i = 0; i < n; i++) {
        uint32_t at = (first + i) % DMTR_DPDK_TX;
        p->tx[at] = have ? fresh[i] : NULL;
        p->shared.tx[at].data = have ? rte_pktmbuf_mtod(fresh[i], uint8_t *) : NULL;
    }
    if (!have)
        p->tx_empty += n;
}

static inline void send_queued(struct port *p)
{
    struct dmtr_dpdk_port *s = &p->shared;
    struct rte_mbuf *burst[DMTR_DPDK_TX];
    uint32_t i, n = s->tx_count, sent, first = s->tx_first;
    uint64_t bytes = 0, left = 0;
    int tries = 0;
    for (i = 0; i < n; i++) {
        uint32_t at = (first + i) % DMTR_DPDK_TX;
        struct rte_mbuf *m = p->tx[at];
        m->pkt_len = s->tx[at].len;
        m->data_len = (uint16_t)s->tx[at].len;
        m->ol_flags = 0;
        if (s->tx[at].flags != 0 && s->tx[at].len >= 14 + 20)
            ask_for_sums(m, &s->tx[at]);
        bytes += m->pkt_len;
        burst[i] = m;
    }
    sent = rte_eth_tx_burst(p->id, 0, burst, (uint16_t)n);
    while (__builtin_expect(sent < n, 0) && tries++ < SEND_TRIES && link_up(p)) {
        for (i = 0; i < 8; i++)
            rte_pause();
        sent += rte_eth_tx_burst(p->id, 0, burst + sent, (uint16_t)(n - sent));
    }
    for (i = sent; i < n; i++)
        left += burst[i]->pkt_len; /* stays where it is, to be used again */
    s->counters.tx_frames += sent;
    s->counters.tx_bytes += bytes - left;
    s->counters.tx_dropped += n - sent;
    s->tx_first = first + n;
    s->tx_count = 0;
    if (sent > 0)
        replace(p, first, sent);
}

static inline void receive(struct port *p)
{
    struct dmtr_dpdk_port *s = &p->shared;
    struct rte_mbuf *burst[DMTR_DPDK_RX];
    uint16_t i, n;
    uint32_t kept = 0;
    if (p->rx_held > 0)
        rte_pktmbuf_free_bulk(p->rx, p->rx_held);
    n = rte_eth_rx_burst(p->id, 0, burst, (uint16_t)s->rx_max);
    for (i = 0; i < n; i++) {
        struct rte_mbuf *m = burst[i];
        const uint64_t good = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        if (__builtin_expect(m->pkt_len < 14 || m->pkt_len > p->max_len || (m->nb_segs > 1 && rte_pktmbuf_linearize(m) != 0), 0)) {
            s->counters.rx_errors++;
            rte_pktmbuf_free(m);
            continue;
        }
        s->rx[kept].data = rte_pktmbuf_mtod(m, uint8_t *);
        s->rx[kept].len = m->pkt_len;
        s->rx[kept].flags = (m->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK)) == good ? DMTR_DPDK_SUMS_GOOD : 0;
        s->counters.rx_bytes += m->pkt_len;
        p->rx[kept++] = m;
    }
    s->counters.rx_frames += kept;
    s->rx_count = p->rx_held = kept;
}

/* Nothing can be sent or received now. */
static void burst_in_vain(struct port *p)
{
    struct dmtr_dpdk_port *s = &p->shared;
    s->counters.tx_dropped += s->tx_count;
    s->tx_first += s->tx_count;
    s->tx_count = 0;
    if (s->rx_max > 0)
        s->rx_count = 0; /* rx_held stays for the next */
}

static void port_burst(struct dmtr_dpdk_port *s)
{
    struct port *p = (struct port *)s;
    unsigned lcore;
    if (!burst_begin(p)) {
        burst_in_vain(p);
        return;
    }
    /* The thread may be any of the program, one at a time. With this number it has the cache of the pool. */
    lcore = RTE_PER_LCORE(_lcore_id);
    RTE_PER_LCORE(_lcore_id) = p->lcore;
    if (s->tx_count > 0)
        send_queued(p);
    if (__builtin_expect(p->tx_empty > 0, 0))
        refill(p);
    if (s->rx_max > 0)
        receive(p);
    RTE_PER_LCORE(_lcore_id) = lcore;
    burst_end(p);
}

static void port_count(struct dmtr_dpdk_port *s)
{
    struct port *p = (struct port *)s;
    struct rte_eth_stats stats;
    if (rte_eth_stats_get(p->id, &stats) != 0)
        return;
    if (stats.imissed + stats.rx_nombuf > p->missed)
        s->counters.rx_dropped += stats.imissed + stats.rx_nombuf - p->missed;
    p->missed = stats.imissed + stats.rx_nombuf;
}

static int port_held(struct dmtr_dpdk_port *s)
{
    struct port *p = (struct port *)s;
    return (int)rte_mempool_in_use_count(p->pool) - (int)p->rx_held - (DMTR_DPDK_TX - (int)p->tx_empty);
}

static int port_up(struct dmtr_dpdk_port *s)
{
    struct port *p = (struct port *)s;
    return p->running && link_up(p);
}

struct opening {
    const struct dmtr_dpdk_config *config;
    struct port *port;
    char *error;
    size_t error_size;
};

static bool memif_server(const char *vdev)
{
    return strncmp(vdev, "net_memif", 9) == 0 && (strstr(vdev, "role=server") || strstr(vdev, "role=master"));
}

/* Makes the port of an argument --vdev. */
static int add_vdev(struct opening *o, const char *vdev)
{
    struct port *p = o->port;
    char name[64], last[400];
    const char *comma = strchrnul(vdev, ','), *bsize = strstr(vdev, ",bsize=");
    if (bsize != NULL && strncmp(vdev, "net_memif", 9) == 0 && atoi(bsize + 7) < RTE_ETHER_MAX_LEN) /* it spoils frames in parts */
        return explain(EINVAL, o->error, o->error_size, "%s: bsize has to be %d or more, for a whole frame", vdev, RTE_ETHER_MAX_LEN);
    snprintf(name, sizeof(name), "%.*s", (int)(comma - vdev), vdev);
    if (memif_server(vdev)) {
        memif_clean_path(vdev);
        memif_owner = p;
    }
    log_clear();
    errno = 0;
    if (rte_vdev_init(name, *comma ? comma + 1 : "") != 0) {
        int error = errno;
        memif_owner = NULL;
        log_last_lines(last, sizeof(last));
        return explain(error == EADDRINUSE || error == EACCES ? error : ENODEV, o->error, o->error_size, "no device %s: %s", vdev,
                       last[0] ? last : "DPDK has no driver for it, or does not say why");
    }
    memif_owner = NULL;
    return 0;
}

/* The port that the configuration names, or the first. */
static int choose(struct opening *o)
{
    struct port *p = o->port;
    const char *wanted = o->config->port;
    char name[RTE_ETH_NAME_MAX_LEN];
    uint16_t id;
    int i, error;
    for (i = 0; i < o->config->num_vdevs; i++) {
        const char *vdev = o->config->vdevs[i];
        size_t n = strcspn(vdev, ",");
        if (wanted != NULL && (strlen(wanted) != n || strncmp(wanted, vdev, n) != 0))
            continue;
        if ((error = add_vdev(o, vdev)) != 0)
            return error;
        snprintf(p->vdev, sizeof(p->vdev), "%.*s", (int)n, vdev);
        p->memif_client = strncmp(vdev, "net_memif", 9) == 0 && !memif_server(vdev);
        wanted = p->vdev;
        break;
    }
    RTE_ETH_FOREACH_DEV(id) {
        if (rte_eth_dev_get_name_by_port(id, name) == 0 && (wanted == NULL || strcmp(wanted, name) == 0)) {
            p->id = id;
            snprintf(p->shared.name, sizeof(p->shared.name), "%s", name);
            return 0;
        }
    }
    if (wanted != NULL)
        return explain(ENODEV, o->error, o->error_size, "DPDK has no port %s", wanted);
    return explain(ENODEV, o->error, o->error_size,
                   "DPDK has no port; dpdk.eal_init can name one, as --vdev=net_memif0,role=server,socket=/run/memif,socket-abstract=no");
}

static int set_mtu(struct opening *o)
{
    struct port *p = o->port;
    uint16_t mtu = 0;
    rte_eth_dev_get_mtu(p->id, &mtu);
    if (o->config->mtu != 0 && o->config->mtu != mtu) {
        int error = -rte_eth_dev_set_mtu(p->id, (uint16_t)o->config->mtu);
        if (error == ENOTSUP && o->config->mtu < mtu)
            error = 0; /* less than the port would take */
        if (error != 0)
            return explain(error, o->error, o->error_size, "port %s: MTU %u", p->shared.name, o->config->mtu);
        mtu = (uint16_t)o->config->mtu;
    }
    p->shared.mtu = mtu;
    p->max_len = mtu + 14u;
    return 0;
}

static int configure(struct opening *o)
{
    static unsigned pools;
    struct port *p = o->port;
    struct rte_eth_conf conf = {0};
    struct rte_eth_dev_info info;
    uint16_t rx = RING, tx = RING;
    uint64_t sums = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
    char name[32];
    int error;
    if ((error = -rte_eth_dev_info_get(p->id, &info)) != 0)
        return error;
    conf.rxmode.offloads = info.rx_offload_capa & sums;
    if (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
        p->shared.offloads |= DMTR_DPDK_SUM_IPV4;
    sums = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    if ((info.tx_offload_capa & sums) == sums)
        p->shared.offloads |= DMTR_DPDK_SUM_TRANSPORT;
    conf.txmode.offloads = info.tx_offload_capa & (sums | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);
    if ((error = -rte_eth_dev_configure(p->id, 1, 1, &conf)) != 0 || (error = set_mtu(o)) != 0)
        return error;
    snprintf(name, sizeof(name), "dmtr%u", pools++);
    p->pool = rte_pktmbuf_pool_create(name, POOL, POOL_CACHE, 0, (uint16_t)(RTE_PKTMBUF_HEADROOM + RTE_MAX(2048, room(p) + 64)), SOCKET_ID_ANY);
    if (p->pool == NULL)
        return explain(rte_errno, o->error, o->error_size, "no memory for buffers; see -m in dpdk.eal_init");
    if ((error = -rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &rx, &tx)) != 0 ||
        (error = -rte_eth_rx_queue_setup(p->id, 0, rx, SOCKET_ID_ANY, NULL, p->pool)) != 0 ||
        (error = -rte_eth_tx_queue_setup(p->id, 0, tx, SOCKET_ID_ANY, NULL)) != 0)
        return error;
    rte_eth_promiscuous_disable(p->id); /* not all have it */
    return -rte_eth_macaddr_get(p->id, (struct rte_ether_addr *)p->shared.mac);
}

static void release(struct port *p)
{
    int i;
    control_begin();
    p->running = false;
    gate_remove(p);
    memif_close_listener(p);
    if (p->shared.name[0] != 0)
        rte_eth_dev_stop(p->id);
    if (p->vdev[0] != 0)
        rte_vdev_uninit(p->vdev);
    memif_disown(p);
    control_end();
    if (p->pool != NULL) {
        rte_pktmbuf_free_bulk(p->rx, p->rx_held);
        for (i = 0; i < DMTR_DPDK_TX; i++)
            rte_pktmbuf_free(p->tx[i]);
        rte_mempool_free(p->pool);
    }
    free(p);
}

static int do_open(void *arg)
{
    static bool prepared;
    struct opening *o = arg;
    struct port *p;
    int error;
    if (!prepared) {
        gate_init();
        memif_init();
        prepared = true;
    }
    log_clear();
    if ((error = eal_start(o->config, o->error, o->error_size)) != 0)
        return error;
    p = o->port = aligned_alloc(64, (sizeof(*p) + 63) / 64 * 64);
    if (p == NULL)
        return ENOMEM;
    memset(p, 0, sizeof(*p));
    p->lcore = (uint16_t)rte_get_main_lcore();
    control_begin();
    if ((error = choose(o)) == 0 && (error = configure(o)) == 0) {
        gate_add(p);
        error = -memif_start(p);
    }
    control_end();
    if (error != 0) {
        char last[400];
        log_last_lines(last, sizeof(last));
        if (o->error[0] == 0)
            explain(error, o->error, o->error_size, "port %s cannot be used: %s", p->shared.name, last[0] ? last : rte_strerror(error));
        release(p);
        return error > 0 ? error : EIO;
    }
    p->tx_empty = DMTR_DPDK_TX;
    refill(p);
    return 0;
}

static int do_close(void *arg)
{
    release(arg);
    return 0;
}

static int port_open(const struct dmtr_dpdk_config *config, struct dmtr_dpdk_port **port, char *error, size_t error_size)
{
    struct opening o = {config, NULL, error, error_size};
    int i, result;
    error[0] = 0;
    result = on_own_thread(do_open, &o);
    if (result != 0) {
        if (error[0] == 0)
            explain(result, error, error_size, "DPDK: %s", strerror(result));
        return result;
    }
    *port = &o.port->shared;
    /* A client's server is usually there, and what is sent before the link is up is lost. */
    for (i = 0; i < LINK_UP_MS && o.port->memif_client && o.port->channels > 0 && !port_up(*port); i++)
        usleep(1000);
    return 0;
}

static void port_close(struct dmtr_dpdk_port *s)
{
    /* Without a thread to do it in order, memory is what is lost. */
    on_own_thread(do_close, s);
}

__attribute__((visibility("default"))) const struct dmtr_dpdk dmtr_dpdk = {
    .version = DMTR_DPDK_VERSION,
    .port_size = sizeof(struct dmtr_dpdk_port),
    .open = port_open,
    .burst = port_burst,
    .count = port_count,
    .held = port_held,
    .up = port_up,
    .close = port_close,
};
