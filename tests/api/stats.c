/* dmtr_counters, dmtr_dump_counters, dmtr_tcp_info */
#include "api/kinds.h"

#include <dmtr/stats.h>

enum { ROOM = 1024 };

static dmtr_counter_t all[ROOM];

static int read_all(void)
{
    int n = 0;
    CHECK_ERR(dmtr_counters(all, ROOM, &n), 0);
    CHECK(n > 0 && n <= ROOM);
    return n;
}

static uint64_t value_of(const char *name)
{
    for (int i = 0, n = read_all(); i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].value;
    fprintf(stderr, "no counter %s\n", name);
    exit(1);
}

static void test_counters(void)
{
    int n = read_all(), again = 0, qd = 0;
    uint64_t queues = value_of("engine.queues");
    dmtr_counter_t two[2];
    for (int i = 0; i < n; i++) {
        CHECK(memchr(all[i].name, 0, sizeof all[i].name) != NULL && strchr(all[i].name, '.') != NULL);
        CHECK(strspn(all[i].name, "abcdefghijklmnopqrstuvwxyz0123456789._") == strlen(all[i].name));
        for (int j = 0; j < i; j++)
            CHECK(strcmp(all[i].name, all[j].name) != 0);
    }
    CHECK_ERR(dmtr_counters(NULL, 0, &again), 0);
    CHECK_EQ(again, n);
    memset(two, 0xee, sizeof two);
    CHECK_ERR(dmtr_counters(two, 1, &again), 0);
    CHECK_EQ(again, n);
    CHECK(strcmp(two[0].name, all[0].name) == 0);
    CHECK_EQ(two[1].name[0], (char)0xee); /* nothing behind */
    CHECK_ERR(dmtr_counters(NULL, 1, &again), EINVAL);
    CHECK_ERR(dmtr_counters(all, -1, &again), EINVAL);
    CHECK_ERR(dmtr_counters(all, 1, NULL), EINVAL);
    CHECK_ERR(dmtr_queue(&qd), 0);
    CHECK_EQ(value_of("engine.queues"), queues + 1);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_EQ(value_of("engine.queues"), queues);
}

static void test_dump(void)
{
    char name[100], last[100] = "";
    unsigned long long value;
    int lines = 0;
    FILE *f = tmpfile(), *full = fopen("/dev/full", "w");
    CHECK(f != NULL);
    CHECK_ERR(dmtr_dump_counters(NULL), EINVAL);
    CHECK_ERR(dmtr_dump_counters(f), 0);
    rewind(f);
    for (; fscanf(f, "%99s %llu\n", name, &value) == 2; lines++) {
        CHECK(strcmp(last, name) < 0 && value != 0);
        strcpy(last, name);
    }
    CHECK(feof(f) && lines > 0);
    fclose(f);
    if (full != NULL) {
        CHECK_ERR(dmtr_dump_counters(full), EIO);
        fclose(full);
    }
}

static void test_tcp_info(const struct kinds *k)
{
    dmtr_tcp_info_t info;
    struct {
        dmtr_tcp_info_t info;
        char more[16];
    } larger;
    char data[1000], frame[16 + sizeof data];
    CHECK_BAD_QDS(k, dmtr_tcp_info(qd, &info, sizeof info));
    CHECK_ERR(dmtr_tcp_info(k->connected, NULL, sizeof info), EINVAL);
    CHECK_ERR(dmtr_tcp_info(k->connected, &info, 0), EINVAL);
    CHECK_ERR(dmtr_tcp_info(k->tcp, &info, sizeof info), EINVAL);
    CHECK_ERR(dmtr_tcp_info(k->listener, &info, sizeof info), ENOTSUP);
    CHECK_ERR(dmtr_tcp_info(k->udp, &info, sizeof info), ENOTSUP);
    CHECK_ERR(dmtr_tcp_info(k->memory, &info, sizeof info), ENOTSUP);
    CHECK_ERR(dmtr_tcp_info(k->file, &info, sizeof info), ENOTSUP);

    plain_send_message(k->peer, 300, 1);
    CHECK_EQ(q_pop_error(k->connected), 0);
    fill(data, sizeof data, 2, 0);
    q_push(k->connected, data, sizeof data);
    CHECK_EQ(plain_recv(k->peer, frame, sizeof frame), sizeof frame);
    plain_send_message(k->peer, 1, 1); /* by now the peer has acknowledged what it got */
    CHECK_EQ(q_pop_error(k->connected), 0);
    memset(&info, 0xee, sizeof info);
    CHECK_ERR(dmtr_tcp_info(k->connected, &info, sizeof info), 0);
    CHECK_EQ(info.state, DMTR_TCP_ESTABLISHED);
    CHECK_EQ(info.bytes_received, 16 + 300 + 16 + 1);
    CHECK_EQ(info.bytes_sent, sizeof frame);
    CHECK_EQ(info.retransmits, 0);
    CHECK(info.mss >= 500 && info.rtt_ns > 0 && info.rtt_ns < UINT64_C(1000000000) && info.rto_ns >= UINT64_C(1000000));
    CHECK(info.congestion_window > 0 && info.send_window > 0 && info.segments_sent > 0 && info.segments_received > 0);

    memset(&larger, 0xee, sizeof larger);
    CHECK_ERR(dmtr_tcp_info(k->connected, &larger.info, sizeof larger), 0);
    CHECK_EQ(larger.info.state, DMTR_TCP_ESTABLISHED);
    for (size_t i = 0; i < sizeof larger.more; i++)
        CHECK_EQ(larger.more[i], 0);
    memset(&larger, 0x11, sizeof larger);
    CHECK_ERR(dmtr_tcp_info(k->connected, &larger.info, sizeof larger.info.state), 0);
    CHECK_EQ(larger.info.state, DMTR_TCP_ESTABLISHED);
    CHECK_EQ(larger.info.flags, 0x11111111);
}

int main(void)
{
    struct kinds k;
    int n = 0;
    dmtr_tcp_info_t info;
    CHECK_ERR(dmtr_counters(NULL, 0, &n), EPERM);
    CHECK_ERR(dmtr_dump_counters(stdout), EPERM);
    CHECK_ERR(dmtr_tcp_info(1, &info, sizeof info), EPERM);
    test_init();
    kinds_open(&k);
    test_counters();
    test_dump();
    test_tcp_info(&k);
    kinds_close(&k);
    return 0;
}
