/*
 * The raw link: frames between two processes through DPDK's memif, with nothing above. What a stack over it is measured against.
 *
 *   memif_raw server SOCKET CPU                             sends every frame back
 *   memif_raw client SOCKET CPU SIZE ITERATIONS WARMUP [NS] round trips, each of which lasts NS at least
 *   memif_raw sink SOCKET CPU                               counts frames
 *   memif_raw source SOCKET CPU SIZE SECONDS                sends as many as the link takes, and prints what arrived
 *
 * A server or sink ends with its client: DPDK's memif unmaps memory in another thread when a peer has gone, even if it is in use.
 */
#include "bench.h"

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define BURST 32
/* First bytes of frames that mean something. */
#define ASK 0xff /* to a sink: reply with the counts */
#define BYE 0xfe /* the client ends */

static struct rte_mempool *pool;

static void check(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, rte_strerror(-result));
        exit(1);
    }
}

static void start(const char *role, const char *path, const char *cpu)
{
    static const struct rte_eth_conf conf;
    char vdev[300];
    char *args[] = {"memif_raw", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "--log-level=error", "-m", "64", "-l", (char *)cpu, "--vdev", vdev};
    snprintf(vdev, sizeof(vdev), "net_memif0,role=%s,socket=%s,socket-abstract=no", role, path);
    if (rte_eal_init(sizeof(args) / sizeof(args[0]), args) < 0) {
        fprintf(stderr, "rte_eal_init failed\n");
        exit(1);
    }
    pool = rte_pktmbuf_pool_create("frames", 4095, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (pool == NULL) {
        fprintf(stderr, "no memory for frames\n");
        exit(1);
    }
    check(rte_eth_dev_configure(0, 1, 1, &conf), "rte_eth_dev_configure");
    check(rte_eth_rx_queue_setup(0, 0, 1024, SOCKET_ID_ANY, NULL, pool), "rte_eth_rx_queue_setup");
    check(rte_eth_tx_queue_setup(0, 0, 1024, SOCKET_ID_ANY, NULL), "rte_eth_tx_queue_setup");
    check(rte_eth_dev_start(0), "rte_eth_dev_start");
}

static void await_link(void)
{
    struct rte_eth_link link = {0};
    uint64_t end = now_ns() + 5000000000u;
    do {
        rte_eth_link_get_nowait(0, &link);
        usleep(1000);
    } while (link.link_status != RTE_ETH_LINK_UP && now_ns() < end);
    if (link.link_status != RTE_ETH_LINK_UP) {
        fprintf(stderr, "no link\n");
        exit(1);
    }
    rte_eth_rx_burst(0, 0, NULL, 0); /* gives the other side room to send to */
    usleep(10000);
}

static struct rte_mbuf *frame(size_t size)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    if (m == NULL || rte_pktmbuf_append(m, (uint16_t)size) == NULL) {
        fprintf(stderr, "no memory for a frame\n");
        exit(1);
    }
    return m;
}

static void send_one(struct rte_mbuf *m)
{
    while (rte_eth_tx_burst(0, 0, &m, 1) == 0)
        continue;
}

static void say_bye(void)
{
    struct rte_mbuf *m = frame(64);
    memset(rte_pktmbuf_mtod(m, void *), BYE, 64);
    send_one(m);
    usleep(100000);
}

static int is(const struct rte_mbuf *m, uint8_t what)
{
    return *rte_pktmbuf_mtod(m, uint8_t *) == what;
}

static void serve(void)
{
    struct rte_mbuf *burst[BURST];
    for (;;) {
        uint16_t n = rte_eth_rx_burst(0, 0, burst, BURST), sent;
        if (n == 0)
            continue;
        if (__builtin_expect(is(burst[0], BYE), 0))
            _exit(0);
        sent = rte_eth_tx_burst(0, 0, burst, n);
        rte_pktmbuf_free_bulk(burst + sent, n - sent);
    }
}

static void measure(size_t size, size_t iterations, size_t warmup, uint64_t least)
{
    uint64_t *samples = malloc(iterations * sizeof(*samples));
    char *out = malloc(size);
    size_t i;
    if (samples == NULL || out == NULL)
        die("malloc");
    memset(samples, 1, iterations * sizeof(*samples)); /* no page faults later */
    memset(out, 'x', size);
    for (i = 0; i < warmup + iterations; i++) {
        struct rte_mbuf *m = frame(size);
        uint64_t begin;
        out[0] = (char)(i % 128);
        begin = now_ns();
        memcpy(rte_pktmbuf_mtod(m, void *), out, size);
        send_one(m);
        while (rte_eth_rx_burst(0, 0, &m, 1) == 0)
            continue;
        while (least != 0 && now_ns() - begin < least)
            continue;
        if (i >= warmup)
            samples[i - warmup] = now_ns() - begin;
        if (m->pkt_len != size || memcmp(rte_pktmbuf_mtod(m, void *), out, size) != 0) {
            fprintf(stderr, "another frame came back than was sent\n");
            exit(1);
        }
        rte_pktmbuf_free(m);
    }
    print_summary("rtt", samples, iterations);
}

struct counts {
    uint64_t frames, bytes;
};

static void count(void)
{
    struct rte_mbuf *burst[BURST];
    struct counts all = {0, 0};
    for (;;) {
        uint16_t i, n = rte_eth_rx_burst(0, 0, burst, BURST);
        for (i = 0; i < n; i++) {
            if (is(burst[i], BYE))
                _exit(0);
            if (is(burst[i], ASK)) {
                struct rte_mbuf *m = frame(64);
                memcpy(rte_pktmbuf_mtod(m, void *), &all, sizeof(all));
                send_one(m);
                all.frames = all.bytes = 0;
            } else {
                all.frames++;
                all.bytes += burst[i]->pkt_len;
            }
        }
        rte_pktmbuf_free_bulk(burst, n);
    }
}

static struct counts ask(void)
{
    struct rte_mbuf *m = frame(64);
    struct counts all;
    memset(rte_pktmbuf_mtod(m, void *), ASK, 64);
    send_one(m);
    while (rte_eth_rx_burst(0, 0, &m, 1) == 0)
        continue;
    memcpy(&all, rte_pktmbuf_mtod(m, void *), sizeof(all));
    rte_pktmbuf_free(m);
    return all;
}

static void flood(size_t size, double seconds)
{
    struct rte_mbuf *burst[BURST];
    uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9), took;
    struct counts got;
    while (now_ns() < end) {
        uint16_t i, sent = 0;
        for (i = 0; i < BURST; i++) {
            burst[i] = frame(size);
            memset(rte_pktmbuf_mtod(burst[i], void *), i, size);
        }
        while (sent < BURST)
            sent += rte_eth_tx_burst(0, 0, burst + sent, BURST - sent);
    }
    got = ask(); /* comes behind all that was sent */
    took = now_ns() - begin;
    printf("{\"gbit_per_s\":%.3f,\"frames_per_s\":%.0f}\n", (double)got.bytes * 8 / (double)took, (double)got.frames * 1e9 / (double)took);
}

int main(int argc, char *argv[])
{
    const char *what = argc > 3 ? argv[1] : "";
    int server = strcmp(what, "server") == 0, client = strcmp(what, "client") == 0 && (argc == 7 || argc == 8), source = strcmp(what, "source") == 0 && argc == 6;
    if (!server && !client && !source && strcmp(what, "sink") != 0) {
        fprintf(stderr, "see the head of memif_raw.c\n");
        return 2;
    }
    start(client || source ? "client" : "server", argv[2], argv[3]);
    if (client || source)
        await_link();
    else
        fprintf(stderr, "listening on memif:0\n"); /* as those that serve on ports do */
    if (client)
        measure(strtoul(argv[4], NULL, 10), strtoul(argv[5], NULL, 10), strtoul(argv[6], NULL, 10), argc == 8 ? strtoul(argv[7], NULL, 10) : 0);
    else if (source)
        flood(strtoul(argv[4], NULL, 10), atof(argv[5]));
    else if (server)
        serve();
    else
        count();
    say_bye();
    return 0;
}
