/* dmtr_drop: errors (what becomes of the operation: net/drop) */
#include "api/kinds.h"

int main(void)
{
    static const dmtr_qtoken_t unknown[] = {0, 1, 0xffffffffffffffffu,
                                            (dmtr_qtoken_t)0x40000000 << 32};
    struct kinds k;
    dmtr_qtoken_t qt, next;
    test_init();
    kinds_open(&k);
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        CHECK_ERR(dmtr_drop(unknown[i]), ENOENT);
    qt = q_start_pop(k.memory); /* pending */
    CHECK_ERR(dmtr_drop(qt + 1), ENOENT);
    CHECK_ERR(dmtr_drop(qt), 0);
    CHECK_ERR(dmtr_drop(qt), ENOENT);
    CHECK_ERR(dmtr_poll(NULL, qt), ENOENT);
    for (int i = 0; i < 5000; i++) { /* a token is not given out again soon */
        next = q_start_pop(k.memory);
        CHECK(next != qt);
        CHECK_ERR(dmtr_drop(qt), ENOENT);
        CHECK_ERR(dmtr_drop(next), 0);
    }
    q_push(k.memory, "x", 1);
    qt = q_start_pop(k.memory); /* completed */
    CHECK_ERR(dmtr_poll(NULL, qt), 0);
    CHECK_ERR(dmtr_drop(qt), 0);
    CHECK_ERR(dmtr_drop(qt), ENOENT);
    qt = q_start_pop(k.memory); /* waited for */
    q_push(k.memory, "x", 1);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
    CHECK_ERR(dmtr_drop(qt), ENOENT);
    qt = q_start_pop(k.memory); /* failed */
    CHECK_ERR(dmtr_close(k.memory), 0);
    CHECK_ERR(dmtr_drop(qt), 0);
    CHECK_ERR(dmtr_drop(qt), ENOENT);
    CHECK_ERR(dmtr_queue(&k.memory), 0);
    kinds_close(&k);
    return 0;
}
