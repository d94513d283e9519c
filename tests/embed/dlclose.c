/*
 * Loading by dlopen(), in all its modes and in any thread, and what dlclose() does: nothing. The
 * library stays, with its queues and connections, and the next dlopen() finds it as it was.
 */
#include "embed/dl.h"
#include "embed/cases.h"

static const struct {
    const char *name;
    int flags;
} modes[] = {
    {"now", RTLD_NOW},
    {"lazy", RTLD_LAZY},
    {"local", RTLD_NOW | RTLD_LOCAL},
    {"global", RTLD_NOW | RTLD_GLOBAL},
    {"deepbind", RTLD_NOW | RTLD_DEEPBIND},
    {"lazy_deepbind", RTLD_LAZY | RTLD_LOCAL | RTLD_DEEPBIND},
};
enum { MODES = sizeof modes / sizeof modes[0], REOPENED = 20 };

static void *load(void *arg)
{
    *(void **)arg = dl_load(modes[**(int **)arg].flags);
    return NULL;
}

static void *load_and_use(void *arg)
{
    load(arg);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    dl_echo(10);
    return NULL;
}

static void *echo(void *arg)
{
    dl_echo(50);
    return arg;
}

/* Uses the library, closes it, and opens it again. */
static void close_and_open(void *lib, int flags)
{
    int client = 0, server = 0, qd = 0;
    pthread_t t;
    test_tcp_pair(&client, &server);
    for (int i = 0; i < REOPENED; i++) {
        memset(&dl, 0, sizeof dl);
        CHECK_EQ(dlclose(lib), 0);
        CHECK(dl_loaded());
        lib = dl_load(flags);
        CHECK_ERR(dmtr_init(0, NULL), EPERM);
        q_push(client, &i, sizeof i);
        q_pop_is(server, &i, sizeof i);
        CHECK_ERR(dmtr_queue(&qd), 0);
        CHECK_ERR(dmtr_close(qd), 0);
    }
    /* While another thread is inside, and once too often. */
    start_thread(&t, echo, NULL);
    usleep(1000);
    CHECK_EQ(dlclose(lib), 0);
    CHECK(dl_loaded());
    join_thread(t);
    dl_echo(10);
}

/* By the main thread, by one that ends, and by one that is the first to use it. */
static void run_case(const char *name)
{
    int mode = -1, by = -1;
    void *lib = NULL, *arg;
    pthread_t t;
    CHECK_EQ(sscanf(name, "%d-%d", &mode, &by), 2);
    arg = &mode;
    if (by == 0)
        load(&arg);
    else {
        start_thread(&t, by == 1 ? load : load_and_use, &arg);
        join_thread(t);
    }
    lib = arg;
    if (by != 2)
        CHECK_ERR(dmtr_init(0, NULL), 0);
    CHECK_ERR(dmtr_init(0, NULL), EPERM);
    close_and_open(lib, modes[mode].flags);
}

/* Loaded and closed again without use, as one does to look whether it is there. */
static void never_used(void)
{
    for (int i = 0; i < REOPENED; i++)
        CHECK_EQ(dlclose(dl_load(RTLD_LAZY)), 0);
    CHECK(dl_loaded());
    CHECK_ERR(dl.init(0, NULL), 0);
    dl_echo(3);
}

int main(int argc, char **argv)
{
    char name[64];
    if (argc > 1) {
        no_core_file();
        alarm(10);
        if (strcmp(argv[1], "never_used") == 0)
            never_used();
        else
            run_case(argv[1]);
        return 0;
    }
    test_watchdog();
    case_passes("never_used");
    for (int mode = 0; mode < MODES; mode++)
        for (int by = 0; by < 3; by++) {
#ifdef __SANITIZE_ADDRESS__
            if (modes[mode].flags & RTLD_DEEPBIND)
                continue; /* which the sanitizer does not allow */
#endif
            snprintf(name, sizeof name, "%d-%d", mode, by);
            case_passes(name);
        }
    return cases_failed != 0;
}
