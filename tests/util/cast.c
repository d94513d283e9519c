/* cast.h: the limits of every function, and what it does beyond them. */
#include "test.h"

#include <limits.h>

#include <dmtr/cast.h>

#define FITS(function, type, value)                           \
    do {                                                      \
        type out = 77;                                        \
        CHECK_ERR(function(&out, value), 0);                  \
        CHECK(out == (type)(value));                          \
    } while (0)

#define TOO_FAR(function, type, value)                        \
    do {                                                      \
        type out = 77;                                        \
        CHECK_ERR(function(&out, value), ERANGE);             \
        CHECK(out == 0);                                      \
    } while (0)

#define NO_TARGET(function) CHECK_ERR(function(NULL, 1), EINVAL)

/* A function whose source is unsigned and whose target goes to max. */
#define UNSIGNED_TO(function, type, max, source_max)          \
    do {                                                      \
        FITS(function, type, 0);                              \
        FITS(function, type, 1);                              \
        FITS(function, type, max);                            \
        TOO_FAR(function, type, source_max);                  \
        TOO_FAR(function, type, (unsigned long)(max) + 1);    \
        NO_TARGET(function);                                  \
    } while (0)

static void from_signed(void)
{
    FITS(dmtr_itosz, size_t, 0);
    FITS(dmtr_itosz, size_t, INT_MAX);
    TOO_FAR(dmtr_itosz, size_t, -1);
    TOO_FAR(dmtr_itosz, size_t, INT_MIN);
    NO_TARGET(dmtr_itosz);

    FITS(dmtr_ltosz, size_t, 0);
    FITS(dmtr_ltosz, size_t, LONG_MAX);
    TOO_FAR(dmtr_ltosz, size_t, -1);
    TOO_FAR(dmtr_ltosz, size_t, LONG_MIN);
    NO_TARGET(dmtr_ltosz);

    FITS(dmtr_ltoc, char, 0);
    FITS(dmtr_ltoc, char, CHAR_MAX);
    FITS(dmtr_ltoc, char, CHAR_MIN);
    TOO_FAR(dmtr_ltoc, char, (long)CHAR_MAX + 1);
    TOO_FAR(dmtr_ltoc, char, (long)CHAR_MIN - 1);
    TOO_FAR(dmtr_ltoc, char, LONG_MAX);
    TOO_FAR(dmtr_ltoc, char, LONG_MIN);
    NO_TARGET(dmtr_ltoc);

    FITS(dmtr_ssztoi32, int32_t, 0);
    FITS(dmtr_ssztoi32, int32_t, INT32_MAX);
    FITS(dmtr_ssztoi32, int32_t, INT32_MIN);
    TOO_FAR(dmtr_ssztoi32, int32_t, (ssize_t)INT32_MAX + 1);
    TOO_FAR(dmtr_ssztoi32, int32_t, (ssize_t)INT32_MIN - 1);
    TOO_FAR(dmtr_ssztoi32, int32_t, SSIZE_MAX);
    NO_TARGET(dmtr_ssztoi32);
}

int main(void)
{
    from_signed();
    UNSIGNED_TO(dmtr_sztoi16, int16_t, INT16_MAX, SIZE_MAX);
    UNSIGNED_TO(dmtr_sztoi32, int32_t, INT32_MAX, SIZE_MAX);
    UNSIGNED_TO(dmtr_sztoint, int, INT_MAX, SIZE_MAX);
    UNSIGNED_TO(dmtr_sztol, long, LONG_MAX, SIZE_MAX);
    UNSIGNED_TO(dmtr_sztou, unsigned int, UINT_MAX, SIZE_MAX);
    UNSIGNED_TO(dmtr_sztou16, uint16_t, UINT16_MAX, SIZE_MAX);
    UNSIGNED_TO(dmtr_sztou32, uint32_t, UINT32_MAX, SIZE_MAX);
    UNSIGNED_TO(dmtr_u32toi, int32_t, INT32_MAX, UINT32_MAX);
    UNSIGNED_TO(dmtr_u32tou16, uint16_t, UINT16_MAX, UINT32_MAX);
    UNSIGNED_TO(dmtr_ultoc, char, CHAR_MAX, ULONG_MAX);
    UNSIGNED_TO(dmtr_ultol, long, LONG_MAX, ULONG_MAX);
    UNSIGNED_TO(dmtr_ultou, unsigned int, UINT_MAX, ULONG_MAX);
    UNSIGNED_TO(dmtr_ultouc, unsigned char, UCHAR_MAX, ULONG_MAX);
    UNSIGNED_TO(dmtr_utou8, uint8_t, UINT8_MAX, UINT_MAX);
    return 0;
}
