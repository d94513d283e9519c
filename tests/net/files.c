/*
 * Files as queues: positions, ends, big ones, full devices, many at once, and beside sockets in one
 * wait. Runs a second time without io_uring.
 */
#include "net/peer.h"

#include <sys/stat.h>

enum { MIB = 1 << 20, BIG_MIB = 64, DEEP = 4 };

static char dir[256];

static const char *path_of(int i)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/f%d", dir, i);
    return path;
}

static int open_file(int i, int flags)
{
    int qd = 0;
    CHECK_ERR(dmtr_open2(&qd, path_of(i), flags, 0644), 0);
    return qd;
}

static void seek_to(int qd, off_t at)
{
    CHECK_ERR(dmtr_lseek(qd, at, SEEK_SET), 0);
}

static void expect_end(int qd)
{
    for (int i = 0; i < 2; i++)
        q_pop_is(qd, "", 0);
}

static void close_and_remove(int qd, int i)
{
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(remove(path_of(i)) == 0);
}

static dmtr_qtoken_t start_pop2(int qd, size_t n)
{
    dmtr_qtoken_t qt = 0;
    CHECK_ERR(dmtr_pop2(&qt, qd, n), 0);
    return qt;
}

/* One position, moved by pushes, pops and seeks, in the order in which they were started. */
static void test_position(void)
{
    int qd = open_file(0, O_RDWR | O_CREAT);
    dmtr_qtoken_t a, b, c;
    dmtr_sgarray_t sga = test_sga((void *)"!", 1);
    a = q_start_push(qd, "hello", 5);
    b = q_start_push(qd, ", world", 7);
    sga.sga_numsegs = 3;
    sga.sga_segs[1] = sga.sga_segs[2] = sga.sga_segs[0];
    sga.sga_segs[1].sgaseg_len = 0;
    CHECK_ERR(dmtr_push(&c, qd, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, c), 0);
    CHECK_ERR(dmtr_wait(NULL, b), 0);
    CHECK_ERR(dmtr_wait(NULL, a), 0);
    expect_end(qd);
    seek_to(qd, 0);
    q_pop_is(qd, "hello, world!!", 14);
    expect_end(qd);
    seek_to(qd, 1);
    a = start_pop2(qd, 4);
    b = start_pop2(qd, 2);
    c = start_pop2(qd, 100);
    q_wait_is(c, "world!!", 7);
    q_wait_is(b, ", ", 2);
    q_wait_is(a, "ello", 4);
    seek_to(qd, 2);
    q_push(qd, "LL", 2);
    q_wait_is(start_pop2(qd, 3), "o, ", 3);
    CHECK_ERR(dmtr_lseek(qd, -3, SEEK_CUR), 0);
    q_push(qd, "0", 1);
    CHECK_ERR(dmtr_lseek(qd, -1, SEEK_END), 0);
    q_pop_is(qd, "!", 1);
    CHECK_ERR(dmtr_lseek(qd, 5, SEEK_END), 0); /* behind the end: a hole when written */
    expect_end(qd);
    q_push(qd, "end", 3);
    seek_to(qd, 0);
    q_pop_is(qd, "heLL0, world!!\0\0\0\0\0end", 22);
    a = q_start_push(qd, "after", 5); /* a seek awaits what was started before */
    seek_to(qd, 22);
    q_pop_is(qd, "after", 5);
    CHECK_ERR(dmtr_wait(NULL, a), 0);
    close_and_remove(qd, 0);
}

static void test_default_size(void)
{
    static unsigned char data[40000];
    int qd = open_file(0, O_RDWR | O_CREAT);
    fill(data, sizeof data, 1, 0);
    q_push(qd, data, sizeof data);
    seek_to(qd, 0);
    q_pop_is(qd, data, 16384);
    q_pop_is(qd, data + 16384, 16384);
    q_pop_is(qd, data + 32768, 40000 - 32768);
    expect_end(qd);
    close_and_remove(qd, 0);
}

static void test_append(void)
{
    int qd, reader;
    write_file(path_of(0), "abc");
    qd = open_file(0, O_WRONLY | O_APPEND);
    q_push(qd, "def", 3);
    write_file(path_of(0), "x"); /* cut off and written anew under it */
    q_push(qd, "ghi", 3);
    reader = open_file(0, O_RDONLY);
    q_pop_is(reader, "xghi", 4);
    seek_to(qd, 0);
    q_push(qd, "jkl", 3); /* to the end, wherever the position is */
    q_pop_is(reader, "jkl", 3);
    CHECK_ERR(dmtr_close(reader), 0);
    close_and_remove(qd, 0);
}

/* 64 MiB written and read back, with several operations in flight. */
static void test_big(void)
{
    unsigned char *data[DEEP];
    dmtr_qtoken_t qts[DEEP];
    struct stat st;
    size_t from = 0;
    int qd = open_file(0, O_RDWR | O_CREAT);
    for (int i = 0; i < BIG_MIB + DEEP; i++) {
        int k = i % DEEP;
        if (i >= DEEP) {
            CHECK_ERR(dmtr_wait(NULL, qts[k]), 0);
            free(data[k]);
        }
        if (i < BIG_MIB) {
            data[k] = (unsigned char *)xmalloc(MIB);
            fill(data[k], MIB, 9, (size_t)i * MIB);
            qts[k] = q_start_push(qd, data[k], MIB);
        }
    }
    CHECK(stat(path_of(0), &st) == 0 && st.st_size == (off_t)BIG_MIB * MIB);
    seek_to(qd, 0);
    for (int k = 0; k < DEEP; k++)
        qts[k] = start_pop2(qd, MIB);
    for (int k = 0;; k = (k + 1) % DEEP) {
        dmtr_qresult_t qr;
        const dmtr_sgaseg_t *seg = &qr.qr_value.sga.sga_segs[0];
        CHECK_ERR(dmtr_wait(&qr, qts[k]), 0);
        CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
        CHECK(seg->sgaseg_len <= MIB);
        check_fill(seg->sgaseg_buf, seg->sgaseg_len, 9, from);
        from += seg->sgaseg_len;
        free(qr.qr_value.sga.sga_buf);
        qts[k] = start_pop2(qd, MIB);
        if (seg->sgaseg_len == 0)
            break;
    }
    CHECK_EQ(from, (size_t)BIG_MIB * MIB);
    for (int k = 0; k < DEEP; k++)
        CHECK_ERR(dmtr_drop(qts[k]), 0);
    close_and_remove(qd, 0);
}

static void test_devices(void)
{
    int qd = 0;
    dmtr_qtoken_t a, b;
    CHECK_ERR(dmtr_open(&qd, "/dev/full", O_WRONLY), 0);
    a = q_start_push(qd, dir, 10);
    b = q_start_push(qd, dir, 10);
    q_wait_fails(b, DMTR_OPC_PUSH, ENOSPC);
    q_wait_fails(a, DMTR_OPC_PUSH, ENOSPC);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_open(&qd, "/dev/null", O_RDWR), 0);
    q_push(qd, dir, 10);
    expect_end(qd);
    CHECK_ERR(dmtr_close(qd), 0);
}

/* Many files, all their operations in one array. */
static void test_many(void)
{
    enum { FILES = 100, EACH = 20 };
    dmtr_qtoken_t qts[FILES];
    int qds[FILES], left = FILES;
    int owner[FILES], count[FILES] = {0};
    static unsigned char data[EACH][1000];
    for (int i = 0; i < EACH; i++)
        fill(data[i], sizeof data[i], (uint32_t)i, 0);
    for (int i = 0; i < FILES; i++) {
        qds[i] = open_file(i, O_RDWR | O_CREAT);
        owner[i] = i;
        qts[i] = q_start_push(qds[i], data[0], sizeof data[0]);
    }
    while (left > 0) {
        dmtr_qresult_t qr;
        int at = -1, f;
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts, left), 0);
        f = owner[at];
        CHECK_EQ(qr.qr_qd, qds[f]);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
        if (++count[f] < EACH) {
            qts[at] = q_start_push(qds[f], data[count[f]], sizeof data[0]);
        } else {
            left--;
            qts[at] = qts[left];
            owner[at] = owner[left];
        }
    }
    for (int i = 0; i < FILES; i++) {
        seek_to(qds[i], 0);
        qts[i] = start_pop2(qds[i], sizeof data);
    }
    for (int i = 0; i < FILES; i++) {
        q_wait_is(qts[i], data, sizeof data);
        close_and_remove(qds[i], i);
    }
}

/* A log written beside an echo: in one array, neither waits for the other. */
static void test_beside_socket(void)
{
    enum { WRITES = 32 };
    unsigned char *data = (unsigned char *)xmalloc(MIB);
    char byte;
    int fd, qd = q_pair(&fd), log = open_file(0, O_WRONLY | O_CREAT | O_APPEND), writes = 0,
            echoes = 0;
    dmtr_qtoken_t qts[2];
    struct stat st;
    fill(data, MIB, 1, 0);
    qts[0] = q_start_push(log, data, MIB);
    qts[1] = q_start_pop(qd);
    plain_send(fd, "e", 1);
    while (writes < WRITES || echoes < 200) {
        dmtr_qresult_t qr;
        int at = -1;
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts, 2), 0);
        CHECK_EQ(qr.qr_qd, at == 0 ? log : qd);
        if (at == 0) {
            if (++writes < WRITES)
                qts[0] = q_start_push(log, data, MIB);
            else
                qts[0] = q_start_push(log, data, 1);
        } else {
            dmtr_qtoken_t push = 0;
            CHECK_ERR(dmtr_push(&push, qd, &qr.qr_value.sga), 0);
            CHECK_ERR(dmtr_wait(NULL, push), 0);
            free(qr.qr_value.sga.sga_buf);
            CHECK_EQ(plain_recv(fd, &byte, 1), 1);
            echoes++;
            qts[1] = q_start_pop(qd);
            plain_send(fd, "e", 1);
        }
    }
    CHECK(stat(path_of(0), &st) == 0 && st.st_size >= (off_t)WRITES * MIB);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
    CHECK_ERR(dmtr_wait(NULL, qts[0]), 0);
    CHECK(dmtr_drop(qts[1]) == 0);
    close_and_remove(log, 0);
    free(data);
}

/* A read that takes long (a terminal nobody types at) holds up no socket, and no other file. */
static void test_slow_file(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), tty = 0, fd, qd = q_pair(&fd), file;
    dmtr_qtoken_t slow;
    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    CHECK_ERR(dmtr_open(&tty, ptsname(master), O_RDWR | O_NOCTTY), 0);
    slow = q_start_pop(tty);
    file = open_file(0, O_RDWR | O_CREAT);
    for (int i = 0; i < 50; i++) {
        plain_send(fd, "e", 1);
        q_pop_is(qd, "e", 1);
        q_push(file, "line\n", 5);
        CHECK_ERR(dmtr_poll(NULL, slow), EAGAIN);
    }
    CHECK_EQ(write(master, "typed\n", 6), 6);
    q_wait_is(slow, "typed\n", 6);
    CHECK_ERR(dmtr_close(tty), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    close_and_remove(file, 0);
    CHECK(close(master) == 0 && close(fd) == 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        run_again("default", NULL, NULL);
        run_with_config("threads", "posix:\n  io_uring: false\n");
        return 0;
    }
    fprintf(stderr, "case %s\n", argv[1]);
    test_init();
    make_folder(dir, sizeof dir);
    test_position();
    test_default_size();
    test_append();
    test_big();
    test_devices();
    test_many();
    test_beside_socket();
    test_slow_file();
    CHECK(remove(dir) == 0);
    return 0;
}
