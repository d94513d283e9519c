/*
 * Narrowing of integers with a check of the range. Each call stores the value and returns 0, or
 * stores 0 and returns
 *   ERANGE  the value does not fit
 *   EINVAL  to is NULL
 * None needs dmtr_init(), and none blocks.
 */
#ifndef DMTR_CAST_H
#define DMTR_CAST_H

#include <dmtr/sys/api.h>
#include <dmtr/sys/gcc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

DMTR_EXPORT int dmtr_itosz(size_t *to, int from);
DMTR_EXPORT int dmtr_ltoc(char *to, long from);
DMTR_EXPORT int dmtr_ltosz(size_t *to, long from);
DMTR_EXPORT int dmtr_ssztoi32(int32_t *to, ssize_t from);
DMTR_EXPORT int dmtr_sztoi16(int16_t *to, size_t from);
DMTR_EXPORT int dmtr_sztoi32(int32_t *to, size_t from);
#if DMTR_API == 2019
DMTR_EXPORT int dmtr_sztoint(int *to, size_t from);
#else
DMTR_EXPORT int dmtr_sztoi(int *to, size_t from);
#endif
DMTR_EXPORT int dmtr_sztol(long *to, size_t from);
DMTR_EXPORT int dmtr_sztou(unsigned int *to, size_t from);
DMTR_EXPORT int dmtr_sztou16(uint16_t *to, size_t from);
DMTR_EXPORT int dmtr_sztou32(uint32_t *to, size_t from);
DMTR_EXPORT int dmtr_u32toi(int32_t *to, uint32_t from);
DMTR_EXPORT int dmtr_u32tou16(uint16_t *to, uint32_t from);
DMTR_EXPORT int dmtr_ultoc(char *to, unsigned long from);
DMTR_EXPORT int dmtr_ultol(long *to, unsigned long from);
DMTR_EXPORT int dmtr_ultou(unsigned int *to, unsigned long from);
DMTR_EXPORT int dmtr_ultouc(unsigned char *to, unsigned long from);
DMTR_EXPORT int dmtr_utou8(uint8_t *to, unsigned int from);

#ifdef __cplusplus
}
#endif

#endif
