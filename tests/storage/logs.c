/*
 * Files on the storage spdk, in each wait mode: what was pushed is there in the next process, in order; positions, names, trimming, a
 * full drive; in one wait with sockets.
 */
#include "net/peer.h"

#include <dmtr/ext.h>
#include <sys/wait.h>

enum { MANY = 500 };

static int open_log(const char *name, int flags)
{
    int qd = 0;
    CHECK_ERR(dmtr_open2(&qd, name, flags, 0600), 0);
    return qd;
}

static void seek_to(int qd, off_t at)
{
    CHECK_ERR(dmtr_lseek(qd, at, SEEK_SET), 0);
}

static void check_names(void)
{
    char name[300];
    int qd = 0;
    memset(name, 'n', sizeof name);
    name[299] = 0;
    CHECK_ERR(dmtr_open(&qd, "none", O_RDWR), ENOENT);
    CHECK_ERR(dmtr_open(&qd, "", O_RDWR), ENOENT);
    CHECK_ERR(dmtr_open2(&qd, name, O_RDWR | O_CREAT, 0600), ENAMETOOLONG);
    name[255] = 0;
    CHECK_ERR(dmtr_close(open_log(name, O_RDWR | O_CREAT | O_EXCL)), 0);
    CHECK_ERR(dmtr_open2(&qd, name, O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
    CHECK_ERR(dmtr_unlink(name), 0);
    CHECK_ERR(dmtr_unlink(name), ENOENT);
    CHECK_ERR(dmtr_open(&qd, name, O_RDWR), ENOENT);
}

static void check_position(void)
{
    dmtr_qtoken_t qt = 0;
    int qd = 0;
    CHECK_ERR(dmtr_creat(&qd, "/a/b c", 0600), 0);
    q_push(qd, "hello", 5);
    CHECK_ERR(dmtr_pop(&qt, qd), EBADF);
    CHECK_ERR(dmtr_close(qd), 0);
    qd = open_log("/a/b c", O_RDWR);
    q_pop_is(qd, "hello", 5);
    q_pop_is(qd, "", 0);
    seek_to(qd, 1);
    CHECK_ERR(dmtr_pop2(&qt, qd, 3), 0);
    q_wait_is(qt, "ell", 3);
    q_push(qd, ", world", 7);
    q_pop_is(qd, "", 0);
    CHECK_ERR(dmtr_lseek(qd, -5, SEEK_END), 0);
    q_pop_is(qd, "world", 5);
    CHECK_ERR(dmtr_lseek(qd, 1, SEEK_CUR), EINVAL);
    CHECK_ERR(dmtr_trim(qd, 7), 0);
    CHECK_ERR(dmtr_lseek(qd, 6, SEEK_SET), EINVAL);
    CHECK_ERR(dmtr_trim(qd, 13), EINVAL);
    CHECK_ERR(dmtr_close(qd), 0);
    qd = open_log("/a/b c", O_RDONLY);
    q_pop_is(qd, "world", 5);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_unlink("/a/b c"), 0);
}

/* The name is the program's memory, and the library's only during the call. */
static void check_name_in_buffer(void)
{
    char name[32] = "name in a buffer";
    int qd = open_log(name, O_RDWR | O_CREAT);
    q_push(qd, "mine", 4);
    CHECK_ERR(dmtr_close(qd), 0);
    memset(name, 'x', strlen(name));
    qd = open_log(name, O_RDWR | O_CREAT); /* writes the names anew */
    CHECK_ERR(dmtr_close(qd), 0);
    qd = open_log("name in a buffer", O_RDWR);
    q_pop_is(qd, "mine", 4);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_unlink(name), 0);
    CHECK_ERR(dmtr_unlink("name in a buffer"), 0);
}

/* The records of earlier processes, and many more at once. */
static void check_kept(int round)
{
    static dmtr_qtoken_t qts[MANY];
    static uint32_t numbers[MANY];
    dmtr_sgarray_t sga;
    int qd = open_log("kept", O_RDWR | O_CREAT);
    for (uint32_t i = 0; i < (uint32_t)round * MANY; i++)
        q_pop_is(qd, &i, sizeof i);
    q_pop_is(qd, "", 0);
    for (int i = 0; i < MANY; i++) {
        numbers[i] = (uint32_t)(round * MANY + i);
        sga = test_sga(&numbers[i], sizeof numbers[i]);
        CHECK_ERR(dmtr_push(&qts[i], qd, &sga), 0);
    }
    for (int i = 0; i < MANY; i++)
        CHECK_ERR(dmtr_wait(NULL, qts[i]), 0);
    /* The process ends with the log open. */
}

static void check_beside_socket(void)
{
    enum { WRITES = 20 };
    int fd, qd = q_pair(&fd), log = open_log("beside", O_WRONLY | O_CREAT | O_APPEND), writes = 0, echoes = 0;
    dmtr_qtoken_t qts[2];
    qts[0] = q_start_pop(qd);
    qts[1] = q_start_push(log, "record", 6);
    plain_send(fd, "x", 1);
    while (writes < WRITES || echoes < WRITES) {
        dmtr_qresult_t qr;
        int at = -1;
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts, 2), 0);
        if (qr.qr_opcode == DMTR_OPC_PUSH) {
            writes++;
            qts[at] = q_start_push(log, "record", 6);
        } else {
            free(qr.qr_value.sga.sga_buf);
            echoes++;
            qts[at] = q_start_pop(qd);
            plain_send(fd, "x", 1);
        }
    }
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(log), 0);
    CHECK(close(fd) == 0);
}

static void check_full(void)
{
    enum { BYTES = 1 << 20 };
    unsigned char *data = (unsigned char *)xmalloc(BYTES);
    int pushes = 0, err = 0, qd = open_log("full", O_RDWR | O_CREAT), kept;
    fill(data, BYTES, 1, 0);
    for (; err == 0; pushes++) {
        CHECK(pushes < 100);
        err = dmtr_wait(NULL, q_start_push(qd, data, BYTES));
    }
    CHECK_EQ(err, ENOSPC);
    kept = pushes - 1;
    CHECK(kept > 10);
    seek_to(qd, (off_t)(kept - 1) * BYTES);
    q_pop_is(qd, data, 16384);
    CHECK_ERR(dmtr_trim(qd, (off_t)(kept - 1) * BYTES), 0);
    q_push(qd, data, BYTES);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_unlink("full"), 0);
    free(data);
}

static void in_mode(const char *mode, int round)
{
    int status = 0;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        setenv("DMTR_WAIT", mode, 1);
        CHECK_ERR(dmtr_init(0, NULL), 0);
        check_names();
        check_position();
        check_name_in_buffer();
        check_beside_socket();
        check_full();
        check_kept(round);
        exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_EQ(status, 0);
}

int main(void)
{
    test_watchdog();
    in_mode("block", 0);
    in_mode("adaptive", 1);
    in_mode("spin", 2);
    return 0;
}
