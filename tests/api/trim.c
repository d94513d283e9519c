/* dmtr_trim: what lies before a position becomes a hole */
#include "api/kinds.h"

#include <dmtr/ext.h>
#include <sys/stat.h>

int main(void)
{
    enum { SIZE = 1 << 20 };
    struct kinds k;
    struct stat before, after;
    unsigned char *data = (unsigned char *)xmalloc(SIZE);
    int qd = 0, rc;
    test_init();
    kinds_open(&k);
    CHECK_BAD_QDS(&k, dmtr_trim(qd, 0));
    CHECK_ERR(dmtr_trim(k.memory, 0), ENOTSUP);
    CHECK_ERR(dmtr_trim(k.tcp, 0), ENOTSUP);
    CHECK_ERR(dmtr_trim(k.udp, 0), ENOTSUP);
    CHECK_ERR(dmtr_trim(k.listener, 0), ENOTSUP);
    CHECK_ERR(dmtr_trim(k.connected, 0), ENOTSUP);
    fill(data, SIZE, 1, 0);
    q_push(k.file, data, SIZE);
    CHECK_ERR(dmtr_trim(k.file, -1), EINVAL);
    CHECK_ERR(dmtr_trim(k.file, SIZE + 1), EINVAL);
    CHECK_ERR(dmtr_trim(k.file, 0), 0);
    CHECK(stat(k.path, &before) == 0);
    rc = dmtr_trim(k.file, SIZE / 2);
    if (rc == ENOTSUP)
        skip("no holes in this file system");
    CHECK_ERR(rc, 0);
    CHECK(stat(k.path, &after) == 0);
    CHECK_EQ(after.st_size, SIZE);
    q_push(k.file, "end", 3); /* the position has not moved */
    CHECK_ERR(dmtr_lseek(k.file, SIZE / 2 - 1, SEEK_SET), 0);
    data[SIZE / 2 - 1] = 0;
    q_pop_is(k.file, data + SIZE / 2 - 1, 16384);
    CHECK_ERR(dmtr_lseek(k.file, SIZE, SEEK_SET), 0);
    q_pop_is(k.file, "end", 3);
    CHECK_ERR(dmtr_open(&qd, k.path, O_RDONLY), 0);
    CHECK_ERR(dmtr_trim(qd, 0), EBADF);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_open(&qd, "/dev/null", O_RDWR), 0);
    CHECK_ERR(dmtr_trim(qd, 0), ESPIPE);
    CHECK_ERR(dmtr_close(qd), 0);
    kinds_close(&k);
    free(data);
    return 0;
}
