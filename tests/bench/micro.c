/*
 * micro CPU: the cost of single calls of libdmtr, in nanoseconds, as JSON. Each figure is the median of many short batches. The baselines are
 * plain C that does a like job, in functions of their own that are not inlined.
 */
#include "bench.h"
#include "lock.h"

#include <dmtr/latency.h>
#include <dmtr/libos.h>
#include <dmtr/wait.h>
#include <pthread.h>

#define BATCHES 301
#define NOINLINE __attribute__((noinline))

static int qd;
static dmtr_qtoken_t done; /* a completed push, never waited for */
static dmtr_sgarray_t sga;
static dmtr_latency_t *latency;
static uint64_t seed = 1;

/* Values between 1 and 2^20, so that all parts of a histogram are in use. */
static uint64_t some_ns(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 44) + 1;
}

static void ok(int error, const char *what)
{
    if (error != 0) {
        errno = error;
        die(what);
    }
}

/* An array through a memory queue: two operations, both of them waited for. */
static void memory_queue(void)
{
    dmtr_qtoken_t push, pop;
    dmtr_qresult_t result;
    ok(dmtr_push(&push, qd, &sga), "dmtr_push");
    ok(dmtr_wait(NULL, push), "dmtr_wait");
    ok(dmtr_pop(&pop, qd), "dmtr_pop");
    ok(dmtr_wait(&result, pop), "dmtr_wait");
}

static void poll_completed(void)
{
    dmtr_qresult_t result;
    ok(dmtr_poll(&result, done), "dmtr_poll");
}

static void record(void)
{
    ok(dmtr_record_latency(latency, some_ns()), "dmtr_record_latency");
}

static struct {
    pthread_mutex_t lock;
    dmtr_sgarray_t slots[64];
    unsigned head, tail;
} ring = {PTHREAD_MUTEX_INITIALIZER, {{0}}, 0, 0};

static NOINLINE int ring_push(const dmtr_sgarray_t *in)
{
    pthread_mutex_lock(&ring.lock);
    ring.slots[ring.tail++ % 64] = *in;
    pthread_mutex_unlock(&ring.lock);
    return 0;
}

static NOINLINE int ring_pop(dmtr_sgarray_t *out)
{
    pthread_mutex_lock(&ring.lock);
    *out = ring.slots[ring.head++ % 64];
    pthread_mutex_unlock(&ring.lock);
    return 0;
}

static void locked_ring(void)
{
    dmtr_sgarray_t out;
    ok(ring_push(&sga), "push");
    ok(ring_pop(&out), "pop");
}

static dmtr_qresult_t stored;

static NOINLINE int copy_result(dmtr_qresult_t *out)
{
    *out = stored;
    __asm__ volatile("" ::: "memory");
    return 0;
}

static void copy(void)
{
    dmtr_qresult_t result;
    ok(copy_result(&result), "copy");
}

static uint64_t samples[1024];

static NOINLINE int store_sample(uint64_t ns)
{
    static unsigned at;
    samples[at++ % 1024] = ns;
    return 0;
}

static void store(void)
{
    ok(store_sample(some_ns()), "store");
}

/* The lock around the engine, which every call takes that needs it, built into this program. */
union dmtr_process dmtr_process;
__thread uint32_t dmtr_thread;

static void lock_and_unlock(void)
{
    dmtr_lock();
    dmtr_unlock();
}

static void mutex(void)
{
    pthread_mutex_lock(&ring.lock);
    pthread_mutex_unlock(&ring.lock);
}

static double cost(void (*what)(void), int per_batch)
{
    static uint64_t took[BATCHES];
    int batch, i;
    for (i = 0; i < 10 * per_batch; i++)
        what();
    for (batch = 0; batch < BATCHES; batch++) {
        uint64_t start = now_ns();
        for (i = 0; i < per_batch; i++)
            what();
        took[batch] = now_ns() - start;
    }
    qsort(took, BATCHES, sizeof(*took), by_value);
    return (double)took[BATCHES / 2] / per_batch;
}

int main(int argc, char *argv[])
{
    static const struct {
        const char *name;
        void (*ours)(void), (*baseline)(void);
        int per_batch;
    } figures[] = {
        {"memory_queue", memory_queue, locked_ring, 500},
        {"poll_completed", poll_completed, copy, 5000},
        {"record_latency", record, store, 5000},
        {"lock", lock_and_unlock, mutex, 5000},
    };
    char byte = 'x';
    int poll_qd;
    size_t i;
    pin(argc > 1 ? atoi(argv[1]) : -1);
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_buf = &byte;
    sga.sga_segs[0].sgaseg_len = 1;
    ok(dmtr_init(0, NULL), "dmtr_init");
    ok(dmtr_queue(&qd), "dmtr_queue");
    ok(dmtr_queue(&poll_qd), "dmtr_queue");
    ok(dmtr_push(&done, poll_qd, &sga), "dmtr_push");
    ok(dmtr_new_latency(&latency, "micro"), "dmtr_new_latency");

    printf("{");
    for (i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        double baseline = cost(figures[i].baseline, figures[i].per_batch);
        double ours = cost(figures[i].ours, figures[i].per_batch);
        printf("%s\"%s\":{\"ours\":%.1f,\"baseline\":%.1f}", i ? "," : "", figures[i].name, ours, baseline);
    }
    printf("}\n");
    ok(dmtr_delete_latency(&latency), "dmtr_delete_latency");
    return 0;
}
