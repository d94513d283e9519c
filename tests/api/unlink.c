/* dmtr_unlink: the name goes, what is open goes on */
#include "api/kinds.h"

#include <dmtr/ext.h>
#include <sys/stat.h>

int main(void)
{
    char dir[256], path[300];
    struct stat st;
    int qd = 0;
    CHECK_ERR(dmtr_unlink("file"), EPERM);
    test_init();
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/file", dir);
    CHECK_ERR(dmtr_unlink(NULL), EINVAL);
    CHECK_ERR(dmtr_unlink(""), ENOENT);
    CHECK_ERR(dmtr_unlink(path), ENOENT);
    CHECK_ERR(dmtr_unlink(dir), EISDIR);
    CHECK_ERR(dmtr_open2(&qd, path, O_RDWR | O_CREAT, 0600), 0);
    CHECK_ERR(dmtr_unlink(path), 0);
    CHECK(stat(path, &st) != 0 && errno == ENOENT);
    q_push(qd, "still", 5);
    CHECK_ERR(dmtr_lseek(qd, 0, SEEK_SET), 0);
    q_pop_is(qd, "still", 5);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(remove(dir) == 0);
    return 0;
}
