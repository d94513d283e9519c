/* Shared by the libraries in C that libdmtr.so opens at run time; see own_thread.c. */
#ifndef DMTR_OWN_THREAD_H
#define DMTR_OWN_THREAD_H

#include <stddef.h>
#include <sys/types.h>

/* Runs it and returns what it returns, or an errno if there is no thread to be had. */
int on_own_thread(int (*run)(void *), void *arg);
void log_clear(void);
/* The last two different lines, joined by "; ". */
void log_last_lines(char *out, size_t size);
/* Adds to them; for fopencookie. */
ssize_t log_keep(void *cookie, const char *text, size_t n);
/* Makes one line of text. Returns the error, or EIO for one that is none. */
int explain(int error, char *text, size_t size, const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
