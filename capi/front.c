/*
 * The entry points of libos.h: arguments are checked here, then Go is entered with the lock held.
 * Those that read or free a completed token need not enter Go at all.
 */
#define _GNU_SOURCE
#include "front.h"
#include "hot.h"
#include "token.h"
#include "waiter.h"

#include "_cgo_export.h"

#include <dlfcn.h>
#include <dmtr/libos.h>
#include <dmtr/wait.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

uint64_t dmtr_enter(void)
{
    dmtr_lock();
    return dmtr_ctl->seq;
}

void dmtr_leave(uint64_t seq)
{
    if (DMTR_UNLIKELY(dmtr_ctl->blocked != 0)) {
        dmtrGoArm();
        if (dmtr_ctl->seq != seq || dmtr_ctl->broken)
            dmtr_wake_all();
    }
    dmtr_unlock();
}

DMTR_EXPORT int dmtr_init(int argc, char *argv[])
{
    if (argc < 0 || (argc > 0 && argv == NULL))
        return EINVAL;
    int rc = dmtr_thread_enter();
    if (rc != 0)
        return dmtr_started ? EPERM : rc;
    dmtr_lock();
    rc = dmtr_started ? EPERM : waiter_start();
    if (rc == 0) {
        /* A selector library that is linked or preloaded defines this; see capi/selector. */
        const char *selected = (const char *)dlsym(RTLD_DEFAULT, "dmtr_default_libos");
        struct dmtr_control *ctl = NULL;
        dmtr_before_init();
        rc = dmtrGoInit(argc, argv, (char *)selected, (void **)&ctl);
        if (rc == 0) {
            dmtr_started = 1;
            __atomic_store_n(&dmtr_ctl, ctl, __ATOMIC_RELEASE);
            if (ctl->keep)
                dmtr_keep();
        }
    }
    dmtr_unlock();
    return rc;
}

DMTR_EXPORT int dmtr_queue(int *qd_out)
{
    ENTER_API();
    if (qd_out == NULL)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoQueue(qd_out));
}

DMTR_EXPORT int dmtr_socket(int *qd_out, int domain, int type, int protocol)
{
    ENTER_API();
    if (qd_out == NULL)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoSocket(qd_out, domain, type, protocol));
}

DMTR_EXPORT int dmtr_getsockname(int qd, struct sockaddr *saddr, socklen_t *size)
{
    ENTER_API();
    if (qd <= 0 || saddr == NULL || size == NULL || *size > INT32_MAX)
        return EINVAL;
    struct sockaddr_in name;
    uint64_t seq = dmtr_enter();
    int rc = dmtrGoGetsockname(qd, &name);
    dmtr_leave(seq);
    if (rc == 0) {
        memcpy(saddr, &name, *size < sizeof name ? *size : sizeof name);
        *size = sizeof name;
    }
    return rc;
}

DMTR_EXPORT int dmtr_listen(int qd, int backlog)
{
    ENTER_API();
    if (qd <= 0)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoListen(qd, backlog));
}

/* Copies an address that the caller gave, so that Go sees a complete one. */
static int take_address(struct sockaddr_in *to, const struct sockaddr *from, socklen_t size)
{
    if (from == NULL || size < sizeof from->sa_family)
        return EINVAL;
    if (from->sa_family != AF_INET)
        return EAFNOSUPPORT;
    if (size < sizeof *to)
        return EINVAL;
    memcpy(to, from, sizeof *to);
    return 0;
}

DMTR_EXPORT int dmtr_bind(int qd, const struct sockaddr *saddr, socklen_t size)
{
    ENTER_API();
    struct sockaddr_in addr;
    if (qd <= 0)
        return EINVAL;
    int rc = take_address(&addr, saddr, size);
    if (rc != 0)
        return rc;
    RETURN_FROM_ENGINE(dmtrGoBind(qd, &addr));
}

DMTR_EXPORT int dmtr_accept(dmtr_qtoken_t *qt_out, int qd)
{
    ENTER_API();
    if (qt_out == NULL || qd <= 0)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoAccept(qt_out, qd));
}

int dmtr_start_connect(dmtr_qtoken_t *qt_out, int qd, const struct sockaddr *saddr, socklen_t size)
{
    ENTER_API();
    struct sockaddr_in addr;
    if (qt_out == NULL || qd <= 0)
        return EINVAL;
    int rc = take_address(&addr, saddr, size);
    if (rc != 0)
        return rc;
    RETURN_FROM_ENGINE(dmtrGoConnect(qt_out, qd, &addr));
}

DMTR_EXPORT int dmtr_connect(int qd, const struct sockaddr *saddr, socklen_t size)
{
    dmtr_qtoken_t qt;
    int rc = dmtr_start_connect(&qt, qd, saddr, size);
    if (rc == 0 && (rc = dmtr_wait(NULL, qt)) == EINTR) {
        int late = dmtr_poll(NULL, qt);
        dmtr_drop(qt);
        return late == EAGAIN ? rc : late;
    }
    return rc;
}

DMTR_EXPORT int dmtr_open2(int *qd_out, const char *pathname, int flags, mode_t mode)
{
    ENTER_API();
    if (qd_out == NULL || pathname == NULL)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoOpen(qd_out, (char *)pathname, flags, mode));
}

DMTR_EXPORT int dmtr_open(int *qd_out, const char *pathname, int flags)
{
    return dmtr_open2(qd_out, pathname, flags, 0666);
}

DMTR_EXPORT int dmtr_creat(int *qd_out, const char *pathname, mode_t mode)
{
    return dmtr_open2(qd_out, pathname, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

DMTR_EXPORT int dmtr_close(int qd)
{
    ENTER_API();
    if (qd <= 0)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoClose(qd));
}

DMTR_EXPORT int dmtr_is_qd_valid(int *flag_out, int qd)
{
    if (flag_out != NULL)
        *flag_out = 0;
    ENTER_API();
    if (flag_out == NULL)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoIsValid(flag_out, qd));
}

DMTR_EXPORT int dmtr_push(dmtr_qtoken_t *qt_out, int qd, const dmtr_sgarray_t *sga)
{
    ENTER_API();
    if (qt_out == NULL || sga == NULL || qd <= 0)
        return EINVAL;
    uint64_t seq = dmtr_enter();
    int64_t sent = 0;
    int rc = 0;
    if (!hot_push(qt_out, qd, sga, &sent))
        rc = dmtrGoPush(qt_out, qd, (dmtr_sgarray_t *)sga, sent);
    dmtr_leave(seq);
    return rc;
}

DMTR_EXPORT int dmtr_pop(dmtr_qtoken_t *qt_out, int qd)
{
    ENTER_API();
    if (qt_out == NULL || qd <= 0)
        return EINVAL;
    RETURN_FROM_ENGINE(hot_pop(qt_out, qd, 0) ? 0 : dmtrGoPop(qt_out, qd, 0));
}

DMTR_EXPORT int dmtr_pop2(dmtr_qtoken_t *qt_out, int qd, size_t count)
{
    ENTER_API();
    if (qt_out == NULL || qd <= 0 || count == 0)
        return EINVAL;
    RETURN_FROM_ENGINE(hot_pop(qt_out, qd, count) ? 0 : dmtrGoPop(qt_out, qd, count));
}

DMTR_EXPORT int dmtr_lseek(int qd, off_t offset, int whence)
{
    ENTER_API();
    if (qd <= 0)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoLseek(qd, offset, whence));
}

/* Offsets, sizes and values that both sides know, in the order in which main.go lists its own. */
const uint32_t dmtr_shared_layout[] = {
    sizeof(struct dmtr_token), offsetof(struct dmtr_token, state), offsetof(struct dmtr_token, hint),
    offsetof(struct dmtr_token, flags), offsetof(struct dmtr_token, result),
    sizeof(struct dmtr_control), offsetof(struct dmtr_control, want), offsetof(struct dmtr_control, spin_ns), offsetof(struct dmtr_control, forked), offsetof(struct dmtr_control, polls),
    offsetof(struct dmtr_control, ready), offsetof(struct dmtr_control, free), offsetof(struct dmtr_control, num_fds),
    offsetof(struct dmtr_control, port), offsetof(struct dmtr_control, scratch), offsetof(struct dmtr_control, order),
    sizeof(struct dmtr_order), offsetof(struct dmtr_order, place), offsetof(struct dmtr_order, events), MAX_EVENTS,
    offsetof(struct dmtr_control, chunks), offsetof(struct dmtr_control, hints), offsetof(struct dmtr_control, lanes),
    sizeof(struct dmtr_port), offsetof(struct dmtr_port, address),
    sizeof(struct dmtr_lane), offsetof(struct dmtr_lane, flags), LANE_MESSAGE, LANE_PUSH, LANE_POP,
    sizeof(dmtr_sgarray_t), offsetof(dmtr_sgarray_t, sga_addr), sizeof(dmtr_qresult_t),
    offsetof(dmtr_qresult_t, qr_value), sizeof(dmtr_accept_result_t), offsetof(dmtr_accept_result_t, len),
    TOKEN_FREE, TOKEN_PENDING, TOKEN_DONE, FLAG_OWNED, FLAG_BYTES, FLAG_SEEN, FLAG_PARKED,
    PORT_MESSAGE, PORT_DATAGRAM, PORT_CONNECTED, PORT_POP, SCRATCH_LEN, MAX_WAIT_FDS, MAX_CHUNKS, INDEX_BITS, QD_INDEX_BITS,
    WAIT_ADAPTIVE, WAIT_SPIN, WAIT_BLOCK, DMTR_SGARRAY_MAXSIZE, DMTR_HEADER_MAGIC, TOKEN_NONE,
};
const uint32_t dmtr_shared_count = sizeof dmtr_shared_layout / sizeof dmtr_shared_layout[0];
