/* dmtr_open: errors, what can be opened, and the mode of new files */
#include "api/kinds.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

static char dir[256], path[300], other[320];

static void check_fails(const char *name, int flags, int err)
{
    int qd = 0;
    fprintf(stderr, "%s\n", name);
    CHECK_ERR(dmtr_open(&qd, name, flags), err);
}

static void test_errors_of_open(void)
{
    static char longest[5000];
    memset(longest, 'a', sizeof longest - 1);
    check_fails(path, O_RDONLY, ENOENT);
    check_fails("", O_RDONLY, ENOENT);
    check_fails(longest, O_RDONLY, ENAMETOOLONG);
    write_file(path, "x");
    check_fails(path, O_WRONLY | O_CREAT | O_EXCL, EEXIST);
    snprintf(other, sizeof other, "%s/below", path);
    check_fails(other, O_RDONLY, ENOTDIR);
    snprintf(other, sizeof other, "%s/loop", dir);
    CHECK(symlink(other, other) == 0);
    check_fails(other, O_RDONLY, ELOOP);
    CHECK(remove(other) == 0);
    CHECK(remove(path) == 0);
}

static void test_kinds(void)
{
    struct sockaddr_un un;
    int qd = 0, err, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_fails(dir, O_RDONLY, ENOTSUP);
    check_fails(dir, O_WRONLY, ENOTSUP);
    CHECK(mkfifo(path, 0600) == 0);
    check_fails(path, O_RDWR, ENOTSUP);
    check_fails(path, O_RDONLY | O_NONBLOCK, ENOTSUP);
    CHECK(remove(path) == 0);
    memset(&un, 0, sizeof un);
    un.sun_family = AF_UNIX;
    CHECK(strlen(path) < sizeof un.sun_path);
    memcpy(un.sun_path, path, strlen(path) + 1);
    CHECK(fd >= 0 && bind(fd, ADDR(&un), sizeof un) == 0);
    err = dmtr_open(&qd, path, O_RDWR);
    CHECK(err == ENOTSUP || err == ENXIO); /* ENXIO is what open(2) says */
    CHECK(close(fd) == 0 && remove(path) == 0);
    CHECK_ERR(dmtr_open(&qd, "/dev/null", O_RDWR), 0);
    CHECK_ERR(dmtr_close(qd), 0);
}

static void test_directions(void)
{
    int qd = 0;
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = test_sga(path, 1);
    write_file(path, "abc");
    CHECK_ERR(dmtr_open(&qd, path, O_RDONLY), 0);
    CHECK(qd >= 0x40000000 && q_valid(qd));
    CHECK_ERR(dmtr_push(&qt, qd, &sga), EBADF);
    q_pop_is(qd, "abc", 3);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_open(&qd, path, O_WRONLY), 0);
    CHECK_ERR(dmtr_pop(&qt, qd), EBADF);
    q_push(qd, "X", 1);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_open(&qd, path, O_RDWR), 0);
    q_pop_is(qd, "Xbc", 3);
    q_push(qd, "d", 1);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_open(&qd, path, O_WRONLY | O_TRUNC), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_open(&qd, path, O_RDONLY), 0);
    q_pop_is(qd, "", 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(remove(path) == 0);
}

static void test_mode(void)
{
    static const mode_t masks[] = {0, 022, 077};
    for (int i = 0; i < 3; i++) {
        struct stat st;
        int qd = 0;
        umask(masks[i]);
        CHECK_ERR(dmtr_open(&qd, path, O_WRONLY | O_CREAT), 0);
        CHECK(stat(path, &st) == 0);
        CHECK_EQ(st.st_mode & 07777, 0666 & ~masks[i]);
        CHECK_ERR(dmtr_close(qd), 0);
        CHECK(remove(path) == 0);
    }
}

static void test_no_descriptors(void)
{
    struct rlimit normal, none;
    int qd = 0;
    CHECK(getrlimit(RLIMIT_NOFILE, &normal) == 0);
    none = normal;
    none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_ERR(dmtr_open(&qd, "/dev/null", O_RDONLY), EMFILE);
    CHECK(setrlimit(RLIMIT_NOFILE, &normal) == 0);
}

/* As a user without rights: a file of somebody else. */
static int test_unprivileged(void)
{
    if (setuid(65534) != 0 && geteuid() == 0)
        return 0;
    CHECK(chdir("/") == 0);
    test_init();
    check_fails("/etc/shadow", O_RDONLY, EACCES);
    return 0;
}

int main(int argc, char **argv)
{
    int qd = 0;
    (void)argv;
    if (argc > 1)
        return test_unprivileged();
    if (access("/etc/shadow", F_OK) == 0 && !test_own_stack()) /* which needs rights to start */
        run_again("unprivileged", NULL, NULL);
    test_init();
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/file", dir);
    CHECK_ERR(dmtr_open(NULL, "/dev/null", O_RDONLY), EINVAL);
    CHECK_ERR(dmtr_open(&qd, NULL, O_RDONLY), EINVAL);
    test_errors_of_open();
    test_kinds();
    test_directions();
    test_mode();
    test_no_descriptors();
    CHECK(remove(dir) == 0);
    return 0;
}
