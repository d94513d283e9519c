/*
 * Failure reporting for programs: macros that check a call, report a failure through a hook, and
 * return the errno. The library itself reports by errno alone and never calls the hook.
 */
#ifndef DMTR_FAIL_H
#define DMTR_FAIL_H

#include <dmtr/meta.h>
#include <dmtr/sys/gcc.h>
#include <errno.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A failure hook: errno value, the expression, function (may be NULL), file and line it failed in.
 */
typedef void (*dmtr_onfail_t)(int error, const char *expr, const char *func, const char *file, int line);

/* Sets the hook; NULL brings back the default one, which writes a line to stderr. */
DMTR_EXPORT void dmtr_onfail(dmtr_onfail_t cb);

/* Calls the hook. */
DMTR_EXPORT void dmtr_fail(int error, const char *expr, const char *func, const char *file, int line);

/* Writes a line to stderr and aborts the program. */
DMTR_EXPORT void dmtr_panic(const char *why, const char *file, int line) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#define DMTR_FAIL_TRUE(err, cond, text, var)                           \
    do {                                                               \
        if (DMTR_UNLIKELY(!(cond))) {                                  \
            const int var = (err);                                     \
            dmtr_fail(var, text, __func__, __FILE__, __LINE__);        \
            return var;                                                \
        }                                                              \
    } while (0)

#define DMTR_FAIL_OK(err, text, var)                                   \
    do {                                                               \
        const int var = (err);                                         \
        if (DMTR_UNLIKELY(0 != var)) {                                 \
            dmtr_fail(var, text, __func__, __FILE__, __LINE__);        \
            return var;                                                \
        }                                                              \
    } while (0)

/* Unless cond holds, reports err and returns it from the enclosing function. */
#define DMTR_TRUE(err, cond) DMTR_FAIL_TRUE(err, cond, #cond, DMTR_UNIQID(dmtr_fail_true_))

/* If err is not 0, reports it and returns it from the enclosing function. err is evaluated once. */
#define DMTR_OK(err) DMTR_FAIL_OK(err, #err, DMTR_UNIQID(dmtr_fail_ok_))

/* Ends the program with a reason. */
#define DMTR_PANIC(why) dmtr_panic((why), __FILE__, __LINE__)

#endif
