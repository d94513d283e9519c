/*
 * A program of old, in C or C++: the tests build it with old link lines. It prints the name of the object its calls end up in, and the
 * libOS that a selector chose, then uses the library.
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dmtr/annot.h>
#include <dmtr/latency.h>
#include <dmtr/libos.h>
#include <dmtr/wait.h>
#ifdef USE_BOOST
#include <boost/chrono.hpp>
#endif

static int echo(void)
{
    int qd = 0;
    char text[] = "hello";
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    dmtr_sgarray_t sga;
    memset(&sga, 0, sizeof sga);
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_buf = text;
    sga.sga_segs[0].sgaseg_len = sizeof text;
    DMTR_OK(dmtr_queue(&qd));
    DMTR_OK(dmtr_push(&qt, qd, &sga));
    DMTR_OK(dmtr_wait(NULL, qt));
    DMTR_OK(dmtr_pop(&qt, qd));
    DMTR_OK(dmtr_wait(&qr, qt));
    DMTR_TRUE(EINVAL, qr.qr_value.sga.sga_segs[0].sgaseg_buf == text);
    DMTR_OK(dmtr_close(qd));
    return 0;
}

static int measure(void)
{
    dmtr_latency_t *latency = NULL;
#ifdef USE_BOOST
    boost::chrono::steady_clock::time_point start = boost::chrono::steady_clock::now();
    uint64_t ns = 1 + (uint64_t)(boost::chrono::steady_clock::now() - start).count();
#else
    uint64_t start = dmtr_now_ns();
    uint64_t ns = 1 + dmtr_now_ns() - start;
#endif
    DMTR_OK(dmtr_new_latency(&latency, "app"));
    DMTR_OK(dmtr_record_latency(latency, ns));
    DMTR_OK(dmtr_dump_latency(stderr, latency));
    DMTR_OK(dmtr_delete_latency(&latency));
    return 0;
}

int main(int argc, char *argv[])
{
    Dl_info info;
    const char *libos = (const char *)dlsym(RTLD_DEFAULT, "dmtr_default_libos");
    if (dladdr(dlsym(RTLD_DEFAULT, "dmtr_init"), &info) == 0)
        return 1;
    printf("%s %s\n", strrchr(info.dli_fname, '/') + 1, libos != NULL ? libos : "none");
    DMTR_OK(dmtr_init(argc, argv));
    DMTR_TRUE(EEXIST, dmtr_init(argc, argv) == EPERM); /* one library, one state */
    DMTR_OK(echo());
    DMTR_OK(measure());
    return 0;
}
