/*
 * The beginning of a library that we did not write, inside somebody else's process. It runs on a thread of its own, so that the
 * affinity of the caller stays as it is and threads that it starts inherit a mask that blocks all signals. What it prints goes into a
 * small buffer, of which the last lines become the text of an error.
 */
#define _GNU_SOURCE
#include "own_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
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

ssize_t log_keep(void *cookie, const char *text, size_t n)
{
    size_t i;
    (void)cookie;
    pthread_mutex_lock(&printed.lock);
    for (i = 0; i < n; i++)
        printed.text[printed.end++ % sizeof(printed.text)] = text[i];
    pthread_mutex_unlock(&printed.lock);
    return (ssize_t)n;
}

/* stdout and stderr while the own thread runs: what others print goes on to the real ones. Its stdout, as DPDK's usage, goes nowhere. */
static ssize_t keep_own(void *real, const char *text, size_t n)
{
    FILE *to = *(FILE **)real;
    if (own_thread)
        return to == real_stderr ? log_keep(NULL, text, n) : (ssize_t)n;
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
    int error, cancel;
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
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    if (error == 0)
        pthread_join(thread, NULL);
    pthread_setcancelstate(cancel, &cancel);
    stdout = real_stdout;
    stderr = real_stderr;
    pthread_mutex_unlock(&lock);
    return error ? error : job.result;
}
