/* fail.h and annot.h: what the macros report and return, the hook, the default report and panic. */
#include "test.h"

#include <sys/wait.h>

#include <dmtr/annot.h>

static struct {
    int calls, error, line;
    char expr[64], func[64];
} seen;

static void note(int error, const char *expr, const char *func, const char *file, int line)
{
    CHECK(strstr(file, "fail.c") != NULL);
    seen.calls++;
    seen.error = error;
    seen.line = line;
    snprintf(seen.expr, sizeof seen.expr, "%s", expr);
    snprintf(seen.func, sizeof seen.func, "%s", func);
}

static int evaluations;

static int once(int err)
{
    evaluations++;
    return err;
}

static int on_true(int v) { DMTR_TRUE(once(EDOM), v == 1); DMTR_TRUE(ERANGE, v == 1); return 0; }
static int on_ok(int err) { DMTR_OK(once(err)); return 0; }
static int on_zero(int v) { DMTR_ZERO(EDOM, v); return 0; }
static int on_nonzero(int v) { DMTR_NONZERO(EDOM, v); return 0; }
static int on_null(const void *p) { DMTR_NULL(EDOM, p); return 0; }
static int on_notnull(const void *p) { DMTR_NOTNULL(EDOM, p); return 0; }
static int on_fail(int err) { DMTR_FAIL(err); }

/* Checks that one report of an expression that ends in expr, in func, followed. */
static void reported(const char *expr, const char *func)
{
    CHECK_EQ(seen.calls, 1);
    CHECK_EQ(seen.error, EDOM);
    CHECK(seen.line > 0);
    CHECK(strlen(seen.expr) >= strlen(expr) && strcmp(seen.expr + strlen(seen.expr) - strlen(expr), expr) == 0);
    CHECK(strcmp(seen.func, func) == 0);
    seen.calls = 0;
}

static void macros(void)
{
    dmtr_onfail(note);
    CHECK_EQ(on_true(1) + on_ok(0) + on_zero(0) + on_nonzero(3) + on_null(NULL) + on_notnull(&seen), 0);
    CHECK_EQ(seen.calls, 0);
    CHECK_EQ(evaluations, 1); /* of DMTR_OK alone */

    evaluations = 0;
    CHECK_ERR(on_true(0), EDOM);
    reported("v == 1", "on_true");
    CHECK_ERR(on_ok(EDOM), EDOM);
    reported("once(err)", "on_ok");
    CHECK_EQ(evaluations, 2);
    CHECK_ERR(on_zero(1), EDOM);
    reported("0 == (v)", "on_zero");
    CHECK_ERR(on_nonzero(0), EDOM);
    reported("0 != (v)", "on_nonzero");
    CHECK_ERR(on_null(&seen), EDOM);
    reported(" == (p)", "on_null");
    CHECK_ERR(on_notnull(NULL), EDOM);
    reported(" != (p)", "on_notnull");
    CHECK_ERR(on_fail(EDOM), EDOM);
    reported("err", "on_fail");
}

/* Runs f in a child, returns how it ended, and stores what it wrote to stderr. */
static int in_child(void (*f)(void), char *text, size_t size)
{
    int ends[2], status = 0;
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 2);
        f();
        _exit(0);
    }
    close(ends[1]);
    ssize_t n, have = 0;
    while ((n = read(ends[0], text + have, size - 1 - (size_t)have)) > 0)
        have += n;
    text[have] = '\0';
    close(ends[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

static void fails_by_default(void)
{
    dmtr_onfail(NULL);
    errno = 4321;
    dmtr_fail(ENOENT, "a == b", NULL, "x.c", 7);
    if (errno == 4321)
        dmtr_fail(EPERM, "c", "func", "y.c", 8);
}

static void panics(void) { DMTR_PANIC("the reason"); }
static void gets_unreachable(void) { on_fail(0); }

int main(void)
{
    char text[512];
    test_watchdog();
    macros();

    CHECK_EQ(in_child(fails_by_default, text, sizeof text), 0);
    CHECK(strstr(text, "x.c:7: a == b") == text && strstr(text, strerror(ENOENT)) != NULL);
    CHECK(strstr(text, "\ny.c:8: func(): c") != NULL);

    int status = in_child(panics, text, sizeof text);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK(strstr(text, "fail.c") != NULL && strstr(text, "the reason") != NULL);
    CHECK(strchr(text, '\n') == text + strlen(text) - 1);
    status = in_child(gets_unreachable, text, sizeof text);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    return 0;
}
