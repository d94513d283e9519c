/* dmtr_is_qd_valid: programs tell queues from file descriptors with it */
#include "api/kinds.h"

int main(void)
{
    struct kinds k;
    int flag = -1, opened[100];
    test_init();
    kinds_open(&k);
    CHECK_ERR(dmtr_is_qd_valid(NULL, k.memory), EINVAL);
    CHECK_ERR(dmtr_is_qd_valid(NULL, -1), EINVAL);
    {
        const int valid[] = {k.memory, k.file, k.udp, k.tcp, k.listener, k.connected};
        for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++) {
            flag = -1;
            CHECK_ERR(dmtr_is_qd_valid(&flag, valid[i]), 0);
            CHECK_EQ(flag, 1);
        }
    }
    for (int i = 0; bad_qd(&k, i).err != 0; i++) { /* no number is an error */
        flag = -1;
        CHECK_ERR(dmtr_is_qd_valid(&flag, bad_qd(&k, i).qd), 0);
        CHECK_EQ(flag, 0);
    }
    for (int i = 0; i < 100; i++) {
        opened[i] = dup(0);
        CHECK(opened[i] >= 0);
    }
    for (int fd = 0; fd < 1 << 20; fd++)
        CHECK_EQ(q_valid(fd), 0);
    for (int i = 0; i < 100; i++)
        CHECK(close(opened[i]) == 0);
    kinds_close(&k);
    CHECK_EQ(q_valid(k.memory), 0);
    CHECK_EQ(q_valid(k.connected), 0);
    return 0;
}
