/*
 * Echo pairs under a storm of signals. Two parties, in two processes or in two threads, send bytes
 * to and fro by TCP or by memory queues and check every one, while handlers with large frames
 * interrupt both and call the library. What these calls must answer follows from where the handler
 * has hit: inside the library all give EBUSY, elsewhere they work.
 *
 * A program may define STORM_FRAME (bytes of stack of a handler) and STORM_ARM (which starts what
 * signals the calling thread; STORM_DISARM ends it) before it includes this file.
 */
#ifndef DMTR_TESTS_SIGNAL_STORM_H
#define DMTR_TESTS_SIGNAL_STORM_H

#include "signal/signals.h"

#ifndef STORM_FRAME
#define STORM_FRAME (32 * 1024)
#endif

enum { WINDOW = 64 * 1024, LONGEST = 20000, MOST_QUEUED = 1000, KILL_SIGNAL = SIGUSR1, CLIENT = 0, SERVER = 1 };
#define TIMER_SIGNAL (SIGRTMIN + 3)

/* A stream of chunks; the lengths and the bytes follow from their places. */
struct lane {
    uint32_t sent, received; /* chunks */
    uint64_t bytes_sent, bytes_received;
};

/* One end of an echo pair: a thread. Its handlers use it, too. */
struct party {
    pid_t pid, tid; /* 0: not ready for signals */
    int quiet;      /* the handlers do nothing any more */
    int waiting;    /* in dmtr_wait_any() */
    volatile int allocating; /* in malloc() or free(), where no handler may call what allocates */
    uint64_t inside, outside, asleep; /* where handlers have found it */
    timer_t timer;
    int spare, idle; /* memory queues; nobody pushes to idle */
    dmtr_qtoken_t idle_pop;
    int mail; /* memory queue from handlers to the main program */
    uint64_t mails_pushed, mails_popped;
    int second; /* a connection for handlers */
    struct lane second_lane;
    dmtr_qtoken_t second_push;
    unsigned char second_chunk[LONGEST];
    struct lane lane;
};

/* What all processes of a storm share. */
static struct storm {
    uint64_t signals, goal, echoed;
    int over;
    int calm; /* nobody signals from outside */
    int busy; /* signals come by processor time, so they find nobody asleep */
    struct sockaddr_in addr;
    struct mishap mishap;
    struct party parties[2];
} *storm;

static __thread struct party *me;
static __thread int depth; /* handlers running on this thread */

/* ---- chunks ---- */

static uint32_t chunk_length(uint32_t k) { return k % 97 == 0 ? LONGEST : 1 + (k * 2654435761u >> 16) % 3000; }

static dmtr_sgarray_t next_chunk(struct lane *lane, unsigned char *buf)
{
    uint32_t len = chunk_length(lane->sent);
    fill(buf, len, 7, lane->bytes_sent);
    return test_sga(buf, len);
}

static void sent_chunk(struct lane *lane)
{
    lane->bytes_sent += chunk_length(lane->sent);
    lane->sent++;
}

static void received(struct lane *lane, const dmtr_sgarray_t *sga)
{
    const char *framing = getenv("DMTR_FRAMING");
    CHECK_EQ(sga->sga_numsegs, 1);
    if (framing == NULL || strcmp(framing, "stream") != 0)
        CHECK_EQ(sga->sga_segs[0].sgaseg_len, chunk_length(lane->received));
    check_fill(sga->sga_segs[0].sgaseg_buf, sga->sga_segs[0].sgaseg_len, 7, lane->bytes_received);
    lane->received++;
    lane->bytes_received += sga->sga_segs[0].sgaseg_len;
    CHECK(lane->bytes_received <= lane->bytes_sent);
}

/* ---- what handlers do ---- */

#define EXPECT(call, elsewhere) NOTE(&storm->mishap, call, inside ? EBUSY : (elsewhere))

static void handler_mails(struct party *p, int inside)
{
    static char byte;
    dmtr_sgarray_t sga = test_sga(&byte, 1);
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    if (p->mails_pushed - p->mails_popped > MOST_QUEUED)
        return;
    sga.sga_buf = (void *)(uintptr_t)(p->mails_pushed + 1);
    EXPECT(dmtr_push(&qt, p->mail, &sga), 0);
    if (inside) {
        NOTE(&storm->mishap, qt, 0);
        return;
    }
    p->mails_pushed++;
    EXPECT(dmtr_poll(&qr, qt), 0);
    NOTE(&storm->mishap, qr.qr_value.sga.sga_buf, sga.sga_buf);
    EXPECT(dmtr_drop(qt), 0);
}

static void handler_sends(struct party *p, int inside)
{
    dmtr_sgarray_t sga;
    if (p->second == 0)
        return;
    if (inside) {
        dmtr_qtoken_t qt = 0;
        sga = test_sga(p, 1);
        EXPECT(dmtr_push(&qt, p->second, &sga), EBUSY);
        EXPECT(dmtr_poll(NULL, p->second_push), EBUSY);
        EXPECT(dmtr_drop(p->second_push), EBUSY);
        return;
    }
    if (p->second_push != 0) {
        int err = dmtr_poll(NULL, p->second_push);
        if (err == EAGAIN)
            return;
        EXPECT(err, 0);
        EXPECT(dmtr_drop(p->second_push), 0);
        p->second_push = 0;
    }
    if (p->second_lane.bytes_sent - p->second_lane.bytes_received > WINDOW)
        return;
    sga = next_chunk(&p->second_lane, p->second_chunk);
    EXPECT(dmtr_push(&p->second_push, p->second, &sga), 0);
    sent_chunk(&p->second_lane);
}

static void handler_opens_and_closes(struct party *p, int inside)
{
    int qd = p->spare;
    if (any(2) == 0) {
        EXPECT(dmtr_close(p->spare), 0);
        EXPECT(dmtr_close(p->spare), ENOENT);
        EXPECT(dmtr_queue(&p->spare), 0);
    } else {
        EXPECT(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
        EXPECT(dmtr_close(qd), 0);
    }
    if (inside)
        NOTE(&storm->mishap, qd, p->spare);
}

static void handler_waits(struct party *p, int inside)
{
    int at = 0;
    EXPECT(dmtr_poll(NULL, p->idle_pop), EAGAIN);
    EXPECT(dmtr_wait_timeout(NULL, p->idle_pop, 0), ETIMEDOUT);
    EXPECT(dmtr_wait_any_timeout(NULL, &at, &p->idle_pop, 1, 0), ETIMEDOUT);
    EXPECT(dmtr_wait(NULL, 12345), ENOENT);
    EXPECT(dmtr_drop(12345), ENOENT);
}

static void handler_acts(struct party *p)
{
    int flag, inside = dmtr_is_qd_valid(&flag, p->mail) == EBUSY;
    p->inside += inside;
    p->outside += !inside;
    p->asleep += !inside && p->waiting;
    EXPECT(dmtr_close(INT32_MAX), ENOENT);
    if (depth > 1) /* what the handler interrupted is doing must be left alone */
        return;
    switch (any(5)) {
    case 0: handler_mails(p, inside); break;
    case 1: handler_sends(p, inside); break;
    case 2: handler_opens_and_closes(p, inside); break;
    case 3: handler_waits(p, inside); break;
    }
    EXPECT(dmtr_is_qd_valid(&flag, p->mail), 0);
}

/* Every handler calls this; errno stays as it is. */
static void interrupted(void)
{
    int err = errno;
    depth++;
    NOTE(&storm->mishap, me != NULL, 1); /* else a thread that is not the program's has got it */
    if (me != NULL && !me->quiet) {
        if (!me->allocating)
            handler_acts(me);
        __atomic_fetch_add(&storm->signals, 1, __ATOMIC_RELAXED);
    }
    depth--;
    errno = err;
}

static void on_signal(int sig)
{
    unsigned char frame[STORM_FRAME];
    frame_fill(frame, sizeof frame, sig);
    interrupted();
    if (sig == TIMER_SIGNAL && me != NULL && !me->quiet)
        timer_soon(me->timer, 100);
    NOTE(&storm->mishap, frame_ok(frame, sizeof frame, sig), 1);
}

/* ---- what both parties do ---- */

#ifndef STORM_ARM
#define STORM_ARM arm_timer
#define STORM_DISARM disarm_timer
static void arm_timer(struct party *p)
{
    handle(TIMER_SIGNAL, on_signal, 0); /* no SA_RESTART */
    p->timer = thread_timer(TIMER_SIGNAL);
    timer_soon(p->timer, 100);
}

static void disarm_timer(struct party *p) { CHECK(timer_delete(p->timer) == 0); }
#endif

static void party_begin(struct party *p)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, KILL_SIGNAL);
    CHECK_ERR(dmtr_queue(&p->spare), 0);
    CHECK_ERR(dmtr_queue(&p->idle), 0);
    CHECK_ERR(dmtr_queue(&p->mail), 0);
    p->idle_pop = q_start_pop(p->idle);
    me = p;
    CHECK(signal(KILL_SIGNAL, on_signal) != SIG_ERR);
    STORM_ARM(p);
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    p->tid = (pid_t)syscall(SYS_gettid);
    __atomic_store_n(&p->pid, getpid(), __ATOMIC_RELEASE);
}

/* Ends the work of the handlers; what they have begun is still to be collected. */
static void party_quiet(struct party *p)
{
    p->quiet = 1;
    STORM_DISARM(p);
    if (p->second_push != 0)
        CHECK_ERR(dmtr_wait(NULL, p->second_push), 0);
    p->second_push = 0;
}

static void party_end(struct party *p, dmtr_qtoken_t mail_pop)
{
    if (p->mails_popped < p->mails_pushed) {
        CHECK_ERR(dmtr_wait(NULL, mail_pop), 0);
        p->mails_popped++;
        for (; p->mails_popped < p->mails_pushed; p->mails_popped++)
            CHECK_ERR(dmtr_wait(NULL, q_start_pop(p->mail)), 0);
        mail_pop = q_start_pop(p->mail);
    }
    CHECK_ERR(dmtr_poll(NULL, mail_pop), EAGAIN);
    CHECK_ERR(dmtr_close(p->mail), 0);
    CHECK_ERR(dmtr_close(p->spare), 0);
    CHECK_ERR(dmtr_close(p->idle), 0);
}

/* dmtr_wait_any(), which has to succeed. */
static int party_waits(struct party *p, dmtr_qresult_t *qr, dmtr_qtoken_t *qts, int n)
{
    int at = -1;
    p->waiting = 1;
    int err = dmtr_wait_any(qr, &at, qts, n);
    p->waiting = 0;
    if (err != ECONNABORTED) /* which a server gets in the end */
        CHECK_ERR(err, 0);
    CHECK(at >= 0 && at < n && qr->qr_qt == qts[at]);
    return err == 0 ? at : -at;
}

static void party_frees(struct party *p, void *block)
{
    p->allocating = 1;
    free(block);
    p->allocating = 0;
}

/* A mail from a handler: they arrive in order. */
static dmtr_qtoken_t took_mail(struct party *p, const dmtr_qresult_t *qr)
{
    CHECK_EQ(qr->qr_value.sga.sga_buf, p->mails_popped + 1);
    p->mails_popped++;
    return q_start_pop(p->mail);
}

/* Whether signals have found the parties wherever they can. */
static int hit_everywhere(void)
{
    const struct party *p = storm->parties;
    return p[0].inside + p[1].inside > 0 && p[0].outside + p[1].outside > 0 &&
           (storm->busy || !wait_mode_is("block") || p[0].asleep + p[1].asleep > 0);
}

/* A place that is rarely hit may take more signals than were asked for; report() tells if one is not hit at all. */
static int goal_reached(void)
{
    enum { PATIENCE = 20 };
    uint64_t signals = __atomic_load_n(&storm->signals, __ATOMIC_RELAXED);
    check_no_mishap(&storm->mishap, "signal/storm.h");
    return signals >= storm->goal && (hit_everywhere() || signals >= PATIENCE * storm->goal);
}

/* ---- TCP ---- */

static int connect_to_server(void)
{
    int qd = 0;
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_connect(qd, ADDR(&storm->addr), sizeof storm->addr), 0);
    return qd;
}

static inline void tcp_client(struct party *p)
{
    enum { MAIL, SECOND, POP, PUSH };
    static unsigned char chunk[LONGEST];
    dmtr_qtoken_t qts[4];
    while (__atomic_load_n(&storm->addr.sin_port, __ATOMIC_ACQUIRE) == 0)
        usleep(100);
    int qd = connect_to_server();
    p->second = connect_to_server();
    party_begin(p);
    qts[MAIL] = q_start_pop(p->mail);
    qts[SECOND] = q_start_pop(p->second);
    qts[POP] = q_start_pop(qd);
    int pushing = 0;
    for (;;) {
        dmtr_qresult_t qr;
        if (!p->quiet && goal_reached())
            party_quiet(p);
        if (!p->quiet && !pushing && p->lane.bytes_sent - p->lane.bytes_received < WINDOW) {
            dmtr_sgarray_t sga = next_chunk(&p->lane, chunk);
            CHECK_ERR(dmtr_push(&qts[PUSH], qd, &sga), 0);
            sent_chunk(&p->lane);
            pushing = 1;
        }
        if (p->quiet && !pushing && p->lane.bytes_received == p->lane.bytes_sent &&
            p->second_lane.bytes_received == p->second_lane.bytes_sent)
            break;
        int at = party_waits(p, &qr, qts, 3 + pushing);
        if (at == PUSH) {
            pushing = 0;
        } else if (at == MAIL) {
            qts[MAIL] = took_mail(p, &qr);
        } else {
            received(at == POP ? &p->lane : &p->second_lane, &qr.qr_value.sga);
            party_frees(p, qr.qr_value.sga.sga_buf);
            qts[at] = q_start_pop(qr.qr_qd);
        }
    }
    storm->echoed = p->lane.bytes_received + p->second_lane.bytes_received;
    CHECK(p->lane.received > 100);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(p->second), 0);
    party_end(p, qts[MAIL]);
}

static inline void tcp_server(struct party *p)
{
    enum { MAIL, CONNECTIONS = 3 }; /* connections are in places 1 and 2 */
    struct sockaddr_in addr;
    dmtr_qtoken_t qts[CONNECTIONS];
    void *blocks[CONNECTIONS] = {NULL};
    int n = CONNECTIONS, listener = test_listen(&addr);
    storm->addr.sin_addr = addr.sin_addr;
    storm->addr.sin_family = AF_INET;
    __atomic_store_n(&storm->addr.sin_port, addr.sin_port, __ATOMIC_RELEASE);
    for (int i = 1; i < n; i++)
        qts[i] = q_start_pop(q_accept(listener));
    party_begin(p);
    qts[MAIL] = q_start_pop(p->mail);
    while (n > 1) {
        dmtr_qresult_t qr;
        int at = party_waits(p, &qr, qts, n);
        if (at < 0) { /* the client has closed it */
            CHECK_ERR(dmtr_close(qr.qr_qd), 0);
            n--;
            qts[-at] = qts[n];
            blocks[-at] = blocks[n];
        } else if (at == MAIL) {
            qts[MAIL] = took_mail(p, &qr);
        } else if (qr.qr_opcode == DMTR_OPC_POP) {
            blocks[at] = qr.qr_value.sga.sga_buf;
            CHECK_ERR(dmtr_push(&qts[at], qr.qr_qd, &qr.qr_value.sga), 0);
        } else {
            party_frees(p, blocks[at]);
            qts[at] = q_start_pop(qr.qr_qd);
        }
    }
    party_quiet(p);
    CHECK_ERR(dmtr_close(listener), 0);
    party_end(p, qts[MAIL]);
}

/* ---- storms ---- */

/* Signals the parties from another process, at random moments, until the storm is over. */
static void kill_at_random(void)
{
    prctl(PR_SET_TIMERSLACK, 1);
    while (!storm->calm && !__atomic_load_n(&storm->over, __ATOMIC_RELAXED) && !goal_reached()) {
        struct party *p = &storm->parties[any(2)];
        pid_t pid = __atomic_load_n(&p->pid, __ATOMIC_ACQUIRE);
        if (pid != 0 && any(2) == 0)
            kill(pid, KILL_SIGNAL);
        else if (pid != 0)
            syscall(SYS_tgkill, pid, p->tid, KILL_SIGNAL);
        usleep(any(100));
    }
}

static void report(const char *name, uint64_t from_us)
{
    uint64_t inside = 0, outside = 0, asleep = 0;
    for (int i = 0; i < 2; i++) {
        inside += storm->parties[i].inside;
        outside += storm->parties[i].outside;
        asleep += storm->parties[i].asleep;
    }
    printf("%s, %s: %llu signals in %llu ms, %llu inside the library, %llu outside, of these %llu asleep; %llu echoed\n", name,
           getenv("DMTR_WAIT"), (unsigned long long)storm->signals, (unsigned long long)(now_us() - from_us) / 1000,
           (unsigned long long)inside, (unsigned long long)outside, (unsigned long long)asleep, (unsigned long long)storm->echoed);
    check_no_mishap(&storm->mishap, "signal/storm.h");
    CHECK(storm->signals >= storm->goal);
    CHECK(hit_everywhere());
}

static void storm_begin(uint64_t goal)
{
    if (storm == NULL)
        storm = (struct storm *)shared_memory(sizeof *storm);
    storm->goal = goal;
}

/* A storm over two processes. */
static inline void storm_processes(const char *name, uint64_t goal)
{
    void (*const roles[])(struct party *) = {tcp_client, tcp_server};
    uint64_t from = now_us();
    pid_t pids[2];
    storm_begin(goal);
    for (int i = 0; i < 2; i++) {
        pids[i] = fork_child();
        if (pids[i] == 0) {
            CHECK_ERR(dmtr_init(0, NULL), 0);
            roles[i](&storm->parties[i]);
            exit(0);
        }
    }
    kill_at_random();
    for (int i = 0; i < 2; i++) {
        int status = -1;
        CHECK(waitpid(pids[i], &status, 0) == pids[i]);
        if (status != 0) {
            check_no_mishap(&storm->mishap, "signal/storm.h");
            fprintf(stderr, "the %s has ended with wait status 0x%x\n", i == CLIENT ? "client" : "server", (unsigned)status);
            exit(1);
        }
    }
    report(name, from);
}

#endif
