/*
 * The echo server that logs, on a drive, is killed at full speed, several times: each message that it answered is in the log, whole.
 */
#include "net/peer.h"

#include <dmtr/latency.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { CLIENTS = 16, ROUNDS = 5, MOST = 1 << 20 };

struct message {
    uint32_t round, client, number, sum;
};

static uint32_t answered[ROUNDS][CLIENTS]; /* how many */

static struct message message_of(uint32_t round, uint32_t client, uint32_t number)
{
    struct message m = {round, client, number, round * 7 + client * 77 + number * 777 + 1};
    return m;
}

static const char *program(const char *name)
{
    static char path[2][1000];
    static int turn;
    const char *include = getenv("DMTR_INCLUDE_DIR");
    CHECK(include != NULL);
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/../build/bin/%s", include, name);
    return path[turn];
}

/* Starts the server and reads from its stderr where it listens. */
static pid_t start_server(int *port)
{
    char text[1000];
    int ends[2];
    FILE *from;
    pid_t pid;
    CHECK(pipe(ends) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it would keep a test that failed from ending */
        dup2(ends[1], 2);
        close(ends[0]);
        execl(program("log_server"), "log_server", "--port", "0", "--file", "echo.log", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    from = fdopen(ends[0], "r");
    CHECK(from != NULL && fgets(text, sizeof text, from) != NULL);
    if (sscanf(text, "listening on 127.0.0.1:%d", port) != 1) {
        fprintf(stderr, "the server says: %s", text);
        exit(1);
    }
    fclose(from);
    return pid;
}

static void serve(uint32_t round, int port, int fds[CLIENTS], uint64_t until_ns)
{
    struct pollfd polls[CLIENTS];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct message m = message_of(round, i, 0);
        struct sockaddr_in addr = test_address(INADDR_LOOPBACK, (uint16_t)port);
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(fds[i] >= 0 && connect(fds[i], (struct sockaddr *)&addr, sizeof addr) == 0);
        CHECK_EQ(send(fds[i], &m, sizeof m, 0), sizeof m);
        polls[i].fd = fds[i];
        polls[i].events = POLLIN;
    }
    while (dmtr_now_ns() < until_ns) {
        CHECK(poll(polls, CLIENTS, 1000) > 0);
        for (uint32_t i = 0; i < CLIENTS; i++) {
            struct message m, want = message_of(round, i, answered[round][i]);
            if (polls[i].revents == 0)
                continue;
            CHECK_EQ(recv(fds[i], &m, sizeof m, MSG_WAITALL), sizeof m);
            CHECK(memcmp(&m, &want, sizeof m) == 0);
            m = message_of(round, i, ++answered[round][i]);
            CHECK_EQ(send(fds[i], &m, sizeof m, 0), sizeof m);
        }
    }
}

/* After the kill an answer may still lie in the socket: it counts, too. */
static void collect(uint32_t round, int fds[CLIENTS])
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct message m;
        if (recv(fds[i], &m, sizeof m, MSG_WAITALL) == (ssize_t)sizeof m)
            answered[round][i]++;
        close(fds[i]);
    }
}

/* Messages of a client come in order, so those in the log are the first ones. */
static void check_log(uint32_t rounds)
{
    static uint32_t logged[ROUNDS][CLIENTS];
    uint32_t total = 0;
    char line[2500];
    struct message m;
    FILE *dump;
    memset(logged, 0, sizeof logged);
    snprintf(line, sizeof line, "for i in $(seq 200); do '%s' list '%s' > /dev/null 2>&1 && break; sleep 0.05; done; '%s' dump '%s' echo.log",
             program("dmtr-store"), getenv("DMTR_TEST_DRIVE"), program("dmtr-store"), getenv("DMTR_TEST_DRIVE"));
    dump = popen(line, "r");
    CHECK(dump != NULL);
    while (fread(&m, sizeof m, 1, dump) == 1) {
        CHECK(m.round < rounds && m.client < CLIENTS);
        struct message want = message_of(m.round, m.client, logged[m.round][m.client]++);
        CHECK(memcmp(&m, &want, sizeof m) == 0);
    }
    CHECK(!ferror(dump) && pclose(dump) == 0);
    for (uint32_t r = 0; r < rounds; r++)
        for (uint32_t i = 0; i < CLIENTS; i++) {
            CHECK(logged[r][i] >= answered[r][i]);
            CHECK(logged[r][i] <= answered[r][i] + 1);
            total += answered[r][i];
        }
    printf("%u answered and logged\n", total);
    CHECK(total > rounds * CLIENTS);
}

/* A fast machine writes many times the size that drives of tests have: a block of 4 KiB for each message, if they come one by one. */
static void grow_drive(void)
{
    char line[2500];
    snprintf(line, sizeof line, "rm '%s' && exec '%s' format '%s' 1G 2> /dev/null", getenv("DMTR_TEST_DRIVE"), program("dmtr-store"),
             getenv("DMTR_TEST_DRIVE"));
    CHECK_EQ(system(line), 0);
}

int main(void)
{
    test_watchdog();
    grow_drive();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        int fds[CLIENTS], port = 0, status = 0;
        pid_t pid = start_server(&port);
        serve(round, port, fds, dmtr_now_ns() + 150000000 + round * 70000000);
        CHECK(kill(pid, SIGKILL) == 0);
        CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        collect(round, fds);
        check_log(round + 1);
    }
    return 0;
}
