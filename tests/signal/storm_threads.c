/*
 * The storm of storm.c for an echo pair of two threads, by TCP and by memory queues.
 */
#include "signal/storm.h"

enum { SIGNALS = 100000 };

/* ---- memory queues: numbers in sga_buf; 0 ends the server ---- */

static int there, back;

static void push_number(int qd, uint64_t number)
{
    static char byte;
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = test_sga(&byte, 1);
    sga.sga_buf = (void *)(uintptr_t)number;
    CHECK_ERR(dmtr_push(&qt, qd, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
}

static void memory_client(struct party *p)
{
    enum { MAIL, POP, IN_FLIGHT = 64 };
    dmtr_qtoken_t qts[2];
    uint64_t pushed = 0, popped = 0;
    party_begin(p);
    qts[MAIL] = q_start_pop(p->mail);
    qts[POP] = q_start_pop(back);
    while (!goal_reached() || popped < pushed) {
        dmtr_qresult_t qr;
        while (!goal_reached() && pushed - popped < IN_FLIGHT)
            push_number(there, ++pushed);
        if (popped == pushed)
            break;
        if (party_waits(p, &qr, qts, 2) == MAIL) {
            qts[MAIL] = took_mail(p, &qr);
        } else {
            CHECK_EQ(qr.qr_value.sga.sga_buf, ++popped);
            qts[POP] = q_start_pop(back);
        }
    }
    party_quiet(p);
    push_number(there, 0);
    storm->echoed = popped;
    CHECK(popped > 1000);
    party_end(p, qts[MAIL]);
}

static void memory_server(struct party *p)
{
    enum { MAIL, POP };
    dmtr_qtoken_t qts[2];
    uint64_t number;
    party_begin(p);
    qts[MAIL] = q_start_pop(p->mail);
    qts[POP] = q_start_pop(there);
    do {
        dmtr_qresult_t qr;
        number = 1;
        if (party_waits(p, &qr, qts, 2) == MAIL) {
            qts[MAIL] = took_mail(p, &qr);
            continue;
        }
        number = (uint64_t)(uintptr_t)qr.qr_value.sga.sga_buf;
        if (number != 0) {
            push_number(back, number);
            qts[POP] = q_start_pop(there);
        }
    } while (number != 0);
    party_quiet(p);
    party_end(p, qts[MAIL]);
}

/* ---- threads ---- */

struct role {
    void (*run)(struct party *);
    struct party *party;
};

static void *run_party(void *role)
{
    struct role *r = (struct role *)role;
    r->run(r->party);
    return NULL;
}

/* A storm over two threads of this process. */
static void storm_threads(const char *name, uint64_t goal, void (*client)(struct party *), void (*server)(struct party *))
{
    uint64_t from = now_us();
    pthread_t threads[2];
    sigset_t set;
    int status = -1;
    storm_begin(goal);
    pid_t killer = fork_child();
    if (killer == 0) {
        kill_at_random();
        _exit(0);
    }
    struct role roles[] = {{client, &storm->parties[CLIENT]}, {server, &storm->parties[SERVER]}};
    CHECK_ERR(dmtr_init(0, NULL), 0);
    CHECK_ERR(dmtr_queue(&there), 0);
    CHECK_ERR(dmtr_queue(&back), 0);
    sigemptyset(&set);
    sigaddset(&set, KILL_SIGNAL); /* for the parties alone */
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    for (int i = 0; i < 2; i++)
        start_thread(&threads[i], run_party, &roles[i]);
    for (int i = 0; i < 2; i++)
        join_thread(threads[i]);
    storm->over = 1;
    CHECK(waitpid(killer, &status, 0) == killer);
    CHECK_EQ(status, 0);
    report(name, from);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "tcp") == 0) {
        storm_threads("tcp", test_scaled(SIGNALS / 6), tcp_client, tcp_server);
        return 0;
    }
    if (argc > 1) {
        storm_threads("memory", test_scaled(SIGNALS / 6), memory_client, memory_server);
        return 0;
    }
    test_watchdog();
    run_in_wait_modes("tcp");
    run_in_wait_modes("memory");
    return 0;
}
