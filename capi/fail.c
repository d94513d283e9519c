/* The failure hook of programs. The library itself never calls it. */
#include <dmtr/fail.h>

#include <stdio.h>

static void report(int error, const char *expr, const char *func, const char *file, int line)
{
    int saved = errno;
    errno = error; /* for %m, which, unlike strerror(), any thread may use */
    fprintf(stderr, "%s:%d: %s%s%s failed: %m (errno %d)\n", file ? file : "?", line, func ? func : "", func ? "(): " : "",
            expr ? expr : "?", error);
    errno = saved;
}

static dmtr_onfail_t hook = report;

void dmtr_onfail(dmtr_onfail_t cb)
{
    __atomic_store_n(&hook, cb ? cb : report, __ATOMIC_RELEASE);
}

void dmtr_fail(int error, const char *expr, const char *func, const char *file, int line)
{
    __atomic_load_n(&hook, __ATOMIC_ACQUIRE)(error, expr, func, file, line);
}

void dmtr_panic(const char *why, const char *file, int line)
{
    fprintf(stderr, "%s:%d: panic: %s\n", file ? file : "?", line, why ? why : "?");
    abort();
}
