/*
 * pthread_cancel() of a thread in the library: no call is a cancellation point, not even a thread's
 * first one or a wait that sleeps. The thread acts on it afterwards, and the library goes on for
 * others. In each wait mode.
 */
#include "net/peer.h"

#include <dmtr/ext.h>

enum call { FOR_ONE, FOR_ANY, FOR_ALL, FOR_A_TIME, FIRST_USE, CALLS };

struct victim {
    enum call what;
    int qd, fd;
    volatile int entered, left, cleaned; /* times */
    int err;
};

static void clean(void *arg)
{
    ((struct victim *)arg)->cleaned++;
}

static void make_call(struct victim *v)
{
    dmtr_qtoken_t qts[2];
    dmtr_qresult_t qrs[2];
    int at, qd = 0, client, server;
    memset(qrs, 0, sizeof qrs);
    if (v->what == FIRST_USE) {
        v->err = dmtr_queue(&qd);
        if (v->err == 0)
            v->err = dmtr_close(qd);
        test_tcp_pair(&client, &server); /* with everything that a connection needs */
        q_push(client, "hello", 5);
        q_pop_is(server, "hello", 5);
        CHECK_ERR(dmtr_close(client), 0);
        CHECK_ERR(dmtr_close(server), 0);
        return;
    }
    qts[0] = q_start_pop(v->qd);
    if (v->what == FOR_ONE)
        v->err = dmtr_wait(qrs, qts[0]);
    else if (v->what == FOR_ANY)
        v->err = dmtr_wait_any(qrs, &at, qts, 1);
    else if (v->what == FOR_ALL) {
        qts[1] = q_start_pop(v->qd);
        v->err = dmtr_wait_all(qrs, qts, 2);
        free(qrs[1].qr_value.sga.sga_buf);
    } else
        v->err = dmtr_wait_timeout(qrs, qts[0], 100000000);
    free(qrs[0].qr_value.sga.sga_buf);
}

static void *run(void *arg)
{
    struct victim *v = (struct victim *)arg;
    pthread_cleanup_push(clean, v);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    v->entered = 1;
    if (v->what == FIRST_USE)
        while (v->entered != 2) /* until it has been cancelled */
            usleep(100);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    make_call(v);
    v->left = 1;
    pthread_testcancel();
    v->left = 2;
    pthread_cleanup_pop(0);
    return NULL;
}

/* An echo by this thread, to see that nothing is locked. */
static void echo(void)
{
    int fd, qd = q_pair(&fd);
    unsigned char want[200];
    fill(want, sizeof want, 7, 0);
    plain_send_message(fd, sizeof want, 7);
    q_pop_is(qd, want, sizeof want);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void test(enum call what)
{
    struct victim v;
    pthread_t t;
    void *result = NULL;
    memset(&v, 0, sizeof v);
    v.what = what;
    v.qd = q_pair(&v.fd);
    v.err = -1;
    start_thread(&t, run, &v);
    while (!v.entered)
        usleep(100);
    if (what != FIRST_USE)
        usleep(20000);
    CHECK_EQ(pthread_cancel(t), 0);
    v.entered = 2;
    if (what != FIRST_USE) {
        usleep(20000);
        CHECK_EQ(v.left, 0);
        echo();
    }
    if (what != FIRST_USE && what != FOR_A_TIME) {
        plain_send_message(v.fd, 100, 1);
        plain_send_message(v.fd, 100, 2);
    }
    CHECK_EQ(pthread_join(t, &result), 0);
    if (v.left != 1)
        fprintf(stderr, "call %d:\n", (int)what);
    CHECK(result == PTHREAD_CANCELED);
    CHECK_EQ(v.left, 1);
    CHECK_EQ(v.cleaned, 1);
    CHECK_ERR(v.err, what == FOR_A_TIME ? ETIMEDOUT : 0);
    echo();
    CHECK_ERR(dmtr_close(v.qd), 0);
    CHECK(close(v.fd) == 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        run_in_wait_modes(NULL);
        return 0;
    }
    fprintf(stderr, "mode %s\n", argv[1]);
    test_init();
    alarm(15);
    for (int round = 0; round < 5; round++)
        for (int what = FOR_ONE; what < CALLS; what++)
            test((enum call)what);
    return 0;
}
