/* Narrowing of integers with a check of the range. */
#include <dmtr/cast.h>

#include <errno.h>
#include <limits.h>

#define NARROW(name, to_t, from_t, fits) \
    int name(to_t *to, from_t from)      \
    {                                    \
        if (to == NULL)                  \
            return EINVAL;               \
        *to = 0;                         \
        if (!(fits))                     \
            return ERANGE;               \
        *to = (to_t)from;                \
        return 0;                        \
    }

NARROW(dmtr_itosz, size_t, int, from >= 0)
NARROW(dmtr_ltoc, char, long, from >= CHAR_MIN && from <= CHAR_MAX)
NARROW(dmtr_ltosz, size_t, long, from >= 0)
NARROW(dmtr_ssztoi32, int32_t, ssize_t, from >= INT32_MIN && from <= INT32_MAX)
NARROW(dmtr_sztoi16, int16_t, size_t, from <= INT16_MAX)
NARROW(dmtr_sztoi32, int32_t, size_t, from <= INT32_MAX)
NARROW(dmtr_sztoint, int, size_t, from <= INT_MAX)
NARROW(dmtr_sztoi, int, size_t, from <= INT_MAX) /* the name of 2020 */
NARROW(dmtr_sztol, long, size_t, from <= LONG_MAX)
NARROW(dmtr_sztou, unsigned int, size_t, from <= UINT_MAX)
NARROW(dmtr_sztou16, uint16_t, size_t, from <= UINT16_MAX)
NARROW(dmtr_sztou32, uint32_t, size_t, from <= UINT32_MAX)
NARROW(dmtr_u32toi, int32_t, uint32_t, from <= INT32_MAX)
NARROW(dmtr_u32tou16, uint16_t, uint32_t, from <= UINT16_MAX)
NARROW(dmtr_ultoc, char, unsigned long, from <= CHAR_MAX)
NARROW(dmtr_ultol, long, unsigned long, from <= LONG_MAX)
NARROW(dmtr_ultou, unsigned int, unsigned long, from <= UINT_MAX)
NARROW(dmtr_ultouc, unsigned char, unsigned long, from <= UCHAR_MAX)
NARROW(dmtr_utou8, uint8_t, unsigned int, from <= UINT8_MAX)
