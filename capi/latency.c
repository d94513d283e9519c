/*
 * Latency recorders. A value is counted in one of 64 equal steps between two powers of two, so that
 * what is read back is within 0.8 % of it; values below 64 are counted exactly. Count, sum and
 * extremes are exact.
 */
#define _POSIX_C_SOURCE 200809L

#include <dmtr/latency.h>

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEP_BITS 6
#define STEPS (1u << STEP_BITS)                /* per power of two */
#define BUCKETS ((64 - STEP_BITS + 1) * STEPS) /* the first STEPS of them count 0..STEPS-1 */
#define BAR 40                                 /* width of the longest bar */
#define UNIT 16                                /* room for a value with its unit */

struct dmtr_latency {
    uint64_t count;
    uint64_t sum, sum_high; /* 128 bits */
    uint64_t min, max;
    uint64_t buckets[BUCKETS];
    char name[];
};

/* The highest bit of ns, which is not 0. */
static int log2_of(uint64_t ns)
{
    return 63 - __builtin_clzll(ns);
}

static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    int shift = log2_of(ns) - STEP_BITS;
    return ((unsigned)shift + 1) * STEPS + (unsigned)(ns >> shift & (STEPS - 1));
}

/* The least value counted in a bucket. */
static uint64_t bucket_start(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    return (uint64_t)(STEPS + bucket % STEPS) << (bucket / STEPS - 1);
}

static uint64_t bucket_middle(unsigned bucket)
{
    return bucket < STEPS ? bucket : bucket_start(bucket) + ((UINT64_C(1) << (bucket / STEPS - 1)) - 1) / 2;
}

int dmtr_new_latency(dmtr_latency_t **latency_out, const char *name)
{
    if (latency_out == NULL || name == NULL)
        return EINVAL;
    *latency_out = NULL;
    size_t size = strlen(name) + 1;
    dmtr_latency_t *l = calloc(1, sizeof *l + size);
    if (l == NULL)
        return ENOMEM;
    l->min = UINT64_MAX;
    memcpy(l->name, name, size);
    *latency_out = l;
    return 0;
}

int dmtr_record_latency(dmtr_latency_t *latency, uint64_t ns)
{
    if (latency == NULL || ns == 0)
        return EINVAL;
    latency->count++;
    latency->sum += ns;
    latency->sum_high += latency->sum < ns;
    if (ns < latency->min)
        latency->min = ns;
    if (ns > latency->max)
        latency->max = ns;
    latency->buckets[bucket_of(ns)]++;
    return 0;
}

int dmtr_delete_latency(dmtr_latency_t **latency)
{
    if (latency == NULL)
        return EINVAL;
    free(*latency);
    *latency = NULL;
    return 0;
}

uint64_t dmtr_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/*
 * The value below or at which lie fraction / 10000 of the recorded ones, of which there is at least
 * one.
 */
static uint64_t percentile(const dmtr_latency_t *l, unsigned fraction)
{
    /* count * fraction / 10000, rounded up, without overflow */
    uint64_t rank = l->count / 10000 * fraction + (l->count % 10000 * fraction + 9999) / 10000;
    uint64_t seen = 0;
    for (unsigned i = bucket_of(l->min); i < BUCKETS; i++) {
        seen += l->buckets[i];
        if (seen < rank)
            continue;
        uint64_t ns = bucket_middle(i);
        return ns < l->min ? l->min : ns > l->max ? l->max : ns;
    }
    return l->max;
}

/* Writes ns with the unit that leaves one to three digits before the point. */
static const char *with_unit(char out[UNIT], double ns)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    int u = 0;
    while (u < 3 && ns >= 999.95) {
        ns /= 1000;
        u++;
    }
    snprintf(out, UNIT, ns < 1e6 ? "%.*f %s" : "%.*e %s", ns < 9.9995 ? 3 : ns < 99.995 ? 2 : 1, ns, units[u]);
    return out;
}

static int dump_line(FILE *f, const char *label, double ns)
{
    char text[UNIT];
    return fprintf(f, "  %-7s %10s\n", label, with_unit(text, ns));
}

static uint64_t count_power(const dmtr_latency_t *l, int power)
{
    uint64_t sum = 0;
    uint64_t last = UINT64_MAX >> (63 - power);
    for (unsigned i = bucket_of(UINT64_C(1) << power); i <= bucket_of(last); i++)
        sum += l->buckets[i];
    return sum;
}

/* One row for each power of two between the least and the greatest value. */
static bool dump_histogram(FILE *f, const dmtr_latency_t *l)
{
    static const char bar[] = "########################################";
    uint64_t most = 0;
    for (int p = log2_of(l->min); p <= log2_of(l->max); p++) {
        uint64_t n = count_power(l, p);
        if (n > most)
            most = n;
    }
    for (int p = log2_of(l->min); p <= log2_of(l->max); p++) {
        char from[UNIT], to[UNIT];
        uint64_t n = count_power(l, p);
        double start = (double)(UINT64_C(1) << p);
        int width = n == 0 ? 0 : 1 + (int)((double)n / (double)most * (BAR - 1));
        if (fprintf(f, "  %10s - %-10s %12" PRIu64 " %6.2f %%%s%.*s\n", with_unit(from, start), with_unit(to, 2 * start), n,
                    100.0 * (double)n / (double)l->count, width > 0 ? " " : "", width, bar) < 0)
            return false;
    }
    return true;
}

int dmtr_dump_latency(FILE *f, dmtr_latency_t *latency)
{
    if (f == NULL || latency == NULL)
        return EINVAL;
    const dmtr_latency_t *l = latency;
    if (fprintf(f, "%s: %" PRIu64 " values\n", l->name, l->count) < 0)
        return EIO;
    if (l->count > 0) {
        double mean = ((double)l->sum_high * 0x1p64 + (double)l->sum) / (double)l->count;
        if (dump_line(f, "min", (double)l->min) < 0 || dump_line(f, "mean", mean) < 0 ||
            dump_line(f, "median", (double)percentile(l, 5000)) < 0 || dump_line(f, "99 %", (double)percentile(l, 9900)) < 0 ||
            dump_line(f, "99.9 %", (double)percentile(l, 9990)) < 0 ||
            dump_line(f, "99.99 %", (double)percentile(l, 9999)) < 0 || dump_line(f, "max", (double)l->max) < 0 ||
            !dump_histogram(f, l))
            return EIO;
    }
    return fflush(f) == 0 ? 0 : EIO;
}
