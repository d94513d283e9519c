/*
 * bulk server ADDRESS CPU                          receives messages
 * bulk client ADDRESS CPU PORT SIZE SECONDS        sends messages of SIZE bytes, some at a time, and prints what arrived
 *
 * One TCP connection through libdmtr, on whatever libOS the environment names. A message of one byte asks the server for its count.
 */
#include "bench.h"

#include <dmtr/libos.h>
#include <dmtr/sga.h>
#include <dmtr/wait.h>

#define AT_A_TIME 4

static void ok(int error, const char *what)
{
    if (error != 0) {
        errno = error;
        die(what);
    }
}

static struct sockaddr_in address(const char *ip, int port)
{
    struct sockaddr_in addr = loopback(port);
    if (inet_pton(AF_INET, ip, &addr.sin_addr) != 1)
        die(ip);
    return addr;
}

static dmtr_qtoken_t push(int qd, void *data, size_t size)
{
    dmtr_sgarray_t sga;
    dmtr_qtoken_t token;
    memset(&sga, 0, sizeof(sga));
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_buf = data;
    sga.sga_segs[0].sgaseg_len = (uint32_t)size;
    ok(dmtr_push(&token, qd, &sga), "dmtr_push");
    return token;
}

/* Waits for the next message; returns 0 if the connection has ended. */
static int pop(int qd, dmtr_sgarray_t *sga)
{
    dmtr_qtoken_t token;
    dmtr_qresult_t result;
    ok(dmtr_pop(&token, qd), "dmtr_pop");
    if (dmtr_wait(&result, token) != 0)
        return 0;
    *sga = result.qr_value.sga;
    return sga->sga_numsegs > 0;
}

static size_t length(const dmtr_sgarray_t *sga)
{
    size_t n = 0;
    uint32_t i;
    for (i = 0; i < sga->sga_numsegs; i++)
        n += sga->sga_segs[i].sgaseg_len;
    return n;
}

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
    ok(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), "dmtr_socket");
    ok(dmtr_connect(qd, (struct sockaddr *)&addr, sizeof(addr)), "dmtr_connect");
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
    printf("{\"gbit_per_s\":%.3f}\n", (double)bytes * 8 / (double)took);
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
