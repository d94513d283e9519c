/*
 * For programs that load the library by dlopen() instead of being linked to it: include this before
 * everything else, and all calls, those of test.h and peer.h too, go by the pointers that dl_load()
 * finds.
 */
#ifndef DMTR_TESTS_EMBED_DL_H
#define DMTR_TESTS_EMBED_DL_H

#include <dlfcn.h>
#include <dmtr/ext.h>
#include <dmtr/libos.h>
#include <dmtr/sga.h>
#include <dmtr/wait.h>
#include <stdio.h>
#include <stdlib.h>

#define DL_CALLS(CALL)                                                                              \
    CALL(init) CALL(queue) CALL(socket) CALL(getsockname) CALL(listen) CALL(bind) CALL(accept)      \
    CALL(connect) CALL(close) CALL(is_qd_valid) CALL(push) CALL(pop) CALL(poll) CALL(drop)          \
    CALL(wait) CALL(wait_any) CALL(wait_all) CALL(wait_timeout) CALL(wait_any_timeout) CALL(stop)   \
    CALL(resume) CALL(sgafree)

static struct {
#define DL_POINTER(name) __typeof__(dmtr_##name) *name;
    DL_CALLS(DL_POINTER)
} dl;

#define dmtr_init dl.init
#define dmtr_queue dl.queue
#define dmtr_socket dl.socket
#define dmtr_getsockname dl.getsockname
#define dmtr_listen dl.listen
#define dmtr_bind dl.bind
#define dmtr_accept dl.accept
#define dmtr_connect dl.connect
#define dmtr_close dl.close
#define dmtr_is_qd_valid dl.is_qd_valid
#define dmtr_push dl.push
#define dmtr_pop dl.pop
#define dmtr_poll dl.poll
#define dmtr_drop dl.drop
#define dmtr_wait dl.wait
#define dmtr_wait_any dl.wait_any
#define dmtr_wait_all dl.wait_all
#define dmtr_wait_timeout dl.wait_timeout
#define dmtr_wait_any_timeout dl.wait_any_timeout
#define dmtr_stop dl.stop
#define dmtr_resume dl.resume
#define dmtr_sgafree dl.sgafree

#include "net/peer.h"

/* Loads the library, and finds its calls; returns the handle of dlopen(). */
static inline void *dl_load(int flags)
{
    char path[4096];
    const char *dir = getenv("DMTR_LIB_DIR");
    snprintf(path, sizeof path, "%s/libdmtr.so", dir != NULL ? dir : "build/lib");
    void *lib = dlopen(path, flags);
    if (lib == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
#define DL_FIND(name)                                              \
    *(void **)&dl.name = dlsym(lib, "dmtr_" #name);                \
    if (dl.name == NULL) {                                         \
        fprintf(stderr, "there is no %s\n", "dmtr_" #name);        \
        exit(1);                                                   \
    }
    DL_CALLS(DL_FIND)
    return lib;
}

static inline int dl_loaded(void)
{
    char line[4096];
    int found = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL)
        found |= strstr(line, "/libdmtr.so") != NULL;
    fclose(f);
    return found;
}

/* A few echoes over TCP within this thread. */
static inline void dl_echo(uint32_t n)
{
    int client = 0, server = 0;
    test_tcp_pair(&client, &server);
    for (uint32_t i = 0; i < n; i++) {
        unsigned char data[3000];
        size_t len = 1 + i * 37 % sizeof data;
        fill(data, len, i, 0);
        q_push(client, data, len);
        q_pop_is(server, data, len);
        q_push(server, data, len);
        q_pop_is(client, data, len);
    }
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
}

#endif
