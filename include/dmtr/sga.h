/* Helpers for scatter-gather arrays. Neither needs dmtr_init(), and neither blocks. */
#ifndef DMTR_SGA_H
#define DMTR_SGA_H

#include <dmtr/sys/gcc.h>
#include <dmtr/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Stores the bytes in all segments together.
 *
 *   EINVAL  a NULL pointer (a NULL sga stores 0), or more than DMTR_SGARRAY_MAXSIZE segments
 */
DMTR_EXPORT int dmtr_sgalen(size_t *len_out, const dmtr_sgarray_t *sga) DMTR_VERSIONED(dmtr_sgalen);

/*
 * Releases the heap block a pop returned, and leaves the array with sga_buf NULL and no segments.
 * An array without a block is left as it is, so a second call does no harm.
 *
 *   EINVAL  sga is NULL
 */
DMTR_EXPORT int dmtr_sgafree(dmtr_sgarray_t *sga) DMTR_VERSIONED(dmtr_sgafree);

#ifdef __cplusplus
}
#endif

#endif
