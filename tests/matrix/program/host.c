/* A program that opens a plugin of the other generation: both use the one library, and the same queues and tokens. */
#include "program.h"

#include "plugin.h"

static char text[] = "to be or not to be";
enum { LEN = sizeof text };

static struct {
    __typeof__(&plugin_push) push;
    __typeof__(&plugin_start_pop) start_pop;
    __typeof__(&plugin_pop) pop;
    __typeof__(&plugin_tcp_pair) tcp_pair;
} plugin;

static void open_plugin(const char *name)
{
    void *h = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (h == NULL)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(h != NULL);
    *(void **)&plugin.push = dlsym(h, "plugin_push");
    *(void **)&plugin.start_pop = dlsym(h, "plugin_start_pop");
    *(void **)&plugin.pop = dlsym(h, "plugin_pop");
    *(void **)&plugin.tcp_pair = dlsym(h, "plugin_tcp_pair");
    CHECK(plugin.push != NULL && plugin.start_pop != NULL && plugin.pop != NULL && plugin.tcp_pair != NULL);
}

static void push(int qd, const dmtr_sgarray_t *sga)
{
    dmtr_qtoken_t qt = 0;
    CHECK_EQ(CALL(dmtr_push)(&qt, qd, sga), 0);
    CHECK_EQ(CALL(dmtr_wait)(NULL, qt), 0);
}

static dmtr_qtoken_t start_pop(int qd)
{
    dmtr_qtoken_t qt = 0;
    CHECK_EQ(CALL(dmtr_pop)(&qt, qd), 0);
    return qt;
}

/* The plugin waits for the token and gets these bytes in a heap block. */
static void check_plugin_pop(dmtr_qtoken_t qt, int way)
{
    void *block = NULL;
    const char *bytes = NULL;
    size_t len = 0;
    CHECK_EQ(plugin.pop(qt, way, &block, &bytes, &len), 0);
    CHECK_EQ(len, LEN);
    CHECK(memcmp(bytes, text, LEN) == 0);
    CHECK(block != NULL);
    free(block);
}

static void test_network(int client, int server)
{
    struct guarded g;
    dmtr_sgarray_t sga = array_of(text, LEN);
    for (int way = 0; way < NUM_WAYS && DMTR_API == 2019; way++) {
        push(client, &sga);
        check_plugin_pop(way % 2 == 0 ? start_pop(server) : plugin.start_pop(server), way);
    }
    plugin.push(server, text, LEN);
    dmtr_qtoken_t qt = plugin.start_pop(client);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qt), 0);
    check_result(&g, DMTR_OPC_POP, qt);
    CHECK(array_holds(&g.qr.qr_value.sga, text, LEN));
    CHECK_EQ(CALL(dmtr_sgafree)(&g.qr.qr_value.sga), 0);
}

/* An array of one segment goes either way; the address of where it lies stays. */
static void test_memory(int qd)
{
    struct guarded g;
    void *buf = NULL;
    const char *bytes = NULL;
    size_t len = 0;
    dmtr_sgarray_t sga = array_of(text, LEN);
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_len = LEN;
    sga.sga_buf = text + 1;
    push(qd, &sga);
    CHECK_EQ(plugin.pop(plugin.start_pop(qd), BY_WAIT, &buf, &bytes, &len), 0);
    CHECK(buf == text + 1 && bytes == text);
    CHECK_EQ(len, LEN);
    plugin.push(qd, text, LEN);
    refresh(&g);
    dmtr_qtoken_t qt = start_pop(qd);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qt), DMTR_API == 2019 ? 0 : EMSGSIZE);
    check_result(&g, DMTR_OPC_POP, qt);
    CHECK_EQ(g.qr.qr_value.sga.sga_numsegs, DMTR_API == 2019);
}

/* What the library has not received it cannot put together, but the program gets its own pointer back. */
static void test_memory_segments(int qd)
{
    dmtr_sgarray_t sga = array_of(text, LEN);
    sga.sga_buf = text + 1;
    for (int way = 0; way < NUM_WAYS; way++) {
        void *buf = NULL;
        const char *bytes = NULL;
        size_t len = 77;
        push(qd, &sga);
        CHECK_EQ(plugin.pop(start_pop(qd), way, &buf, &bytes, &len), EMSGSIZE);
        CHECK_EQ(len, 0);
        CHECK(buf == text + 1);
    }
}

/* But a message handed on as it was received is put together there, too. */
static void test_handed_on(int qd, int client, int server)
{
    dmtr_sgarray_t sga = array_of(text, LEN);
    for (int way = 0; way < NUM_WAYS; way++) {
        dmtr_qresult_t qr;
        push(client, &sga);
        CHECK_EQ(CALL(dmtr_wait)(&qr, start_pop(server)), 0);
        CHECK_EQ(qr.qr_value.sga.sga_numsegs, 3);
        push(qd, &qr.qr_value.sga);
        check_plugin_pop(start_pop(qd), way);
    }
}

int main(int argc, char *argv[])
{
    int client = 0, server = 0, qd = 0;
    alarm(60);
    CHECK_EQ(argc, 2);
    open_plugin(argv[1]);
    CHECK_EQ(CALL(dmtr_init)(0, NULL), 0);
    CHECK_EQ(CALL(dmtr_queue)(&qd), 0);
    plugin.tcp_pair(&client, &server);
    test_network(client, server);
    test_memory(qd);
    if (DMTR_API == 2019) {
        test_memory_segments(qd);
        test_handed_on(qd, client, server);
    }
    return 0;
}
