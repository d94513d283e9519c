/*
 * Bad pointers given to the library: the call or the token reports EFAULT, or the program ends by
 * SIGSEGV as if it had used the pointer itself, or the library reports one internal error, gives EIO
 * and goes on giving EIO, also to a thread that waits. It never hangs. What happens in which case is
 * written down in the table at the end.
 */
#include "embed/cases.h"

#include <dmtr/ext.h>

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1 /* has handlers of its own */
#else
#define SANITIZED 0
#endif

enum { SMALL = 64, BIG = 1 << 20 };
static unsigned char *bad; /* memory that must not be touched */
static int waiting_for;    /* what another thread waits for meanwhile */
static dmtr_qtoken_t waiting_pop;

static void *wait_long(void *arg)
{
    *(int *)arg = dmtr_wait(NULL, waiting_pop);
    return NULL;
}

/*
 * What is left of the library after the call has returned rc. Exits: 0 if all goes on, 10 if it gives
 * EIO only; fails otherwise.
 */
static void look_around(int rc, pthread_t waiter, int *waited)
{
    int qd = 0, flag, bad_qd = 0;
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = test_sga(&qd, sizeof qd);
    if (rc != EIO) {
        int fd = -1;
        CHECK_ERR(rc, EFAULT);
        qd = q_pair(&fd);
        plain_send_message(fd, 100, 1);
        unsigned char want[100];
        fill(want, sizeof want, 1, 0);
        q_pop_is(qd, want, sizeof want);
        q_push(waiting_for, "x", 1);
        join_thread(waiter);
        CHECK_EQ(*waited, 0);
        exit(0);
    }
    join_thread(waiter);
    CHECK_ERR(*waited, EIO);
    CHECK_ERR(dmtr_queue(&bad_qd), EIO);
    CHECK_ERR(dmtr_socket(&bad_qd, AF_INET, SOCK_STREAM, 0), EIO);
    CHECK_ERR(dmtr_open(&bad_qd, "/dev/null", O_RDONLY), EIO);
    CHECK_ERR(dmtr_close(waiting_for), EIO);
    CHECK_ERR(dmtr_push(&qt, waiting_for, &sga), EIO);
    CHECK_ERR(dmtr_pop(&qt, waiting_for), EIO);
    CHECK_ERR(dmtr_pop2(&qt, waiting_for, 3), EIO);
    CHECK_ERR(dmtr_is_qd_valid(&flag, waiting_for), EIO);
    CHECK_ERR(dmtr_init(0, NULL), EPERM);
    CHECK_ERR(dmtr_stop(), 0);
    CHECK_ERR(dmtr_resume(), 0);
    exit(10);
}

/* ---- the calls ---- */

static dmtr_sgarray_t bad_sga(size_t len, int good_segs)
{
    static unsigned char good[SMALL];
    dmtr_sgarray_t sga = test_sga(bad, (uint32_t)len);
    if (good_segs) {
        sga.sga_numsegs = 3;
        sga.sga_segs[1] = sga.sga_segs[0];
        sga.sga_segs[0].sgaseg_buf = sga.sga_segs[2].sgaseg_buf = good;
        sga.sga_segs[0].sgaseg_len = sga.sga_segs[2].sgaseg_len = sizeof good;
    }
    return sga;
}

static int push_bad(int qd, size_t len, int good_segs, const struct sockaddr_in *to)
{
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = bad_sga(len, good_segs);
    if (to != NULL)
        sga.sga_addr = *to;
    int rc = dmtr_push(&qt, qd, &sga);
    return rc != 0 ? rc : dmtr_wait(NULL, qt);
}

static int tcp_queue(void)
{
    int client, server;
    test_tcp_pair(&client, &server);
    q_push(client, "x", 1); /* from now on it is served the short way */
    q_pop_is(server, "x", 1);
    return client;
}

static int tcp_small(void) { return push_bad(tcp_queue(), SMALL, 0, NULL); }
static int tcp_big(void) { return push_bad(tcp_queue(), BIG, 0, NULL); }
static int tcp_segments(void) { return push_bad(tcp_queue(), SMALL, 1, NULL); }
static int tcp_big_segments(void) { return push_bad(tcp_queue(), BIG, 1, NULL); }

/* The beginning is good, the rest is not; it is reached after part has been sent. */
static int tcp_half(void)
{
    CHECK(mprotect(bad, BIG / 2, PROT_READ | PROT_WRITE) == 0);
    return push_bad(tcp_queue(), BIG, 0, NULL);
}

static int udp(size_t len, int good_segs)
{
    struct sockaddr_in a, b;
    int from = q_udp(&a);
    q_udp(&b);
    return push_bad(from, len, good_segs, &b);
}

static int udp_small(void) { return udp(SMALL, 0); }
static int udp_big(void) { return udp(30000, 0); }
static int udp_segments(void) { return udp(SMALL, 1); }

static int file(size_t len, int good_segs)
{
    char dir[256], path[300];
    int qd = 0;
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/f", dir);
    CHECK_ERR(dmtr_creat(&qd, path, 0600), 0);
    CHECK(remove(path) == 0 && remove(dir) == 0);
    return push_bad(qd, len, good_segs, NULL);
}

static int file_small(void) { return file(SMALL, 0); }
static int file_big(void) { return file(BIG, 0); }
static int file_segments(void) { return file(BIG, 1); }

static int bad_array(void)
{
    dmtr_qtoken_t qt;
    return dmtr_push(&qt, tcp_queue(), (dmtr_sgarray_t *)bad);
}

static int bad_qt_out(void)
{
    dmtr_sgarray_t sga = test_sga((void *)"x", 1);
    return dmtr_push((dmtr_qtoken_t *)bad, tcp_queue(), &sga);
}

static int bad_accept_out(void)
{
    struct sockaddr_in addr;
    return dmtr_accept((dmtr_qtoken_t *)bad, test_listen(&addr));
}

static int bad_qd_out(void) { return dmtr_queue((int *)bad); }
static int bad_path(void)
{
    int qd;
    return dmtr_open(&qd, (char *)bad, O_RDONLY);
}

static int bad_address(void)
{
    int qd = 0;
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    return dmtr_bind(qd, (struct sockaddr *)bad, sizeof(struct sockaddr_in));
}

static int bad_tokens(void) { return dmtr_wait_any(NULL, NULL, (dmtr_qtoken_t *)bad, 100); }

static int bad_result(void)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    dmtr_qtoken_t qt = q_start_push(qd, "x", 1);
    return dmtr_wait((dmtr_qresult_t *)bad, qt);
}

static int bad_offset(void)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    dmtr_qtoken_t qt = q_start_push(qd, "x", 1);
    return dmtr_wait_any(NULL, (int *)bad, &qt, 1);
}

enum ends { FAULT = 1, DIES, BROKEN };
static const struct {
    const char *name;
    int (*run)(void);
    enum ends ends;
} cases[] = {
    {"tcp_small", tcp_small, DIES},
    {"tcp_big", tcp_big, FAULT},
    {"tcp_segments", tcp_segments, BROKEN},
    {"tcp_big_segments", tcp_big_segments, FAULT},
    {"tcp_half", tcp_half, FAULT},
    {"udp_small", udp_small, BROKEN},
    {"udp_big", udp_big, FAULT},
    {"udp_segments", udp_segments, BROKEN},
    {"file_small", file_small, FAULT},
    {"file_big", file_big, FAULT},
    {"file_segments", file_segments, FAULT},
    {"bad_array", bad_array, DIES},
    {"bad_qt_out", bad_qt_out, DIES},
    {"bad_accept_out", bad_accept_out, BROKEN},
    {"bad_qd_out", bad_qd_out, BROKEN},
    {"bad_path", bad_path, BROKEN},
    {"bad_address", bad_address, DIES},
    {"bad_tokens", bad_tokens, DIES},
    {"bad_result", bad_result, DIES},
    {"bad_offset", bad_offset, DIES},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static void run_case(const char *name)
{
    pthread_t t;
    int waited = -1, i;
    no_core_file();
    test_init();
    alarm(5);
    bad = (unsigned char *)mmap(NULL, BIG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(bad != MAP_FAILED);
    CHECK_ERR(dmtr_queue(&waiting_for), 0);
    waiting_pop = q_start_pop(waiting_for); /* here, because the thread may come late */
    start_thread(&t, wait_long, &waited);
    usleep(20000);
    for (i = 0; strcmp(cases[i].name, name) != 0; i++)
        CHECK(i + 1 < CASES);
    int rc = cases[i].run();
    look_around(rc, t, &waited);
}

int main(int argc, char **argv)
{
    if (SANITIZED)
        skip("the sanitizer handles faults itself");
    if (argc > 1)
        run_case(argv[1]);
    test_watchdog();
    for (int i = 0; i < CASES; i++) {
        struct outcome o = case_run(cases[i].name);
        int fault = o.status == 0 && o.err[0] == 0;
        int dies = WIFSIGNALED(o.status) && WTERMSIG(o.status) == SIGSEGV && o.err[0] == 0;
        int broken = WIFEXITED(o.status) && WEXITSTATUS(o.status) == 10 && one_line(o.err);
        enum ends ends = fault ? FAULT : dies ? DIES : broken ? BROKEN : (enum ends)0;
        if (ends != cases[i].ends)
            case_fail(cases[i].name, &o);
    }
    return cases_failed != 0;
}
