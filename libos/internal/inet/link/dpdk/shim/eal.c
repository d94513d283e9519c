/* Starting DPDK, on a thread of its own (own_thread.c). */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        if (log == NULL && (log = fopencookie(NULL, "w", (cookie_io_functions_t){.write = log_keep})) != NULL)
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
