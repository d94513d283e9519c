/* One queue of each kind, and the descriptors that every call must refuse. */
#ifndef DMTR_TESTS_API_KINDS_H
#define DMTR_TESTS_API_KINDS_H

#include "net/peer.h"

#include <limits.h>

struct kinds {
    int memory, file, udp, tcp, listener, connected, closed;
    int peer; /* plain socket at the other end of connected */
    char dir[256], path[300];
};

static inline void kinds_open(struct kinds *k)
{
    struct sockaddr_in addr;
    CHECK_ERR(dmtr_queue(&k->memory), 0);
    CHECK_ERR(dmtr_queue(&k->closed), 0);
    CHECK_ERR(dmtr_close(k->closed), 0);
    make_folder(k->dir, sizeof k->dir);
    snprintf(k->path, sizeof k->path, "%s/file", k->dir);
    CHECK_ERR(dmtr_open2(&k->file, k->path, O_RDWR | O_CREAT, 0600), 0);
    CHECK_ERR(dmtr_socket(&k->udp, AF_INET, SOCK_DGRAM, 0), 0);
    CHECK_ERR(dmtr_socket(&k->tcp, AF_INET, SOCK_STREAM, 0), 0);
    k->listener = test_listen(&addr);
    k->connected = q_pair(&k->peer);
}

static inline void kinds_close(struct kinds *k)
{
    CHECK_ERR(dmtr_close(k->memory), 0);
    CHECK_ERR(dmtr_close(k->file), 0);
    CHECK_ERR(dmtr_close(k->udp), 0);
    CHECK_ERR(dmtr_close(k->tcp), 0);
    CHECK_ERR(dmtr_close(k->listener), 0);
    CHECK_ERR(dmtr_close(k->connected), 0);
    CHECK(close(k->peer) == 0);
    CHECK(remove(k->path) == 0);
    CHECK(remove(k->dir) == 0);
}

struct bad_qd {
    int qd, err;
};

static inline struct bad_qd bad_qd(const struct kinds *k, int i)
{
    const struct bad_qd all[] = {
        {0, EINVAL},       {-1, EINVAL},       {INT_MIN, EINVAL},    {-k->memory, EINVAL},
        {1, ENOENT},       {k->peer, ENOENT},  {0x3fffffff, ENOENT}, {0x40000000 + 99999, ENOENT},
        {INT_MAX, ENOENT}, {k->closed, ENOENT}};
    const struct bad_qd end = {0, 0};
    return i < (int)(sizeof all / sizeof all[0]) ? all[i] : end;
}

/* Checks call, an expression with qd in it, with every descriptor that is none. */
#define CHECK_BAD_QDS(k, call)                                     \
    do {                                                           \
        for (int bad_ = 0; bad_qd((k), bad_).err != 0; bad_++) {   \
            int qd = bad_qd((k), bad_).qd;                         \
            CHECK_ERR(call, bad_qd((k), bad_).err);                \
        }                                                          \
    } while (0)

#endif
