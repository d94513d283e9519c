/*
 * many ADDRESS CPU PORT SIZE CONNECTIONS ROUNDS: opens so many TCP connections to an echo server through libdmtr, and then sends a
 * message of SIZE bytes on each in turn, so many rounds, always waiting for it to come back. Prints the round trips.
 */
#include "dmtr.h"

static void echo(int qd, char *data, size_t size)
{
    dmtr_qtoken_t sent = push(qd, data, size);
    dmtr_sgarray_t reply;
    if (!pop(qd, &reply) || length(&reply) != size || memcmp(reply.sga_segs[0].sgaseg_buf, data, size) != 0) {
        fprintf(stderr, "another message came back than was sent\n");
        exit(1);
    }
    ok(dmtr_wait(NULL, sent), "push");
    ok(dmtr_sgafree(&reply), "dmtr_sgafree");
}

int main(int argc, char *argv[])
{
    struct sockaddr_in addr;
    size_t size, count, rounds, i, round;
    uint64_t *samples;
    char *data;
    int *qds;
    if (argc != 7) {
        fprintf(stderr, "see the head of many.c\n");
        return 2;
    }
    pin(atoi(argv[2]));
    addr = address(argv[1], atoi(argv[3]));
    size = strtoul(argv[4], NULL, 10);
    count = strtoul(argv[5], NULL, 10);
    rounds = strtoul(argv[6], NULL, 10);
    samples = malloc(count * rounds * sizeof(*samples));
    qds = malloc(count * sizeof(*qds));
    data = malloc(size);
    if (samples == NULL || qds == NULL || data == NULL)
        die("malloc");
    memset(samples, 1, count * rounds * sizeof(*samples)); /* no page faults later */
    memset(data, 'x', size);
    ok(dmtr_init(0, NULL), "dmtr_init");
    for (i = 0; i < count; i++) {
        qds[i] = connected(&addr);
        echo(qds[i], data, size);
    }
    for (round = 0; round < rounds; round++) {
        for (i = 0; i < count; i++) {
            uint64_t start = now_ns();
            echo(qds[i], data, size);
            samples[round * count + i] = now_ns() - start;
        }
    }
    print_summary("rtt", samples, count * rounds);
    return 0;
}
