/* dmtr_open2: as dmtr_open, with a mode */
#include "api/kinds.h"

#include <sys/stat.h>

int main(void)
{
    static const mode_t modes[] = {0600, 0644, 0777, 0400, 0};
    char dir[256], path[300];
    int qd = 0;
    test_init();
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/file", dir);
    CHECK_ERR(dmtr_open2(NULL, path, O_RDWR | O_CREAT, 0600), EINVAL);
    CHECK_ERR(dmtr_open2(&qd, NULL, O_RDWR | O_CREAT, 0600), EINVAL);
    CHECK_ERR(dmtr_open2(&qd, path, O_RDWR, 0600), ENOENT);
    CHECK_ERR(dmtr_open2(&qd, dir, O_RDONLY, 0600), ENOTSUP);
    umask(022);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct stat st;
        CHECK_ERR(dmtr_open2(&qd, path, O_RDWR | O_CREAT | O_EXCL, modes[i]), 0);
        CHECK(stat(path, &st) == 0);
        CHECK_EQ(st.st_mode & 07777, modes[i] & ~022u);
        q_push(qd, "abc", 3); /* open for writing whatever the mode says */
        CHECK_ERR(dmtr_lseek(qd, 0, SEEK_SET), 0);
        q_pop_is(qd, "abc", 3);
        CHECK_ERR(dmtr_close(qd), 0);
        CHECK_ERR(dmtr_open2(&qd, path, O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
        CHECK_ERR(dmtr_open2(&qd, path, O_RDWR, 0777), 0); /* exists: its mode stays */
        CHECK(stat(path, &st) == 0);
        CHECK_EQ(st.st_mode & 07777, modes[i] & ~022u);
        CHECK_ERR(dmtr_close(qd), 0);
        CHECK(remove(path) == 0);
    }
    CHECK(remove(dir) == 0);
    return 0;
}
