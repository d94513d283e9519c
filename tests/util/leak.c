/*
 * Built with AddressSanitizer: a popped block that the program loses is reported, one that the library still holds for a token is not. (So
 * the other programs can trust a silent end.) Built without, it only pops.
 */
#include "test.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#define LEAKS() __lsan_do_recoverable_leak_check()
#else
#define LEAKS() (-1)
#endif

static char text[] = "some bytes";

/* Sends text from one queue to the other and starts to receive it. */
static dmtr_qtoken_t start_pop(int from, int to)
{
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = test_sga(text, sizeof text);
    CHECK_ERR(dmtr_push(&qt, from, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
    CHECK_ERR(dmtr_pop(&qt, to), 0);
    return qt;
}

/* Returns a popped block's address in disguise, so that the block cannot be found through it. */
static uintptr_t __attribute__((noinline)) lose_one(int from, int to)
{
    dmtr_qresult_t qr;
    CHECK_ERR(dmtr_wait(&qr, start_pop(from, to)), 0);
    uintptr_t disguised = ~(uintptr_t)qr.qr_value.sga.sga_buf;
    memset(&qr, 0, sizeof qr);
    return disguised;
}

/* Overwrites what earlier calls left on the stack, and in the library. */
static void __attribute__((noinline)) wipe(int from, int to)
{
    volatile char stack[16384];
    memset((char *)stack, 0, sizeof stack);
    for (int i = 0; i < 64; i++) {
        dmtr_qresult_t qr;
        CHECK_ERR(dmtr_wait(&qr, start_pop(from, to)), 0);
        CHECK_ERR(dmtr_sgafree(&qr.qr_value.sga), 0);
    }
}

int main(void)
{
    int a = 0, b = 0;
    test_init();
    test_tcp_pair(&a, &b);
    wipe(a, b);
    CHECK(LEAKS() <= 0);

    uintptr_t lost = lose_one(a, b);
    wipe(a, b);
    CHECK(LEAKS() != 0);
    free((void *)~lost);

    dmtr_qtoken_t qt = start_pop(a, b);
    while (dmtr_poll(NULL, qt) == EAGAIN)
        continue;
    CHECK(LEAKS() <= 0);
    CHECK_ERR(dmtr_drop(qt), 0);
    return 0;
}
