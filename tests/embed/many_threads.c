/*
 * Threads that come and go: after 2,000 one after another and many times 64 at once, which use the
 * library and end, the process has no more descriptors than before, and not much more memory nor
 * threads: those of Go, which stay for later, grow by a dozen on a busy machine. Threads with
 * small stacks, made by a timer, or calling the library when they end, work as well.
 */
#include "embed/cases.h"

#include <dmtr/ext.h>
#include <limits.h>
#include <time.h>

#ifdef __SANITIZE_ADDRESS__
#define RSS_MIB 128 /* keeps what is freed for a while */
#else
#define RSS_MIB 4
#endif

enum { IN_TURN = 2000, AT_ONCE = 64, ROUNDS = 10, SMALLEST = 64 << 10, RSS_KIB = RSS_MIB << 10, THREADS = 32, MAPPINGS = 128,
       END_ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS - 1 };

/* ---- what the process has ---- */

struct usage {
    int fds, threads, mappings;
    long kib;
};

static int lines(const char *path)
{
    int n = 0, c;
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    while ((c = fgetc(f)) != EOF)
        n += c == '\n';
    fclose(f);
    return n;
}

static struct usage usage(void)
{
    struct usage u;
    usleep(50000); /* threads that have been joined take a moment to vanish */
    u.fds = count_fds();
    u.threads = count_entries("/proc/self/task");
    u.mappings = lines("/proc/self/maps");
    u.kib = rss_kib();
    return u;
}

static void check_growth(const char *what, struct usage from, struct usage to)
{
    if (to.fds <= from.fds && to.threads <= from.threads + THREADS && to.mappings <= from.mappings + MAPPINGS && to.kib <= from.kib + RSS_KIB)
        return;
    fprintf(stderr, "%s: descriptors %d -> %d, threads %d -> %d, mappings %d -> %d, KiB %ld -> %ld\n", what, from.fds,
            to.fds, from.threads, to.threads, from.mappings, to.mappings, from.kib, to.kib);
    exit(1);
}

/* ---- threads ---- */

static pthread_barrier_t all_here;

static void use(int qd)
{
    dmtr_qtoken_t qt = q_start_pop(qd);
    CHECK_ERR(dmtr_wait_timeout(NULL, qt, 100000), ETIMEDOUT); /* sleeps */
    q_push(qd, "x", 1);
    q_wait_is(qt, "x", 1);
}

static void *use_once(void *arg)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    use(qd);
    CHECK_ERR(dmtr_close(qd), 0);
    return arg;
}

static void *echo_once(void *arg)
{
    int client, server;
    test_tcp_pair(&client, &server);
    q_push(client, "hello", 5);
    q_pop_is(server, "hello", 5);
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
    return use_once(arg);
}

static void *use_together(void *arg)
{
    pthread_barrier_wait(&all_here);
    use_once(arg);
    pthread_barrier_wait(&all_here);
    return arg;
}

static void in_turn(int n)
{
    pthread_t t;
    for (int i = 0; i < n; i++) {
        start_thread(&t, i % 10 ? use_once : echo_once, NULL);
        join_thread(t);
    }
}

static void at_once(int rounds)
{
    pthread_t t[AT_ONCE];
    CHECK_EQ(pthread_barrier_init(&all_here, NULL, AT_ONCE), 0);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < AT_ONCE; i++)
            start_thread(&t[i], use_together, NULL);
        for (int i = 0; i < AT_ONCE; i++)
            join_thread(t[i]);
    }
    pthread_barrier_destroy(&all_here);
}

static void test_growth(void)
{
    struct usage before;
    in_turn(50);
    before = usage();
    in_turn(IN_TURN);
    check_growth("in turn", before, usage());
    at_once(3);
    before = usage();
    at_once(ROUNDS);
    check_growth("at once", before, usage());
}

/* ---- small stacks ---- */

static void small_stack(size_t bytes)
{
    pthread_attr_t attr;
    pthread_t t;
    CHECK_EQ(pthread_attr_init(&attr), 0);
    CHECK_EQ(pthread_attr_setstacksize(&attr, bytes), 0);
    CHECK_EQ(pthread_create(&t, &attr, echo_once, NULL), 0);
    join_thread(t);
    pthread_attr_destroy(&attr);
}

/* ---- calls when a thread ends ---- */

static pthread_key_t key;
static int ends;

/* Runs in all rounds of destructors but the last, after which nothing can be tidied up. */
static void at_end(void *value)
{
    use_once(NULL);
    echo_once(NULL);
    __atomic_add_fetch(&ends, 1, __ATOMIC_SEQ_CST);
    intptr_t left = (intptr_t)value - 1;
    if (left > 0)
        pthread_setspecific(key, (void *)left);
}

static void *end_with_calls(void *arg)
{
    if (arg == NULL) /* else the first call is made at the end */
        use_once(NULL);
    pthread_setspecific(key, (void *)(intptr_t)END_ROUNDS);
    return NULL;
}

static void test_ends(int n)
{
    pthread_t t;
    for (int i = 0; i < n; i++) {
        int before = ends;
        start_thread(&t, end_with_calls, i % 2 ? &ends : NULL);
        join_thread(t);
        CHECK_EQ(ends, before + END_ROUNDS);
    }
}

/* ---- threads of timers ---- */

static volatile int ticks;

static void tick(union sigval v)
{
    (void)v;
    echo_once(NULL);
    __atomic_add_fetch(&ticks, 1, __ATOMIC_SEQ_CST);
}

static void test_timer(void)
{
    struct sigevent ev;
    struct itimerspec when = {{0, 2000000}, {0, 2000000}};
    timer_t timer;
    memset(&ev, 0, sizeof ev);
    ev.sigev_notify = SIGEV_THREAD;
    ev.sigev_notify_function = tick;
    CHECK(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
    CHECK(timer_settime(timer, 0, &when, NULL) == 0);
    while (ticks < 50)
        echo_once(NULL);
    CHECK(timer_delete(timer) == 0);
    usleep(50000);
}

int main(void)
{
    struct usage before;
    test_init();
    test_growth();
    small_stack(SMALLEST);
    CHECK_EQ(pthread_key_create(&key, at_end), 0); /* after the library's keys, so it runs after those */
    test_ends(20);
    before = usage();
    test_ends(200);
    check_growth("calls at the end", before, usage());
    test_timer();
    return 0;
}
