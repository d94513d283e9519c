/*
 * 100,000 echoes of messages of 1 to 4,096 bytes between two queues of one process: all right, and
 * no memory grows. Also run with AddressSanitizer and valgrind. An argument gives another number of
 * echoes.
 */
#include "net/peer.h"

#include <time.h>

static unsigned char data[8192];

static void echo(int client, int server, size_t from, uint32_t len)
{
    dmtr_qtoken_t request = q_start_pop(server), reply = q_start_pop(client), push, back = 0;
    dmtr_qresult_t at_server, at_client;
    push = q_start_push(client, data + from, len);
    CHECK_ERR(dmtr_wait(&at_server, request), 0);
    CHECK_ERR(dmtr_push(&back, server, &at_server.qr_value.sga), 0);
    CHECK_ERR(dmtr_wait(&at_client, reply), 0);
    CHECK_ERR(dmtr_wait(NULL, push), 0);
    CHECK_ERR(dmtr_wait(NULL, back), 0);
    CHECK_EQ(at_client.qr_value.sga.sga_numsegs, 1);
    CHECK_EQ(at_client.qr_value.sga.sga_segs[0].sgaseg_len, len);
    CHECK(memcmp(at_client.qr_value.sga.sga_segs[0].sgaseg_buf, data + from, len) == 0);
    CHECK(at_client.qr_value.sga.sga_buf != at_server.qr_value.sga.sga_buf);
    free(at_server.qr_value.sga.sga_buf);
    CHECK_ERR(dmtr_sgafree(&at_client.qr_value.sga), 0);
}

/* Checkers of memory do, so that the RSS tells nothing. */
static int keeps_freed_memory(void)
{
#ifdef __SANITIZE_ADDRESS__
    return 1;
#else
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "valgrind") != NULL;
#endif
}

int main(int argc, char **argv)
{
    long echoes = argc > 1 ? atol(argv[1]) : 100000, before = 0, after;
    unsigned seed = (unsigned)time(NULL);
    int client = 0, server = 0;
    test_init();
    fprintf(stderr, "seed %u\n", seed);
    fill(data, sizeof data, 1, 0);
    test_tcp_pair(&client, &server);
    for (long i = 0; i < echoes; i++) {
        if (i == echoes / 10)
            before = rss_kib();
        echo(client, server, (size_t)rand_r(&seed) % 4096, 1 + (uint32_t)rand_r(&seed) % 4096);
    }
    after = rss_kib();
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
    fprintf(stderr, "RSS %ld KiB after a tenth, %ld KiB at the end\n", before, after);
    CHECK(keeps_freed_memory() || after - before < 4096);
    return 0;
}
