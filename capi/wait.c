/*
 * Waiting. A wait looks for its tokens, drives the engine for a while, looks again, and in the end
 * sleeps, as the wait mode has it. It sleeps here and not in Go, so that signal handlers run on the
 * program's own stack and no Go processor is held.
 */
#define _GNU_SOURCE
#include "front.h"
#include "hot.h"
#include "token.h"
#include "waiter.h"

#include "_cgo_export.h"

#include <dmtr/ext.h>
#include <dmtr/latency.h>
#include <dmtr/libos.h>
#include <dmtr/wait.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPIN_ROUNDS = 64,      /* polls of the devices before anything else is looked at */
    ADAPTIVE_ROUNDS = 16,  /* the same, when the time has to be looked at, too */
    HOT_ROUNDS = 16,       /* polls of the hot sockets alone before one of all */
    YIELD_AFTER_NS = 10000, /* an adaptive spin longer than this lets others have the core */
    CROWDED_AFTER_NS = 4000, /* a yield that takes longer has let somebody else run */
    POLL_EVERY = 8,        /* results handed out from memory before the devices are polled all the same */
    WALK_AT_ONCE = 16,     /* arrays up to this size are looked through on entry */
    WALK_SLICE = 64,       /* tokens of a longer one looked at between polls */
    WALK_PAUSE_NS = 1000000, /* longest sleep while part of the array has not been looked at */
    PARKED_SEEN = 256,     /* parked tokens looked at for the sake of order */
    SEARCHES = 4           /* searches of the whole array for one token, a call */
};

/* Results handed out since the devices were last polled. */
static uint32_t unpolled;

/* Where the walks of long arrays go on. */
static uint32_t cursor;

/* Where wait_any last found a token; the program tends to put the next one there. */
static uint32_t last_offset;

/*
 * Counts what a wait_any that sleeps or spins must look through its whole array for again: tokens
 * that another wait has parked, and tokens dropped.
 */
static uint64_t changes;

static void drive(int rounds)
{
    unpolled = 0;
    dmtrGoDrive(rounds);
}

/* Polls until something completes, another thread wants the lock, or so many rounds have passed. */
static void drive_spinning(int rounds)
{
    uint64_t seq = dmtr_ctl->seq;
    for (int i = 0; i < rounds && hot_ready(); i++) {
        int progress = hot_receive();
        if (!progress && i % HOT_ROUNDS == HOT_ROUNDS - 1)
            drive(1);
        if (progress || dmtr_ctl->seq != seq || __atomic_load_n(&dmtr_ctl->want, __ATOMIC_RELAXED) != 0)
            return;
    }
    drive(hot_ready() ? 1 : rounds);
}

/* Hands out a completed token's result, and frees the token. */
static int hand_out(struct dmtr_token *t, dmtr_qresult_t *qr_out)
{
    int err = (int)t->err;
    int accepted = 0;
    if (qr_out != NULL)
        *qr_out = t->result;
    else if (!(t->flags & FLAG_SEEN)) {
        if (t->flags & FLAG_OWNED)
            free(t->result.qr_value.sga.sga_buf);
        else if (t->result.qr_opcode == DMTR_OPC_ACCEPT && err == 0)
            accepted = t->result.qr_value.ares.qd;
    }
    token_release(t);
    if (accepted != 0)
        dmtrGoClose(accepted);
    unpolled++;
    return err;
}

/* Polls the devices if enough results have been handed out since they were. */
static void poll_in_turn(void)
{
    if (unpolled < POLL_EVERY)
        return;
    uint64_t seq = dmtr_ctl->seq;
    drive(1);
    if (dmtr_ctl->blocked != 0 && dmtr_ctl->seq != seq)
        dmtr_wake_all();
}

static int take(struct dmtr_token *t, dmtr_qresult_t *qr_out)
{
    int err = hand_out(t, qr_out);
    poll_in_turn();
    return err;
}

/* Reports a token that has no result, for the reason given. */
static int no_result(int err, dmtr_qtoken_t qt, dmtr_qresult_t *qr_out)
{
    if (qr_out != NULL) {
        memset(qr_out, 0, sizeof *qr_out);
        qr_out->qr_qd = (int)QT2QD(qt);
        qr_out->qr_qt = qt;
    }
    return err;
}

/* One wait, and how it has passed its time so far. */
struct wait {
    uint64_t until_ns; /* when it ends in any case; 0: after one step */
    uint64_t pause_ns; /* longest sleep; 0: any length */
    uint64_t seq;      /* completions there were when the tokens were last looked at */
    uint64_t start_ns; /* of an adaptive spin */
    int stepped;       /* the devices have been polled */
    int awake;         /* do not sleep */
};

/* A wait of so many nanoseconds from now. */
static struct wait begin(uint64_t timeout_ns)
{
    struct wait w = {timeout_ns, 0, 0, 0, 0, timeout_ns == 0};
    if (timeout_ns != 0 && timeout_ns != DMTR_FOREVER) {
        uint64_t now = dmtr_now_ns();
        w.until_ns = timeout_ns < DMTR_FOREVER - now ? now + timeout_ns : DMTR_FOREVER;
    }
    return w;
}

/* Why a wait that has found nothing should end, or 0. */
static int give_up(const struct wait *w)
{
    if (dmtr_ctl->broken) {
        dmtr_wake_all();
        return EIO;
    }
    if (!w->stepped)
        return 0;
    if (waiter_stopped())
        return EINTR;
    return w->until_ns != DMTR_FOREVER && dmtr_now_ns() >= w->until_ns ? ETIMEDOUT : 0;
}

/* Lets others have the core, and tells whether any took it. */
static int yield_core(void)
{
    uint64_t from = dmtr_now_ns();
    sched_yield();
    return dmtr_now_ns() - from > CROWDED_AFTER_NS;
}

/* Whether the spin of an adaptive wait has lasted long enough. */
static int spun_enough(struct wait *w, int *yield)
{
    uint64_t now = dmtr_now_ns();
    if (w->start_ns == 0)
        w->start_ns = now;
    *yield = now - w->start_ns > YIELD_AFTER_NS;
    return now - w->start_ns >= waiter_budget_ns(now);
}

static int rounds(const struct wait *w, uint32_t mode)
{
    if (w->until_ns == 0)
        return 1;
    if (mode == WAIT_SPIN)
        return SPIN_ROUNDS;
    return mode == WAIT_ADAPTIVE && waiter_spins() ? ADAPTIVE_ROUNDS : 1;
}

/* When a sleep must end. */
static uint64_t sleep_until(const struct wait *w)
{
    uint64_t pause_end = w->pause_ns == 0 ? DMTR_FOREVER : dmtr_now_ns() + w->pause_ns;
    return pause_end < w->until_ns ? pause_end : w->until_ns;
}

/*
 * One step of waiting, with the lock held, which it may let go for a while. Returns when something
 * may have completed or after a short time.
 */
static void step(struct wait *w)
{
    uint32_t mode = dmtr_ctl->wait_mode;
    w->stepped = 1;
    drive_spinning(rounds(w, mode));
    if (dmtr_ctl->seq != w->seq) {
        if (dmtr_ctl->blocked != 0)
            dmtr_wake_all();
        return;
    }
    int yield = 0;
    if (!w->awake && (mode == WAIT_BLOCK || (mode == WAIT_ADAPTIVE && spun_enough(w, &yield)))) {
        waiter_sleep(w->seq, sleep_until(w));
        w->start_ns = 0;
    } else if (yield || __atomic_load_n(&dmtr_ctl->want, __ATOMIC_RELAXED) != 0) {
        dmtr_unlock();
        int crowded = yield && yield_core();
        dmtr_lock_yield();
        dmtr_lock();
        if (crowded)
            waiter_crowded(dmtr_now_ns());
    }
}

DMTR_EXPORT int dmtr_wait_timeout(dmtr_qresult_t *qr_out, dmtr_qtoken_t qt, uint64_t timeout_ns)
{
    ENTER_API();
    struct wait w = begin(timeout_ns);
    dmtr_lock();
    for (;;) {
        w.seq = dmtr_ctl->seq;
        struct dmtr_token *t = token_find(qt);
        int pending = t != NULL && !token_done(t);
        int end = pending ? give_up(&w) : 0;
        if (!pending || end != 0) {
            int rc = t == NULL ? no_result(ENOENT, qt, qr_out) : pending ? no_result(end, qt, qr_out) : take(t, qr_out);
            dmtr_unlock();
            return rc;
        }
        step(&w);
    }
}

DMTR_EXPORT int dmtr_wait(dmtr_qresult_t *qr_out, dmtr_qtoken_t qt)
{
    return dmtr_wait_timeout(qr_out, qt, DMTR_FOREVER);
}

DMTR_EXPORT int dmtr_drop(dmtr_qtoken_t qt)
{
    ENTER_API();
    uint64_t seq = dmtr_enter();
    int rc = dmtrGoDrop(qt);
    changes++;
    dmtr_leave(seq);
    return rc;
}

/* Reports a completed token, which stays. */
static int show(struct dmtr_token *t, dmtr_qresult_t *qr_out)
{
    if (qr_out != NULL) {
        t->flags |= FLAG_SEEN;
        *qr_out = t->result;
    }
    return (int)t->err;
}

DMTR_EXPORT int dmtr_poll(dmtr_qresult_t *qr_out, dmtr_qtoken_t qt)
{
    ENTER_API();
    uint64_t seq = dmtr_enter();
    struct dmtr_token *t = token_find(qt);
    int pending = t != NULL && !token_done(t);
    if (pending) {
        drive(1);
        t = token_find(qt);
    }
    int rc;
    if (t == NULL)
        rc = no_result(ENOENT, qt, qr_out);
    else if (token_done(t))
        rc = show(t, qr_out);
    else
        rc = dmtr_ctl->broken ? EIO : EAGAIN;
    if (pending)
        dmtr_leave(seq);
    else
        dmtr_unlock();
    return rc;
}

/* One call of wait_any. */
struct any {
    const dmtr_qtoken_t *qts;
    uint32_t n;
    uint32_t walk_at, walk_left; /* the part of the array not looked at yet */
    uint32_t searches;
    uint64_t changes; /* when the array was last looked through from the beginning */
};

/* The place of a value in the array, or -1. */
static int64_t search(const dmtr_qtoken_t *q, uint32_t n, dmtr_qtoken_t v)
{
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8)
        if ((q[i] == v) | (q[i + 1] == v) | (q[i + 2] == v) | (q[i + 3] == v) | (q[i + 4] == v) | (q[i + 5] == v) |
            (q[i + 6] == v) | (q[i + 7] == v))
            break;
    for (; i < n; i++)
        if (q[i] == v)
            return i;
    return -1;
}

/* Looks for a token where it, or one like it, was before. */
static int64_t guess(const struct any *a, const struct dmtr_token *t)
{
    dmtr_qtoken_t qt = t->result.qr_qt;
    if (t->hint < a->n && a->qts[t->hint] == qt)
        return t->hint;
    if (last_offset < a->n && a->qts[last_offset] == qt)
        return last_offset;
    return a->qts[a->n - 1] == qt ? (int64_t)a->n - 1 : -1;
}

/* The place of a token in the array, or -1. */
static int64_t find(struct any *a, const struct dmtr_token *t)
{
    int64_t at = guess(a, t);
    return at >= 0 ? at : search(a->qts, a->n, t->result.qr_qt);
}

/*
 * Tokens of one queue and kind are reported in the order of their completion, even if an earlier
 * one was parked, by another thread perhaps. Looks for one among those parked last.
 */
static struct dmtr_token *earlier(struct any *a, struct dmtr_token *t, int64_t *at)
{
    struct dmtr_token *first = t;
    uint32_t i = dmtr_ctl->parked.tail;
    for (int n = 0; n < PARKED_SEEN && i != TOKEN_NONE; n++) {
        struct dmtr_token *p = token_at(i);
        i = p->prev;
        if (p->result.qr_qd != t->result.qr_qd || p->result.qr_opcode != t->result.qr_opcode || p->seq > first->seq)
            continue;
        int64_t place = find(a, p);
        if (place >= 0) {
            first = p;
            *at = place;
        }
    }
    return first;
}

/*
 * The oldest ready token that the array holds. Others are parked: they are looked at in walks from
 * now on.
 */
static struct dmtr_token *from_ready(struct any *a, int64_t *at)
{
    while (dmtr_ctl->ready.head != TOKEN_NONE) {
        struct dmtr_token *t = token_at(dmtr_ctl->ready.head);
        if ((*at = guess(a, t)) >= 0)
            return earlier(a, t, at);
        if (a->searches < SEARCHES) {
            a->searches++;
            if ((*at = search(a->qts, a->n, t->result.qr_qt)) >= 0)
                return earlier(a, t, at);
            a->changes++; /* no need to: it is not in the array */
        }
        token_park(t);
        changes++;
    }
    return NULL;
}

/*
 * Looks at the next tokens of the array, at most count: finds those that have completed, the oldest
 * first, and else one that does not exist, for which it returns 1. In a long array it passes over
 * those on the ready list, which are found there, in their turn.
 */
static int walk(struct any *a, uint32_t count, struct dmtr_token **found, int64_t *at)
{
    if (count > a->walk_left)
        count = a->walk_left;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t here = a->walk_at;
        struct dmtr_token *t = token_find(a->qts[here]);
        if (t == NULL) {
            if (*found != NULL)
                return 0;
            *at = here;
            return 1;
        }
        int turn = a->n <= WALK_AT_ONCE || t->flags & FLAG_PARKED;
        if (turn && token_done(t) && (*found == NULL || t->seq < (*found)->seq)) {
            *found = t;
            *at = here;
        }
        if (++a->walk_at == a->n)
            a->walk_at = 0;
        a->walk_left--;
    }
    return 0;
}

/* Looks for a completed token, or one that does not exist (1). */
static int look(struct any *a, int first, struct dmtr_token **found, int64_t *at)
{
    *found = NULL;
    /* Parked tokens get their turn even when others are always ready. */
    int bad = 0;
    if (first && a->n <= WALK_AT_ONCE)
        bad = walk(a, a->n, found, at);
    else if (!first || dmtr_ctl->parked.count != 0)
        bad = walk(a, first ? WALK_AT_ONCE : WALK_SLICE, found, at);
    if (*found != NULL && a->n > WALK_AT_ONCE)
        *found = earlier(a, *found, at);
    else if (!bad && *found == NULL)
        *found = from_ready(a, at);
    if (a->changes != changes) {
        a->changes = changes;
        a->walk_left = a->n;
    }
    return bad;
}

/* A call of wait_any with an array that is not empty. */
static struct any search_in(const dmtr_qtoken_t *qts, int num_qts)
{
    uint32_t n = (uint32_t)num_qts;
    return (struct any){qts, n, n > WALK_AT_ONCE ? cursor % n : 0, n, 0, changes};
}

/* Waits until a token completes and returns it, with its place; else NULL, with the reason. */
static struct dmtr_token *await(struct any *a, uint64_t timeout_ns, int64_t *at, int *why)
{
    struct wait w = begin(timeout_ns);
    for (int first = 1;; first = 0) {
        struct dmtr_token *t;
        w.seq = dmtr_ctl->seq;
        int bad = look(a, first, &t, at);
        if (bad || t != NULL) {
            cursor = a->walk_at;
            *why = ENOENT;
            return t;
        }
        /* Something that the array holds may be ready and not found yet. */
        int searching = a->walk_left != 0 && (a->n <= WALK_AT_ONCE || dmtr_ctl->parked.count != 0);
        *why = searching ? 0 : give_up(&w);
        if (*why != 0) {
            *at = -1;
            return NULL;
        }
        w.awake = searching || timeout_ns == 0;
        w.pause_ns = a->walk_left != 0 ? WALK_PAUSE_NS : 0;
        step(&w);
    }
}

/* Remembers where a token was found. */
static void note_place(struct dmtr_token *t, int64_t at)
{
    last_offset = (uint32_t)at;
    token_found_at(t, (uint32_t)at);
}

DMTR_EXPORT int dmtr_wait_any_timeout(dmtr_qresult_t *qr_out, int *ready_offset, dmtr_qtoken_t *qts, int num_qts,
                                      uint64_t timeout_ns)
{
    ENTER_API();
    if (qts == NULL || num_qts <= 0)
        return EINVAL;
    int64_t at = 0;
    int rc = 0;
    dmtr_lock();
    struct any a = search_in(qts, num_qts);
    struct dmtr_token *t = await(&a, timeout_ns, &at, &rc);
    if (t != NULL) {
        note_place(t, at);
        rc = take(t, qr_out);
    } else {
        no_result(rc, at < 0 ? 0 : qts[at], qr_out);
    }
    dmtr_unlock();
    if (ready_offset != NULL)
        *ready_offset = (int)at;
    return rc;
}

/* Another token of the array that has completed, the oldest first, or NULL. Those reported before are not there any more. */
static struct dmtr_token *another(struct any *a, int64_t *at)
{
    struct dmtr_token *oldest = NULL;
    a->searches = 0;
    if (a->n > WALK_AT_ONCE)
        return from_ready(a, at);
    for (uint32_t i = 0; i < a->n; i++) {
        struct dmtr_token *t = token_find(a->qts[i]);
        if (t != NULL && token_done(t) && (oldest == NULL || t->seq < oldest->seq)) {
            oldest = t;
            *at = i;
        }
    }
    return oldest;
}

DMTR_EXPORT int dmtr_wait_some(dmtr_qresult_t *qrs_out, int *errs_out, int *ready_offsets, int *num_ready,
                               dmtr_qtoken_t *qts, int num_qts, uint64_t timeout_ns)
{
    ENTER_API();
    if (qrs_out == NULL || errs_out == NULL || ready_offsets == NULL || num_ready == NULL || *num_ready <= 0 || qts == NULL || num_qts <= 0)
        return EINVAL;
    int64_t at = 0;
    int rc = 0, n = 0;
    dmtr_lock();
    poll_in_turn();
    struct any a = search_in(qts, num_qts);
    struct dmtr_token *t = await(&a, timeout_ns, &at, &rc);
    if (t == NULL)
        ready_offsets[0] = (int)at;
    else
        rc = 0;
    while (t != NULL) {
        note_place(t, at);
        ready_offsets[n] = (int)at;
        errs_out[n] = hand_out(t, &qrs_out[n]);
        t = ++n < *num_ready ? another(&a, &at) : NULL;
    }
    dmtr_unlock();
    *num_ready = n;
    return rc;
}

DMTR_EXPORT int dmtr_wait_any(dmtr_qresult_t *qr_out, int *ready_offset, dmtr_qtoken_t *qts, int num_qts)
{
    return dmtr_wait_any_timeout(qr_out, ready_offset, qts, num_qts, DMTR_FOREVER);
}

DMTR_EXPORT int dmtr_wait_all(dmtr_qresult_t *qr_out, dmtr_qtoken_t *qts, int num_qts)
{
    ENTER_API();
    if (qts == NULL || num_qts <= 0)
        return EINVAL;
    int first = 0;
    for (int i = 0; i < num_qts; i++) {
        int rc = dmtr_wait(qr_out == NULL ? NULL : &qr_out[i], qts[i]);
        if (first == 0)
            first = rc;
    }
    return first;
}
