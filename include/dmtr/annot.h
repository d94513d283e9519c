/*
 * Checks in the style of fail.h for common conditions: each reports err and returns it unless the
 * value is as named.
 */
#ifndef DMTR_ANNOT_H
#define DMTR_ANNOT_H

#include <dmtr/fail.h>
#include <dmtr/meta.h>

#define DMTR_UNUSEDARG(arg) (void)(arg)
#define DMTR_ZERO(err, v) DMTR_TRUE(err, 0 == (v))
#define DMTR_NONZERO(err, v) DMTR_TRUE(err, 0 != (v))
#define DMTR_NULL(err, v) DMTR_TRUE(err, NULL == (v))
#define DMTR_NOTNULL(err, v) DMTR_TRUE(err, NULL != (v))

/* For a place that control never reaches, in a function that returns an int. */
#define DMTR_UNREACHABLE()              \
    do {                                \
        DMTR_PANIC("unreachable code"); \
        return -1;                      \
    } while (0)

/* Reports err, which must not be 0, and returns it. */
#define DMTR_FAIL(err)      \
    do {                    \
        DMTR_OK(err);       \
        DMTR_UNREACHABLE(); \
    } while (0)

#endif
