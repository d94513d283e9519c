/* Memory for programs. */
#ifndef DMTR_LIBOS_MEM_H
#define DMTR_LIBOS_MEM_H

#include <dmtr/sys/gcc.h>
#include <stddef.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Allocates bytes (uninitialised) that the program releases with free(). A size of 0 gives a
 * pointer that may be freed, too. Needs no dmtr_init(). Never blocks.
 *
 *   EINVAL  out is NULL
 *   ENOMEM  no memory; *out is set to NULL
 */
DMTR_EXPORT int dmtr_malloc(void **out, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
