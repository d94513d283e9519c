/* dmtr_pop2: the limit, where it counts and where it does not */
#include "api/kinds.h"

enum { MAX_MESSAGE = 64 << 20 };

static dmtr_qtoken_t start(int qd, size_t count)
{
    dmtr_qtoken_t qt = 0;
    CHECK_ERR(dmtr_pop2(&qt, qd, count), 0);
    CHECK_EQ(QT2QD(qt), qd);
    return qt;
}

static void test_stream(void)
{
    static unsigned char data[100000];
    size_t got = 0;
    int fd, qd = q_pair(&fd);
    dmtr_qtoken_t a, b;
    plain_send(fd, "0123456789", 10);
    q_wait_is(start(qd, 1), "0", 1);
    a = start(qd, 2);
    b = start(qd, 3);
    q_wait_is(b, "345", 3);
    q_wait_is(a, "12", 2);
    q_wait_is(start(qd, 100000), "6789", 4);
    a = start(qd, 4); /* pending when the bytes come */
    b = q_start_pop(qd);
    plain_send(fd, "abcdef", 6);
    q_wait_is(a, "abcd", 4);
    q_wait_is(b, "ef", 2);
    fill(data, sizeof data, 1, 0); /* more than an ordinary pop gives */
    plain_send(fd, data, sizeof data);
    while (got < sizeof data) {
        dmtr_qresult_t qr;
        uint32_t len;
        CHECK_ERR(dmtr_wait(&qr, start(qd, sizeof data)), 0);
        len = qr.qr_value.sga.sga_segs[0].sgaseg_len;
        check_fill(qr.qr_value.sga.sga_segs[0].sgaseg_buf, len, 1, got);
        got += len;
        free(qr.qr_value.sga.sga_buf);
    }
    CHECK_EQ(got, sizeof data);
    CHECK_ERR(dmtr_drop(start(qd, MAX_MESSAGE)), 0); /* as much as is allowed */
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/* Whole arrays, whatever the count. */
static void test_arrays(const struct kinds *k)
{
    char frame[100], data[50];
    struct sockaddr_in addr, mine;
    dmtr_qresult_t qr;
    int fd = plain_udp(&mine), udp = q_udp(&addr);
    plain_send(k->peer, frame, frame_build(frame, 1, SEGS(50), 3));
    fill(data, sizeof data, 3, 0);
    q_wait_is(start(k->connected, 7), data, 50);
    CHECK_EQ(sendto(fd, data, 50, 0, ADDR(&addr), sizeof addr), 50);
    q_wait_is(start(udp, 7), data, 50);
    q_push(k->memory, data, 50);
    CHECK_ERR(dmtr_wait(&qr, start(k->memory, 7)), 0);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 50);
    CHECK_ERR(dmtr_close(udp), 0);
    CHECK(close(fd) == 0);
}

int main(void)
{
    struct kinds k;
    dmtr_qtoken_t qt = 0;
    int qd = 0;
    test_init();
    kinds_open(&k);
    CHECK_BAD_QDS(&k, dmtr_pop2(&qt, qd, 1));
    CHECK_ERR(dmtr_pop2(NULL, k.memory, 1), EINVAL);
    CHECK_ERR(dmtr_pop2(&qt, k.memory, 0), EINVAL);
    CHECK_ERR(dmtr_pop2(&qt, k.connected, 0), EINVAL);
    CHECK_ERR(dmtr_pop2(&qt, k.file, 0), EINVAL);
    CHECK_ERR(dmtr_pop2(&qt, k.connected, MAX_MESSAGE + 1), EMSGSIZE);
    CHECK_ERR(dmtr_pop2(&qt, k.connected, (size_t)-1), EMSGSIZE);
    CHECK_ERR(dmtr_pop2(&qt, k.connected, (size_t)1 << 32), EMSGSIZE);
    CHECK_ERR(dmtr_pop2(&qt, k.file, ((size_t)1 << 32) + 1), EMSGSIZE);
    CHECK_ERR(dmtr_pop2(&qt, k.tcp, 1), EINVAL);
    CHECK_ERR(dmtr_pop2(&qt, k.udp, 1), EINVAL);
    CHECK_ERR(dmtr_pop2(&qt, k.listener, 1), ENOTSUP);
    CHECK_ERR(dmtr_open(&qd, k.path, O_WRONLY), 0);
    CHECK_ERR(dmtr_pop2(&qt, qd, 1), EBADF);
    CHECK_ERR(dmtr_close(qd), 0);
    q_push(k.file, "0123456789", 10);
    CHECK_ERR(dmtr_lseek(k.file, 0, SEEK_SET), 0);
    q_wait_is(start(k.file, 4), "0123", 4);
    q_wait_is(start(k.file, 100), "456789", 6);
    q_wait_is(start(k.file, 100), "", 0);
    test_arrays(&k);
    test_stream();
    kinds_close(&k);
    /* ENOBUFS: api/pop */
    return 0;
}
