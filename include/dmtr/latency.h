/*
 * Latency recorders: a count, sum, extremes and a histogram of fixed size (about 30 KiB each). None
 * of the calls needs dmtr_init(). A recorder may be used by one thread at a time.
 */
#ifndef DMTR_LATENCY_H
#define DMTR_LATENCY_H

#include <dmtr/sys/gcc.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dmtr_latency dmtr_latency_t;

/*
 * Makes a recorder; the name is copied. The program releases it with dmtr_delete_latency().
 *
 *   EINVAL  a NULL pointer
 *   ENOMEM  no memory
 */
DMTR_EXPORT int dmtr_new_latency(dmtr_latency_t **latency_out, const char *name);

/*
 * Records one value, in nanoseconds. Takes a few nanoseconds itself, and never blocks or allocates.
 *
 *   EINVAL  latency is NULL, or ns is 0
 */
DMTR_EXPORT int dmtr_record_latency(dmtr_latency_t *latency, uint64_t ns);

/*
 * Writes the table to f: count, minimum, mean, median, maximum, the percentiles 99, 99.9 and 99.99,
 * and a histogram by powers of two. Blocks as stdio does.
 *
 *   EINVAL  a NULL pointer
 *   EIO     f could not be written
 */
DMTR_EXPORT int dmtr_dump_latency(FILE *f, dmtr_latency_t *latency);

/*
 * Releases a recorder and sets *latency to NULL. *latency may be NULL already.
 *
 *   EINVAL  latency is NULL
 */
DMTR_EXPORT int dmtr_delete_latency(dmtr_latency_t **latency);

/* The time of CLOCK_MONOTONIC in nanoseconds. */
DMTR_EXPORT uint64_t dmtr_now_ns(void);

#ifdef __cplusplus
}
#endif

#endif
