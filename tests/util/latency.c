/* latency.h: arguments, percentiles, the table, extremes. The cost is printed. */
#include "test.h"

#include <dmtr/latency.h>

#define SPREAD 0.02 /* a histogram's percentile may be off by this share */

/* The table of a recorder. */
static const char *dump(dmtr_latency_t *l)
{
    static char text[16384];
    FILE *f = tmpfile();
    CHECK(f != NULL);
    CHECK_ERR(dmtr_dump_latency(f, l), 0);
    rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

/* The value in ns on the line of a table that begins with label. */
static double row(const char *text, const char *label)
{
    char line[64], unit[4] = "";
    double value = 0;
    snprintf(line, sizeof line, "\n  %s ", label);
    const char *at = strstr(text, line);
    CHECK(at != NULL);
    CHECK(sscanf(at + strlen(line), "%lf %3s", &value, unit) == 2);
    if (strcmp(unit, "ns") == 0)
        return value;
    if (strcmp(unit, "us") == 0)
        return value * 1e3;
    if (strcmp(unit, "ms") == 0)
        return value * 1e6;
    CHECK(strcmp(unit, "s") == 0);
    return value * 1e9;
}

static void near(double got, double want, double spread)
{
    if (got < want * (1 - spread) || got > want * (1 + spread)) {
        fprintf(stderr, "got %g, expected about %g\n", got, want);
        exit(1);
    }
}

static void arguments(void)
{
    dmtr_latency_t *l = NULL;
    CHECK_ERR(dmtr_new_latency(NULL, "x"), EINVAL);
    CHECK_ERR(dmtr_new_latency(&l, NULL), EINVAL);
    CHECK_ERR(dmtr_record_latency(NULL, 1), EINVAL);
    CHECK_ERR(dmtr_dump_latency(stderr, NULL), EINVAL);
    CHECK_ERR(dmtr_delete_latency(NULL), EINVAL);
    CHECK_ERR(dmtr_delete_latency(&l), 0);

    char name[] = "copied name";
    CHECK_ERR(dmtr_new_latency(&l, name), 0);
    name[0] = 'X';
    CHECK_ERR(dmtr_dump_latency(NULL, l), EINVAL);
    CHECK_ERR(dmtr_record_latency(l, 0), EINVAL);
    CHECK(strcmp(dump(l), "copied name: 0 values\n") == 0); /* nothing recorded, not even the 0 */
    FILE *full = fopen("/dev/full", "w");
    if (full != NULL) {
        CHECK_ERR(dmtr_dump_latency(full, l), EIO);
        fclose(full);
    }
    CHECK_ERR(dmtr_delete_latency(&l), 0);
    CHECK(l == NULL);
}

/* 1..100000, in each of several scales. */
static void percentiles(void)
{
    for (uint64_t scale = 1; scale <= 1000000; scale *= 100) {
        dmtr_latency_t *l = NULL;
        CHECK_ERR(dmtr_new_latency(&l, "ramp"), 0);
        for (uint64_t i = 100000; i > 0; i--)
            CHECK_ERR(dmtr_record_latency(l, i * scale), 0);
        const char *text = dump(l);
        double s = (double)scale;
        CHECK(strncmp(text, "ramp: 100000 values\n", 20) == 0);
        near(row(text, "min"), s, 1e-3);
        near(row(text, "mean"), 50000.5 * s, 1e-3);
        near(row(text, "median"), 50000 * s, SPREAD);
        near(row(text, "99 %"), 99000 * s, SPREAD);
        near(row(text, "99.9 %"), 99900 * s, SPREAD);
        near(row(text, "99.99 %"), 99990 * s, SPREAD);
        near(row(text, "max"), 100000 * s, 1e-3);
        CHECK_ERR(dmtr_delete_latency(&l), 0);
    }
}

/* 9,999 fast values and one slow: no percentile but the maximum sees the slow one. */
static void tail(void)
{
    dmtr_latency_t *l = NULL;
    CHECK_ERR(dmtr_new_latency(&l, "tail"), 0);
    for (int i = 0; i < 9999; i++)
        CHECK_ERR(dmtr_record_latency(l, 10000), 0);
    CHECK_ERR(dmtr_record_latency(l, 90000000), 0);
    const char *text = dump(l);
    near(row(text, "median"), 10000, SPREAD);
    near(row(text, "99.99 %"), 10000, SPREAD);
    near(row(text, "max"), 90e6, 1e-3);
    CHECK_ERR(dmtr_record_latency(l, 90000000), 0); /* now 2 of 10,001 */
    near(row(dump(l), "99.99 %"), 90e6, SPREAD);
    near(row(dump(l), "99.9 %"), 10000, SPREAD);
    CHECK_ERR(dmtr_delete_latency(&l), 0);
}

static void histogram(void)
{
    dmtr_latency_t *l = NULL;
    CHECK_ERR(dmtr_new_latency(&l, "bars"), 0);
    for (int i = 0; i < 4; i++)
        CHECK_ERR(dmtr_record_latency(l, 1000), 0); /* 512 to 1024 */
    CHECK_ERR(dmtr_record_latency(l, 4095), 0);     /* 2048 to 4096 */
    const char *text = dump(l);
    const char *first = strstr(text, "512.0 ns - 1.024 us "), *second = strstr(text, "1.024 us - 2.048 us "),
               *third = strstr(text, "2.048 us - 4.096 us ");
    CHECK(first != NULL && second > first && third > second);
    CHECK(strstr(text, "256.0 ns") == NULL && strstr(text, "8.192 us") == NULL);
    CHECK(strstr(first, " 4  80.00 % ########################################\n") != NULL);
    CHECK(strstr(second, " 0   0.00 %\n") != NULL);
    CHECK(strstr(third, " 1  20.00 % ##########\n") != NULL);
    CHECK_ERR(dmtr_delete_latency(&l), 0);
}

static void extremes(void)
{
    dmtr_latency_t *l = NULL;
    CHECK_ERR(dmtr_new_latency(&l, ""), 0);
    for (int shift = 0; shift < 64; shift++) {
        CHECK_ERR(dmtr_record_latency(l, UINT64_C(1) << shift), 0);
        CHECK_ERR(dmtr_record_latency(l, UINT64_MAX >> shift), 0);
    }
    const char *text = dump(l);
    CHECK(strncmp(text, ": 128 values\n", 13) == 0);
    near(row(text, "min"), 1, 0);
    near(row(text, "max"), 0x1p64, 0.05);
    near(row(text, "mean"), 3 * 0x1p64 / 128, 0.05);
    CHECK_ERR(dmtr_delete_latency(&l), 0);
}

static void cost(void)
{
    enum { N = 2000000 };
    dmtr_latency_t *l = NULL;
    CHECK_ERR(dmtr_new_latency(&l, "cost"), 0);
    uint64_t start = dmtr_now_ns();
    for (int i = 0; i < N; i++)
        CHECK_ERR(dmtr_record_latency(l, 8000 + (uint64_t)(i & 4095)), 0);
    uint64_t ns = dmtr_now_ns() - start;
    CHECK(ns > 0);
    printf("dmtr_record_latency: %.2f ns\n", (double)ns / N);
    CHECK_ERR(dmtr_delete_latency(&l), 0);
}

int main(void)
{
    test_watchdog();
    arguments();
    percentiles();
    tail();
    histogram();
    extremes();
    cost();
    return 0;
}
