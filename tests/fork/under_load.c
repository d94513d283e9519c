/*
 * fork() after dmtr_init() under load: one echo runs in another thread and one in the thread that forks,
 * 1,000 times (times DMTR_TEST_SCALE). Each child rewrites all of its private memory, reads what is
 * shared or cannot be written, and ends. The parent's connections lose nothing, and nothing is left
 * over.
 *
 * Most of the memory is stacks of 8 MiB and tables of Go that nobody has ever touched. They take a
 * child 100 ms, so only one child in FULL_EVERY touches those, too; the others all pages that exist.
 */
#include "fork/fork.h"

enum { FORKS = 1000, ECHO_THREADS = 1, PAGE = 4096, MAX_RANGES = 4000, FULL_EVERY = 250 };

#define LARGEST ((uintptr_t)1 << 30) /* larger is what AddressSanitizer keeps its books in */

#ifdef __SANITIZE_ADDRESS__
/* Of memory that has been freed it keeps 256 MiB otherwise, and all children would touch that. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4";
}
#endif

/* ---- memory of this process, listed without allocating any ---- */

struct range {
    uintptr_t from, to;
    int writable;
};

struct ranges {
    int n;
    struct range all[MAX_RANGES];
    char text[400000];
};

static uintptr_t hex(const char **p)
{
    uintptr_t v = 0;
    for (;; ++*p) {
        if (**p >= '0' && **p <= '9')
            v = v * 16 + (uintptr_t)(**p - '0');
        else if (**p >= 'a' && **p <= 'f')
            v = v * 16 + (uintptr_t)(**p - 'a' + 10);
        else
            return v;
    }
}

/* Reads /proc/self/maps. Left out is what the kernel maps, and what cannot be read. */
static int list_memory(struct ranges *r)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t k;
    const char *p = r->text;
    r->n = 0;
    while ((k = read(fd, r->text + n, sizeof r->text - 1 - n)) > 0)
        n += (size_t)k;
    close(fd);
    r->text[n] = 0;
    if (k < 0 || n == sizeof r->text - 1)
        return 0;
    while (*p != 0) {
        struct range range;
        const char *modes, *end = strchr(p, '\n');
        range.from = hex(&p);
        p++;
        range.to = hex(&p);
        modes = p + 1;
        range.writable = modes[1] == 'w' && modes[3] == 'p';
        if (modes[0] == 'r' && range.to - range.from < LARGEST && memmem(p, (size_t)(end - p), "[v", 2) == NULL && r->n < MAX_RANGES)
            r->all[r->n++] = range;
        p = end + 1;
    }
    return r->n > 20 && r->n < MAX_RANGES;
}

/* Which of up to 512 pages exist: are in memory, or swapped out. */
static int existing(int pagemap, uintptr_t at, size_t n, uint64_t *out)
{
    return pread(pagemap, out, n * sizeof *out, (off_t)(at / PAGE * sizeof *out)) == (ssize_t)(n * sizeof *out);
}

__attribute__((noinline, no_sanitize_address)) static void touch_page(uintptr_t at, int writable)
{
    volatile char *p = (volatile char *)at;
    char c = *p;
    if (writable)
        *p = c;
}

/* Touches all memory, or what exists of the private part of it; returns how many pages, or 0. */
static uint64_t touch(const struct ranges *r, int all)
{
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t pages = 0, map[512];
    if (pagemap < 0)
        return 0;
    for (int i = 0; i < r->n; i++)
        for (uintptr_t at = r->all[i].from; at < r->all[i].to;) {
            size_t n = (r->all[i].to - at) / PAGE;
            n = n < 512 ? n : 512;
            if (!existing(pagemap, at, n, map))
                return 0;
            for (size_t j = 0; j < n; j++, at += PAGE)
                if (all || !r->all[i].writable || map[j] >> 62 != 0) {
                    touch_page(at, r->all[i].writable);
                    pages++;
                }
        }
    return pages;
}

struct result {
    uint64_t children, pages, ns;
};

static void report(const char *what, const struct result *r)
{
    fprintf(stderr, "%llu children touched %llu pages each that %s, in %llu us\n", (unsigned long long)r->children,
            (unsigned long long)(r->pages / r->children), what, (unsigned long long)(r->ns / r->children / 1000));
}

static void in_child(struct ranges *ranges, struct result *result, int all)
{
    uint64_t from = now_ns(), pages;
    child_alarm(20);
    if (!list_memory(ranges) || (pages = touch(ranges, all)) < 1000)
        _exit(1);
    result[all].pages += pages;
    result[all].ns += now_ns() - from;
    result[all].children++;
    _exit(0);
}

/* After which this thread has its descriptor for waking it. */
static void sleep_once(void)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    CHECK_ERR(dmtr_wait_timeout(NULL, q_start_pop(qd), 5 * MS), ETIMEDOUT);
    CHECK_ERR(dmtr_close(qd), 0);
}

int main(void)
{
    struct result *result = (struct result *)shared_memory(2 * sizeof *result);
    struct ranges *ranges = (struct ranges *)shared_memory(sizeof *ranges);
    struct traffic own, others[ECHO_THREADS];
    uint32_t forks = test_scaled(FORKS);
    uint64_t from, in_fork = 0, echoes = 0;
    int fds;
    test_init();
    sleep_once();
    fds = count_fds();
    traffic_open(&own);
    for (int i = 0; i < ECHO_THREADS; i++)
        traffic_start(&others[i]);
    from = now_ns();
    for (uint32_t i = 0; i < forks; i++) {
        uint64_t before = now_ns();
        pid_t pid = ways_to_fork[i % WAYS_TO_FORK].fork();
        if (pid == 0)
            in_child(ranges, result, i % FULL_EVERY == 0);
        in_fork += now_ns() - before;
        traffic_burst(&own, WINDOW);
        child_passes(pid, ways_to_fork[i % WAYS_TO_FORK].name);
        traffic_burst(&own, 1);
    }
    no_children();
    for (int i = 0; i < ECHO_THREADS; i++) {
        traffic_end(&others[i]);
        CHECK(others[i].echoes > forks);
        echoes += others[i].echoes;
    }
    traffic_close(&own);
    CHECK(count_fds() <= fds + 2); /* Go makes two when it needs its first timer */
    fprintf(stderr, "%u forks in %llu ms, %llu us in fork each, %llu echoes\n", forks, (unsigned long long)((now_ns() - from) / MS),
            (unsigned long long)(in_fork / forks / 1000), (unsigned long long)echoes);
    report("exist", &result[0]);
    report("are mapped", &result[1]);
    return 0;
}
