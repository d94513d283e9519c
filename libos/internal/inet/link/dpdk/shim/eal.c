/*
 * Starting DPDK inside somebody else's process. It runs on a thread of its own, so that the affinity of the caller stays as it is
 * and DPDK's threads inherit a mask that blocks all signals. What it prints goes into a small buffer, of which the last lines
 * become the text of an error.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    char text[4096]; /* the last that was printed, in a ring */
    size_t end;      /* counts on for ever */
} printed = {PTHREAD_MUTEX_INITIALIZER, {0}, 0};

static __thread bool own_thread;
static FILE *real_stdout, *real_stderr;

static ssize_t keep(void *cookie, const char *text, size_t n)
{
    size_t i;
    (void)cookie;
    pthread_mutex_lock(&printed.lock);
    for (i = 0; i < n; i++)
        printed.text[printed.end++ % sizeof(printed.text)] = text[i];
    pthread_mutex_unlock(&printed.lock);
    return (ssize_t)n;
}

/* stdout and stderr while the own thread runs: what others print goes on to the real ones. stdout has only DPDK's usage. */
static ssize_t keep_own(void *real, const char *text, size_t n)
{
    FILE *to = *(FILE **)real;
    if (own_thread)
        return to == real_stderr ? keep(NULL, text, n) : (ssize_t)n;
    n = fwrite(text, 1, n, to);
    fflush(to);
    return (ssize_t)n;
}

void log_clear(void)
{
    pthread_mutex_lock(&printed.lock);
    printed.end = 0;
    pthread_mutex_unlock(&printed.lock);
}

/* The last two different lines, joined by "; ". */
void log_last_lines(char *out, size_t size)
{
    char text[sizeof(printed.text) + 1];
    char *lines[2] = {NULL, NULL}, *line, *rest = text;
    size_t i, from, n = 0;
    pthread_mutex_lock(&printed.lock);
    from = printed.end > sizeof(printed.text) ? printed.end - sizeof(printed.text) : 0;
    for (i = from; i < printed.end; i++)
        text[n++] = printed.text[i % sizeof(printed.text)];
    pthread_mutex_unlock(&printed.lock);
    text[n] = 0;
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (strstr(line, "FATAL: ") != NULL) /* printed a second time without this word */
            continue;
        if (strstr(line, "Failed to register mp action") != NULL) /* without other processes this is as it should be */
            continue;
        if (line[strspn(line, " \t\r")] == 0 || (lines[1] != NULL && strcmp(lines[1], line) == 0))
            continue;
        lines[0] = lines[1];
        lines[1] = line;
    }
    snprintf(out, size, "%s%s%s", lines[0] ? lines[0] : "", lines[0] ? "; " : "", lines[1] ? lines[1] : "");
}

int explain(int error, char *text, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(text, size, format, args);
    va_end(args);
    text[strcspn(text, "\n")] = 0;
    return error > 0 ? error : EIO;
}

struct job {
    int (*run)(void *);
    void *arg;
    int result;
};

static void *work(void *p)
{
    struct job *job = p;
    own_thread = true;
    job->result = job->run(job->arg);
    return NULL;
}

int on_own_thread(int (*run)(void *), void *arg)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static FILE *out, *err;
    struct job job = {run, arg, EAGAIN};
    sigset_t all, mask;
    pthread_t thread;
    int error;
    pthread_mutex_lock(&lock);
    if (out == NULL) { /* kept for ever: another thread may just be printing to them */
        out = fopencookie(&real_stdout, "w", (cookie_io_functions_t){.write = keep_own});
        err = fopencookie(&real_stderr, "w", (cookie_io_functions_t){.write = keep_own});
        if (out == NULL || err == NULL) {
            pthread_mutex_unlock(&lock);
            return ENOMEM;
        }
        setvbuf(out, NULL, _IONBF, 0);
        setvbuf(err, NULL, _IONBF, 0);
    }
    real_stdout = stdout;
    real_stderr = stderr;
    stdout = out;
    stderr = err;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    error = pthread_create(&thread, NULL, work, &job);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (error == 0)
        pthread_join(thread, NULL);
    stdout = real_stdout;
    stderr = real_stderr;
    pthread_mutex_unlock(&lock);
    return error ? error : job.result;
}

/* DPDK starts once in a process, and cannot be ended so that it starts again. So it stays. Nor can it be started after a failure. */
int eal_start(const struct dmtr_dpdk_config *config, char *error, size_t error_size)
{
    static char *started; /* what was given then */
    static int failed;
    static char why[600];
    static FILE *log;
    char last[512], *given = strdup(config->given), **argv = calloc((size_t)config->num_args + 2, sizeof(*argv));
    int i, result = 0;
    if (given == NULL || argv == NULL) {
        result = ENOMEM;
    } else if (started != NULL) {
        if (strcmp(given, started) != 0)
            result = explain(EALREADY, error, error_size, "DPDK was started in this process before, with other arguments");
    } else if (failed != 0) {
        result = explain(failed, error, error_size, "%s (at the first try, and there is no other in one process)", why);
    } else {
        if (log == NULL && (log = fopencookie(NULL, "w", (cookie_io_functions_t){.write = keep})) != NULL)
            setvbuf(log, NULL, _IONBF, 0);
        rte_openlog_stream(log);
        argv[0] = program_invocation_short_name; /* DPDK gives it to openlog(), for which it is the default */
        for (i = 0; i < config->num_args; i++)
            argv[i + 1] = strdup(config->args[i]); /* DPDK may keep them */
        if (rte_eal_init(config->num_args + 1, argv) < 0) {
            int code = rte_errno;
            log_last_lines(last, sizeof(last));
            failed = result = explain(code, why, sizeof(why), "DPDK does not start: %s", last[0] ? last : rte_strerror(code));
            snprintf(error, error_size, "%s", why);
        } else {
            started = given;
            given = NULL;
        }
    }
    free(given);
    free(argv);
    return result;
}
