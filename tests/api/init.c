/*
 * dmtr_init: where settings come from, what goes wrong, and what is printed. Each case is a process
 * of its own.
 */
#include "api/kinds.h"

#include <sys/resource.h>

static const char *libos; /* that CTest chose */

/* ---- cases with more than one call ---- */

static void check_uninitialised(void)
{
    struct sockaddr_in addr = test_loopback(1);
    socklen_t size = sizeof addr;
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    dmtr_sgarray_t sga = test_sga(NULL, 0);
    int qd = 0, flag = 7;
    CHECK_ERR(dmtr_queue(&qd), EPERM);
    CHECK_ERR(dmtr_queue(NULL), EPERM); /* before arguments are looked at */
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), EPERM);
    CHECK_ERR(dmtr_socket(NULL, -1, -1, -1), EPERM);
    CHECK_ERR(dmtr_getsockname(1, ADDR(&addr), &size), EPERM);
    CHECK_ERR(dmtr_getsockname(-1, NULL, NULL), EPERM);
    CHECK_ERR(dmtr_listen(0, 1), EPERM);
    CHECK_ERR(dmtr_bind(1, ADDR(&addr), size), EPERM);
    CHECK_ERR(dmtr_bind(0, NULL, 0), EPERM);
    CHECK_ERR(dmtr_accept(&qt, 1), EPERM);
    CHECK_ERR(dmtr_accept(NULL, 0), EPERM);
    CHECK_ERR(dmtr_connect(1, ADDR(&addr), size), EPERM);
    CHECK_ERR(dmtr_connect(0, NULL, 0), EPERM);
    CHECK_ERR(dmtr_open(&qd, "/dev/null", O_RDONLY), EPERM);
    CHECK_ERR(dmtr_open(NULL, NULL, 0), EPERM);
    CHECK_ERR(dmtr_open2(&qd, "/dev/null", O_RDONLY, 0), EPERM);
    CHECK_ERR(dmtr_creat(&qd, "/dev/null", 0), EPERM);
    CHECK_ERR(dmtr_close(0), EPERM);
    CHECK_ERR(dmtr_is_qd_valid(&flag, 1), EPERM);
    CHECK_EQ(flag, 0);
    CHECK_ERR(dmtr_is_qd_valid(NULL, 1), EPERM);
    CHECK_ERR(dmtr_push(&qt, 1, &sga), EPERM);
    CHECK_ERR(dmtr_push(NULL, 0, NULL), EPERM);
    CHECK_ERR(dmtr_pop(&qt, 1), EPERM);
    CHECK_ERR(dmtr_pop2(NULL, 0, 0), EPERM);
    CHECK_ERR(dmtr_lseek(1, 0, 0), EPERM);
    CHECK_ERR(dmtr_poll(&qr, 1), EPERM);
    CHECK_ERR(dmtr_drop(1), EPERM);
    CHECK_ERR(dmtr_wait(&qr, 1), EPERM);
    CHECK_ERR(dmtr_wait_any(&qr, NULL, &qt, 1), EPERM);
    CHECK_ERR(dmtr_wait_any(NULL, NULL, NULL, 0), EPERM);
    CHECK_ERR(dmtr_wait_all(NULL, NULL, 0), EPERM);
}

static void check_initialised(void)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    CHECK_ERR(dmtr_close(qd), 0);
}

static void case_twice(void)
{
    check_uninitialised();
    CHECK_ERR(dmtr_init(0, NULL), 0);
    check_initialised();
    CHECK_ERR(dmtr_init(0, NULL), EPERM);
    check_initialised();
}

/*
 * A failure leaves nothing behind, and the next try may succeed: by another environment, options,
 * file.
 */
static void case_again(void)
{
    char *bad[] = {(char *)"prog", (char *)"--libos", (char *)"nonsense", NULL};
    char *file[] = {(char *)"prog", (char *)"--config-path", (char *)"again.yaml", NULL};
    CHECK_ERR(dmtr_init(3, bad), EINVAL);
    check_uninitialised();
    write_file("again.yaml", "libos: [");
    CHECK_ERR(dmtr_init(3, file), EINVAL);
    check_uninitialised();
    setenv("DMTR_LIBOS", "nonsense", 1); /* set by the program itself */
    CHECK_ERR(dmtr_init(0, NULL), EINVAL);
    unsetenv("DMTR_LIBOS");
    setenv("DMTR_CONFIG", "nowhere.yaml", 1);
    CHECK_ERR(dmtr_init(0, NULL), ENOENT);
    unsetenv("DMTR_CONFIG");
    check_uninitialised();
    write_file("again.yaml", "wait: spin\n");
    CHECK_ERR(dmtr_init(3, file), 0);
    check_initialised();
    CHECK(remove("again.yaml") == 0);
}

static void case_descriptors(void)
{
    char *bad[] = {(char *)"prog", (char *)"--libos", (char *)"nonsense", NULL};
    struct rlimit normal, few;
    int lowest;
    /* the Go runtime is up now, which sets the limit as well */
    CHECK_ERR(dmtr_init(3, bad), EINVAL);
    lowest = dup(0);
    CHECK(getrlimit(RLIMIT_NOFILE, &normal) == 0);
    few = normal;
    few.rlim_cur = (rlim_t)lowest;
    CHECK(close(lowest) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    CHECK_ERR(dmtr_init(0, NULL), EMFILE);
    check_uninitialised();
    CHECK(setrlimit(RLIMIT_NOFILE, &normal) == 0);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    check_initialised();
}

static void case_arguments(void)
{
    char name[] = "prog", other[] = "-x", *argv[] = {name, other, NULL};
    CHECK_ERR(dmtr_init(-1, argv), EINVAL);
    CHECK_ERR(dmtr_init(2, NULL), EINVAL);
    CHECK_ERR(dmtr_init(2, argv), 0);
    CHECK(argv[0] == name && argv[1] == other && argv[2] == NULL && strcmp(other, "-x") == 0);
}

/* A setting of the file is at work. */
static void case_limit(void)
{
    int qd = 0;
    CHECK_ERR(dmtr_init(0, NULL), 0);
    CHECK_ERR(dmtr_queue(&qd), 0);
    CHECK_ERR(dmtr_queue(&qd), EMFILE);
}

/* ---- running them ---- */

static size_t read_all(const char *path, char *out, size_t size)
{
    size_t n;
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    n = fread(out, 1, size - 1, f);
    out[n] = '\0';
    fclose(f);
    CHECK(remove(path) == 0);
    return n;
}

/*
 * Runs this program with arguments; it must pass, print nothing on stdout and `lines` lines on
 * stderr, each of which has `text`.
 */
static void run(char *const argv[], int lines, const char *text)
{
    char out[5000], err[5000], *at = err;
    posix_spawn_file_actions_t to;
    int status = -1;
    pid_t pid = -1;
    posix_spawn_file_actions_init(&to);
    posix_spawn_file_actions_addopen(&to, 1, "out", O_CREAT | O_WRONLY | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&to, 2, "err", O_CREAT | O_WRONLY | O_TRUNC, 0600);
    CHECK_EQ(posix_spawn(&pid, "/proc/self/exe", &to, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&to);
    CHECK(waitpid(pid, &status, 0) == pid);
    read_all("out", out, sizeof out);
    read_all("err", err, sizeof err);
    fprintf(stderr, "case %s %s: status 0x%x\n%s", argv[1],
            argv[2] != NULL && argv[3] != NULL ? argv[3] : "", (unsigned)status, err);
    CHECK_EQ(status, 0);
    CHECK_EQ(out[0], '\0');
    for (int i = 0; i < lines; i++) {
        char *end = strchr(at, '\n');
        CHECK(end != NULL && end > at);
        *end = '\0';
        CHECK(strstr(at, text) != NULL);
        at = end + 1;
    }
    CHECK_EQ(*at, '\0');
}

static void run_named(const char *name, int lines)
{
    char *argv[] = {(char *)"test", (char *)name, NULL};
    run(argv, lines, "");
}

/*
 * dmtr_init with one variable of the environment (or NULL) and up to two arguments gives err; text
 * is in the line on stderr.
 */
static void expect(int err, const char *text, const char *name, const char *value, const char *arg1,
                   const char *arg2)
{
    char number[12];
    char *argv[] = {(char *)"test", (char *)"init", number,
                    (char *)arg1,   (char *)(arg1 != NULL ? arg2 : NULL), NULL};
    snprintf(number, sizeof number, "%d", err);
    if (name != NULL)
        setenv(name, value, 1);
    run(argv, err != 0, text);
    if (name != NULL)
        unsetenv(name);
}

static void test_libos(void)
{
    expect(0, "", "DMTR_LIBOS", libos, NULL, NULL);
    expect(EINVAL, "nonsense", "DMTR_LIBOS", "nonsense", NULL, NULL);
    expect(EINVAL, "POSIX", "DMTR_LIBOS", "POSIX", NULL, NULL);
    expect(EINVAL, "spdk.devAddr", "DMTR_LIBOS", "spdk", NULL, NULL);
    expect(0, "", NULL, NULL, "--libos", libos);
    expect(EINVAL, "nonsense", NULL, NULL, "--libos", "nonsense");
    expect(EINVAL, "nonsense", NULL, NULL, "--libos=nonsense", NULL);
    expect(EINVAL, "spdk.devAddr", NULL, NULL, "--libos=spdk", NULL);
    expect(EINVAL, "--libos", NULL, NULL, "--libos", NULL); /* no value */
    expect(EINVAL, "--config-path", NULL, NULL, "--config-path", NULL);
    expect(0, "", "DMTR_LIBOS", libos, "--libos", "spdk"); /* the environment wins */
    expect(EINVAL, "spdk.devAddr", "DMTR_LIBOS", "spdk", "--libos", libos);
    /* but a bad value is one anywhere */
    expect(EINVAL, "nonsense", "DMTR_LIBOS", libos, "--libos", "nonsense");
    expect(0, "", NULL, NULL, "--iterations", "10"); /* options of the program */
    expect(0, "", NULL, NULL, "-v", "server");
    expect(EINVAL, "sometimes", "DMTR_WAIT", "sometimes", NULL, NULL);
    expect(EINVAL, "odd", "DMTR_FRAMING", "odd", NULL, NULL);
}

/* The text, as a file named by the environment, by an option and as ./config.yaml. */
static void test_file(int err, const char *text, const char *yaml)
{
    write_file("config.yaml", yaml);
    expect(err, text, NULL, NULL, NULL, NULL);
    CHECK(rename("config.yaml", "other.yaml") == 0);
    expect(err, text, "DMTR_CONFIG", "other.yaml", NULL, NULL);
    expect(err, text, NULL, NULL, "--config-path", "other.yaml");
    expect(err, text, NULL, NULL, "--config-path=other.yaml", NULL);
    CHECK(remove("other.yaml") == 0);
}

static void test_files(void)
{
    test_file(0, "", "");
    test_file(0, "", "wait: block\nlimits: {queues: 100}\n");
    test_file(EINVAL, "yaml", "limits: [1, 2\n");          /* broken */
    test_file(EINVAL, "yaml", "\tlimits:\n");
    test_file(EINVAL, "yaml", "just words\n");
    test_file(EINVAL, "frobnicate", "frobnicate: 1\n");    /* unknown keys */
    test_file(EINVAL, "qeues", "limits:\n  qeues: 5\n");
    test_file(EINVAL, "queues", "limits:\n  queues: many\n"); /* values */
    test_file(EINVAL, "queues", "limits:\n  queues: -1\n");
    test_file(EINVAL, "sometimes", "wait: sometimes\n");
    test_file(EINVAL, "nonsense", "libos: nonsense\n");
    test_file(EINVAL, "spdk.devAddr", "libos: spdk\n");

    expect(ENOENT, "nowhere.yaml", "DMTR_CONFIG", "nowhere.yaml", NULL, NULL);
    expect(ENOENT, "nowhere.yaml", NULL, NULL, "--config-path", "nowhere.yaml");
    expect(ENOTDIR, "/dev/null/x", "DMTR_CONFIG", "/dev/null/x", NULL, NULL);
    CHECK(symlink("loop.yaml", "loop.yaml") == 0);
    expect(ELOOP, "loop.yaml", "DMTR_CONFIG", "loop.yaml", NULL, NULL);
    CHECK(remove("loop.yaml") == 0);

    write_file("bad.yaml", "libos: spdk\n"); /* who wins over whom */
    write_file("good.yaml", "wait: spin\n");
    expect(0, "", "DMTR_CONFIG", "good.yaml", "--config-path", "bad.yaml");
    expect(EINVAL, "spdk.devAddr", "DMTR_CONFIG", "bad.yaml", "--config-path", "good.yaml");
    CHECK(rename("bad.yaml", "config.yaml") == 0);
    expect(0, "", "DMTR_CONFIG", "good.yaml", NULL, NULL);
    expect(0, "", NULL, NULL, "--config-path", "good.yaml");
    expect(0, "", NULL, NULL, "--libos", libos);
    expect(0, "", "DMTR_LIBOS", libos, NULL, NULL);
    CHECK(remove("config.yaml") == 0);
    CHECK(remove("good.yaml") == 0);

    write_file("config.yaml", "limits: {queues: 1}\n");
    run_named("limit", 0);
    CHECK(remove("config.yaml") == 0);
}

int main(int argc, char **argv)
{
    char dir[256];
    test_watchdog();
    if (argc > 2) {
        int err = atoi(argv[2]);
        argv[2] = argv[0];
        CHECK_ERR(dmtr_init(argc - 2, argv + 2), err);
        if (err == 0)
            check_initialised();
        else
            check_uninitialised();
        return 0;
    } else if (argc > 1) {
        if (strcmp(argv[1], "twice") == 0)
            case_twice();
        else if (strcmp(argv[1], "again") == 0)
            case_again();
        else if (strcmp(argv[1], "descriptors") == 0)
            case_descriptors();
        else if (strcmp(argv[1], "arguments") == 0)
            case_arguments();
        else
            case_limit();
        return 0;
    }
    libos = getenv("DMTR_LIBOS") != NULL ? strdup(getenv("DMTR_LIBOS")) : "posix";
    if (strcmp(libos, "dpdk") == 0)
        skip("the configurations here do not say where DPDK finds a device");
    unsetenv("DMTR_LIBOS");
    unsetenv("DMTR_CONFIG");
    unsetenv("DMTR_WAIT");
    unsetenv("DMTR_FRAMING");
    make_folder(dir, sizeof dir);
    CHECK(chdir(dir) == 0);
    run_named("twice", 0);
    run_named("again", 4);
    run_named("descriptors", 2);
    run_named("arguments", 0);
    test_libos();
    test_files();
    CHECK(chdir("/") == 0 && remove(dir) == 0);
    /* left out: ENOMEM and ENFILE */
    return 0;
}
