/*
 * bulk server ADDRESS CPU                          receives messages
 * bulk client ADDRESS CPU PORT SIZE SECONDS        sends messages of SIZE bytes, some at a time, and prints what arrived
 *
 * One TCP connection through libdmtr, on whatever libOS the environment names. A message of one byte asks the server for its count.
 */
#include "dmtr.h"

#define AT_A_TIME 4

static void receive_all(int qd)
{
    uint64_t bytes = 0;
    dmtr_sgarray_t sga;
    while (pop(qd, &sga)) {
        size_t n = length(&sga);
        ok(dmtr_sgafree(&sga), "dmtr_sgafree");
        bytes += n;
        if (n == 1) {
            ok(dmtr_wait(NULL, push(qd, &bytes, sizeof(bytes))), "push of the count");
            bytes = 0;
        }
    }
}

static void serve(const char *ip)
{
    struct sockaddr_in addr = address(ip, 0);
    socklen_t size = sizeof(addr);
    int listener;
    ok(dmtr_socket(&listener, AF_INET, SOCK_STREAM, 0), "dmtr_socket");
    ok(dmtr_bind(listener, (struct sockaddr *)&addr, sizeof(addr)), "dmtr_bind");
    ok(dmtr_listen(listener, 8), "dmtr_listen");
    ok(dmtr_getsockname(listener, (struct sockaddr *)&addr, &size), "dmtr_getsockname");
    fprintf(stderr, "listening on %s:%d\n", ip, ntohs(addr.sin_port));
    for (;;) {
        dmtr_qtoken_t token;
        dmtr_qresult_t result;
        ok(dmtr_accept(&token, listener), "dmtr_accept");
        ok(dmtr_wait(&result, token), "accept");
        receive_all(result.qr_value.ares.qd);
        ok(dmtr_close(result.qr_value.ares.qd), "dmtr_close");
    }
}

static void send_for(const char *ip, int port, size_t size, double seconds)
{
    struct sockaddr_in addr = address(ip, port);
    dmtr_qtoken_t tokens[AT_A_TIME];
    dmtr_sgarray_t reply;
    char *data = malloc(size), one = 1;
    uint64_t begin, end, took, bytes = 0;
    int qd, i;
    if (data == NULL)
        die("malloc");
    memset(data, 'x', size);
    qd = connected(&addr);
    begin = now_ns();
    end = begin + (uint64_t)(seconds * 1e9);
    for (i = 0; i < AT_A_TIME; i++)
        tokens[i] = push(qd, data, size);
    for (i = 0; now_ns() < end; i = (i + 1) % AT_A_TIME) {
        ok(dmtr_wait(NULL, tokens[i]), "push");
        tokens[i] = push(qd, data, size);
    }
    for (i = 0; i < AT_A_TIME; i++)
        ok(dmtr_wait(NULL, tokens[i]), "push");
    ok(dmtr_wait(NULL, push(qd, &one, 1)), "push");
    if (!pop(qd, &reply) || length(&reply) != sizeof(bytes)) {
        fprintf(stderr, "no count came back\n");
        exit(1);
    }
    took = now_ns() - begin;
    memcpy(&bytes, reply.sga_segs[0].sgaseg_buf, sizeof(bytes));
    ok(dmtr_sgafree(&reply), "dmtr_sgafree");
    printf("{\"gbit_per_s\":%.6f}\n", (double)bytes * 8 / (double)took);
    ok(dmtr_close(qd), "dmtr_close");
}

int main(int argc, char *argv[])
{
    if (argc != 4 && argc != 7) {
        fprintf(stderr, "see the head of bulk.c\n");
        return 2;
    }
    pin(atoi(argv[3]));
    ok(dmtr_init(0, NULL), "dmtr_init");
    if (argc == 4)
        serve(argv[2]);
    else
        send_for(argv[2], atoi(argv[4]), strtoul(argv[5], NULL, 10), atof(argv[6]));
    return 0;
}
