/* dmtr_lseek: errors (positions at work: net/files) */
#include "api/kinds.h"

int main(void)
{
    struct kinds k;
    int master, tty = 0;
    test_init();
    kinds_open(&k);
    CHECK_BAD_QDS(&k, dmtr_lseek(qd, 0, SEEK_SET));
    CHECK_ERR(dmtr_lseek(k.memory, 0, SEEK_SET), ENOTSUP);
    CHECK_ERR(dmtr_lseek(k.tcp, 0, SEEK_SET), ENOTSUP);
    CHECK_ERR(dmtr_lseek(k.udp, 0, SEEK_SET), ENOTSUP);
    CHECK_ERR(dmtr_lseek(k.listener, 0, SEEK_SET), ENOTSUP);
    CHECK_ERR(dmtr_lseek(k.connected, 0, SEEK_SET), ENOTSUP);
    q_push(k.file, "0123456789", 10);
    CHECK_ERR(dmtr_lseek(k.file, 3, SEEK_SET), 0);
    CHECK_ERR(dmtr_lseek(k.file, 0, 99), EINVAL);
    CHECK_ERR(dmtr_lseek(k.file, 0, -1), EINVAL);
    CHECK_ERR(dmtr_lseek(k.file, -1, SEEK_SET), EINVAL);
    CHECK_ERR(dmtr_lseek(k.file, -4, SEEK_CUR), EINVAL);
    CHECK_ERR(dmtr_lseek(k.file, -11, SEEK_END), EINVAL);
    q_pop_is(k.file, "3456789", 7); /* failures have moved nothing */
    CHECK_ERR(dmtr_lseek(k.file, -4, SEEK_CUR), 0);
    q_pop_is(k.file, "6789", 4);
    CHECK_ERR(dmtr_lseek(k.file, -2, SEEK_END), 0);
    q_pop_is(k.file, "89", 2);
    CHECK_ERR(dmtr_lseek(k.file, (off_t)1 << 40, SEEK_SET), 0);
    q_pop_is(k.file, "", 0);
    master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    CHECK_ERR(dmtr_open(&tty, ptsname(master), O_RDWR | O_NOCTTY), 0);
    CHECK_ERR(dmtr_lseek(tty, 0, SEEK_SET), ESPIPE);
    CHECK_ERR(dmtr_close(tty), 0);
    CHECK(close(master) == 0);
    kinds_close(&k);
    return 0;
}
