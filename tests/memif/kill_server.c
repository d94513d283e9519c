/*
 * The server is killed amid the traffic of a client, again and again. The client gets an error within the timeouts of its
 * configuration, connects to the next server as soon as there is one, and goes on. That the servers leave children behind, as those
 * do that save in the background, makes no difference.
 */
#include "memif/memif.h"

#define TIMEOUTS "tcp:\n  user_timeout_s: 2\n  connect_timeout_s: 2\n"
#define BUDGET (test_seconds() * 2.0 / 3) /* seconds for all rounds */
#define PATIENCE 6 /* after which an error is late: the timeout, and what a busy machine adds */

/* Says 'k' for each connection that works, and 'e' for the error that ends it. */
static void client(void)
{
    CHECK_ERR(dmtr_init(0, NULL), 0);
    for (;;) {
        int err, qd = connect_and_echo(&err);
        if (qd < 0) {
            CHECK(err == ETIMEDOUT || err == EHOSTUNREACH || err == ECONNREFUSED || err == ECONNRESET);
            continue;
        }
        for (uint32_t i = 1; (err = echo(qd, i, 4 + i * 37 % 4000)) == 0; i++)
            continue;
        CHECK(err == ETIMEDOUT || err == ECONNRESET || err == EHOSTUNREACH);
        say('e');
        CHECK_ERR(dmtr_close(qd), 0);
    }
}

int main(int argc, char *argv[])
{
    struct process server, one;
    uint32_t round, rounds = test_scaled(50);
    double end;
    if (argc > 1) {
        end_with_the_test();
        if (strcmp(argv[1], "server") == 0)
            serve_echo(1);
        else
            client();
    }
    memif_setup(TIMEOUTS);
    test_watchdog();
    srand((unsigned)getpid());
    server = start("server", "server");
    expect_letter(&server, 'l', 10);
    one = start("client", "client");
    end = seconds() + BUDGET;
    for (round = 0; round < rounds && seconds() < end; round++) {
        expect_letter(&one, 'k', 10);
        usleep((useconds_t)(rand() % 20000));
        kill_hard(&server);
        if (round % 2 == 0) /* the client finds nobody, or the next server */
            expect_letter(&one, 'e', PATIENCE);
        server = start("server", "server");
        expect_letter(&server, 'l', 10);
        if (round % 2 != 0)
            expect_letter(&one, 'e', PATIENCE);
    }
    expect_letter(&one, 'k', 10);
    kill_hard(&one);
    kill_hard(&server);
    printf("%u servers killed\n", (unsigned)round);
    CHECK(round >= 5 || round == rounds);
    return 0;
}
