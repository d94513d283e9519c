/*
 * Clients are killed amid their traffic, again and again. The server notices each within the timeouts of its configuration, gives
 * an error for its connection, and serves the next.
 */
#include "memif/memif.h"

#define TIMEOUTS "tcp:\n  keepalive_s: 1\n  keepalive_interval_s: 1\n  keepalive_probes: 2\n  user_timeout_s: 3\n"
#define BUDGET (test_seconds() * 2.0 / 3) /* seconds for all rounds */

/* Echoes of all sizes, for ever. */
static void client(void)
{
    int err, qd;
    CHECK_ERR(dmtr_init(0, NULL), 0);
    qd = connect_and_echo(&err);
    CHECK_ERR(err, 0);
    for (uint32_t i = 1;; i++)
        CHECK_ERR(echo(qd, i, 4 + i * 37 % 4000), 0);
}

/* The last client: waits until the server has only its connection left. */
static void auditor(void)
{
    double end;
    int err, qd, counts[2] = {0, 0};
    CHECK_ERR(dmtr_init(0, NULL), 0);
    qd = connect_and_echo(&err);
    CHECK_ERR(err, 0);
    for (end = seconds() + 15; seconds() < end && counts[0] != 1; usleep(50000)) {
        dmtr_qtoken_t push = start_push(qd, counts, 1), pop;
        dmtr_qresult_t qr;
        CHECK_ERR(dmtr_pop(&pop, qd), 0);
        CHECK_ERR(dmtr_wait(NULL, push), 0);
        CHECK_ERR(dmtr_wait(&qr, pop), 0);
        CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, sizeof counts);
        memcpy(counts, qr.qr_value.sga.sga_segs[0].sgaseg_buf, sizeof counts);
        CHECK_ERR(dmtr_sgafree(&qr.qr_value.sga), 0);
    }
    fprintf(stderr, "the server has %d connections, and lost %d\n", counts[0], counts[1]);
    say(counts[0] == 1 ? 'y' : 'n');
    pause();
}

int main(int argc, char *argv[])
{
    struct process server, one;
    uint32_t round, rounds = test_scaled(50);
    double end;
    if (argc > 1) {
        end_with_the_test();
        if (strcmp(argv[1], "server") == 0)
            serve_echo(0);
        else if (strcmp(argv[1], "client") == 0)
            client();
        else
            auditor();
    }
    memif_setup(TIMEOUTS);
    test_watchdog();
    srand((unsigned)getpid());
    server = start("server", "server");
    expect_letter(&server, 'l', 10);
    end = seconds() + BUDGET;
    for (round = 0; round < rounds && seconds() < end; round++) {
        one = start("client", "client");
        expect_letter(&one, 'k', 10);
        usleep((useconds_t)(rand() % 20000));
        kill_hard(&one);
    }
    one = start("client", "auditor");
    expect_letter(&one, 'k', 10);
    expect_letter(&one, 'y', 20);
    kill_hard(&one);
    kill_hard(&server);
    printf("%u clients killed\n", (unsigned)round);
    CHECK(round >= 10 || round == rounds);
    return 0;
}
