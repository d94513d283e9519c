/* dmtr_creat: new and old files, for writing only */
#include "api/kinds.h"

#include <sys/stat.h>

int main(void)
{
    char dir[256], path[300];
    struct stat st;
    int qd = 0;
    dmtr_qtoken_t qt = 0;
    test_init();
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/file", dir);
    CHECK_ERR(dmtr_creat(NULL, path, 0600), EINVAL);
    CHECK_ERR(dmtr_creat(&qd, NULL, 0600), EINVAL);
    CHECK_ERR(dmtr_creat(&qd, "/nonexistent/file", 0600), ENOENT);
    CHECK_ERR(dmtr_creat(&qd, dir, 0600), ENOTSUP);
    umask(027);
    CHECK_ERR(dmtr_creat(&qd, path, 0666), 0);
    CHECK(stat(path, &st) == 0);
    CHECK_EQ(st.st_mode & 07777, 0640);
    q_push(qd, "a long line", 11);
    CHECK_ERR(dmtr_pop(&qt, qd), EBADF);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(stat(path, &st) == 0);
    CHECK_EQ(st.st_size, 11);
    CHECK_ERR(dmtr_creat(&qd, path, 0600), 0); /* cuts off what is there */
    CHECK(stat(path, &st) == 0);
    CHECK_EQ(st.st_size, 0);
    q_push(qd, "short", 5);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_open(&qd, path, O_RDONLY), 0);
    q_pop_is(qd, "short", 5);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(remove(path) == 0);
    CHECK(remove(dir) == 0);
    return 0;
}
