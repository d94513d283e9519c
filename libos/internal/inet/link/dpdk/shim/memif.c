/*
 * What DPDK's memif driver leaves to do.
 *
 * It starts and ends links on DPDK's thread for interrupts, whatever bursts are doing (see gate.c), it connects once only, when a
 * client's port is started, and lets children of the process inherit its sockets, which hides the death of the process from the
 * peer. So the calls by which it registers and unregisters its handlers come here: this library defines the same symbols as
 * librte_eal and is searched first, as the root of what dlopen loaded. What other libraries register is passed on as it is.
 */
#define _GNU_SOURCE
#define ALLOW_EXPERIMENTAL_API /* rte_intr_fd_get */
#include "internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <rte_alarm.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define RETRY_US 10000

struct handler {
    volatile bool used;
    bool dead; /* its end is decided, but it may still be called */
    rte_intr_callback_fn run;
    rte_intr_unregister_callback_fn ended;
    void *arg;
    int fd;
    struct rte_intr_handle *handle; /* our own, for fd */
    ino_t socket;                   /* which fd should be */
    struct port *owner;
};

struct port *memif_owner;

static struct handler handlers[64];
static pthread_mutex_t handlers_lock = PTHREAD_MUTEX_INITIALIZER;
static bool retrying; /* under control */

static int (*real_register)(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
static int (*real_unregister)(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
static int (*real_pending)(const struct rte_intr_handle *, rte_intr_callback_fn, void *, rte_intr_unregister_callback_fn);

/* Data pointers from dlsym, without a cast that ISO C does not know. */
static void find(void *function, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof(found));
}

static void __attribute__((constructor)) find_all(void)
{
    find(&real_register, "rte_intr_callback_register");
    find(&real_unregister, "rte_intr_callback_unregister");
    find(&real_pending, "rte_intr_callback_unregister_pending");
}

static bool of_memif(rte_intr_callback_fn run)
{
    Dl_info info;
    void *p;
    memcpy(&p, &run, sizeof(p));
    return dladdr(p, &info) != 0 && info.dli_fname != NULL && strstr(info.dli_fname, "librte_net_memif") != NULL;
}

static ino_t socket_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static struct handler *handler_new(int fd, rte_intr_callback_fn run, void *arg)
{
    struct rte_intr_handle *handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
    struct handler *h = NULL;
    size_t i;
    if (handle == NULL)
        return NULL;
    rte_intr_fd_set(handle, fd);
    rte_intr_type_set(handle, RTE_INTR_HANDLE_EXT);
    pthread_mutex_lock(&handlers_lock);
    for (i = 0; i < RTE_DIM(handlers) && h == NULL; i++)
        if (!handlers[i].used)
            h = &handlers[i];
    if (h != NULL)
        *h = (struct handler){true, false, run, NULL, arg, fd, handle, socket_of(fd), memif_owner};
    pthread_mutex_unlock(&handlers_lock);
    if (h == NULL)
        rte_intr_instance_free(handle);
    return h;
}

static struct handler *handler_of(rte_intr_callback_fn run, void *arg)
{
    size_t i;
    for (i = 0; i < RTE_DIM(handlers); i++)
        if (handlers[i].used && !handlers[i].dead && handlers[i].run == run && handlers[i].arg == arg)
            return &handlers[i];
    return NULL;
}

static void handler_free(struct handler *h)
{
    rte_intr_instance_free(h->handle);
    __atomic_store_n(&h->used, false, __ATOMIC_RELEASE);
}

static void channel_gone(struct handler *h)
{
    if (h->owner != NULL)
        h->owner->channels--;
}

static void run(void *arg);
static void retry(void *arg);

/* Called with the handle that DPDK has made of ours, or with ours. */
static void ended(struct rte_intr_handle *handle, void *arg)
{
    struct handler *h = arg;
    h->ended(handle, h->arg);
    handler_free(h);
}

static void close_fd(struct rte_intr_handle *handle, void *arg)
{
    (void)arg;
    close(rte_intr_fd_get(handle));
}

static void nothing(struct rte_intr_handle *handle, void *arg)
{
    (void)handle;
    (void)arg;
}

/*
 * Starts ports anew whose peer has gone, and comes back until that has worked. A client whose link has come up receives once in
 * vain: only then its server has room to send to. Under control.
 */
static void look_after(void)
{
    bool missing = false;
    int i;
    for (i = 0; i < MAX_PORTS; i++) {
        struct port *p = gate_ports[i];
        if (p == NULL || !p->memif_client)
            continue;
        if (p->channels == 0)
            missing = true;
        else if (p->running && link_up(p))
            rte_eth_rx_burst(p->id, 0, NULL, 0);
    }
    if (missing && !retrying)
        retrying = rte_eal_alarm_set(RETRY_US, retry, NULL) == 0;
}

static void retry(void *arg)
{
    int i;
    (void)arg;
    control_begin();
    retrying = false;
    for (i = 0; i < MAX_PORTS; i++) {
        struct port *p = gate_ports[i];
        if (p != NULL && p->memif_client && p->channels == 0)
            memif_start(p);
    }
    look_after();
    control_end();
}

/* Starts a port and, if it is a client, connects it. Under control. */
int memif_start(struct port *p)
{
    int error;
    if (p->running) {
        p->running = false;
        rte_eth_dev_stop(p->id);
    }
    memif_owner = p;
    error = rte_eth_dev_start(p->id);
    memif_owner = NULL;
    p->running = error == 0;
    if (p->memif_client) {
        look_after();
        return 0; /* without a server yet is not an error */
    }
    return error;
}

/* The event that a handler is called for may be an older one of another descriptor with that number, and the driver would block. */
static bool ready(struct handler *h)
{
    struct pollfd poll_fd = {.fd = h->fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) > 0;
}

/* Ends a handler: at once, or if it is being called, afterwards. Its descriptor is closed by then. */
static void end(struct handler *h, rte_intr_unregister_callback_fn then)
{
    int n;
    h->ended = then;
    h->dead = true;
    channel_gone(h);
    do {
        n = real_unregister(h->handle, run, h);
        if (n > 0)
            ended(h->handle, h);
        else if (n == -EAGAIN)
            n = real_pending(h->handle, run, h, ended);
    } while (n == -EAGAIN);
}

/* The driver closes the socket of a client that is gone before it was greeted, but leaves its handler. */
static void end_closed(void)
{
    size_t i;
    for (i = 0; i < RTE_DIM(handlers); i++) {
        struct handler *h = &handlers[i];
        if (h->used && !h->dead && socket_of(h->fd) != h->socket)
            end(h, nothing);
    }
}

static void run(void *arg)
{
    struct handler *h = arg;
    control_begin();
    if (!h->dead && ready(h)) {
        memif_owner = h->owner;
        h->run(h->arg);
        memif_owner = NULL;
        end_closed();
    }
    look_after();
    control_end();
}

EXPORT int rte_intr_callback_register(const struct rte_intr_handle *handle, rte_intr_callback_fn cb, void *arg)
{
    struct handler *h;
    int error;
    if (!of_memif(cb))
        return real_register(handle, cb, arg);
    if ((h = handler_new(rte_intr_fd_get(handle), cb, arg)) == NULL)
        return -ENOMEM;
    fcntl(h->fd, F_SETFD, FD_CLOEXEC);
    if (h->owner != NULL)
        h->owner->channels++;
    if ((error = real_register(h->handle, run, h)) < 0) {
        channel_gone(h);
        handler_free(h);
    }
    return error;
}

EXPORT int rte_intr_callback_unregister(const struct rte_intr_handle *handle, rte_intr_callback_fn cb, void *arg)
{
    struct handler *h = of_memif(cb) ? handler_of(cb, arg) : NULL;
    int n;
    if (h == NULL)
        return real_unregister(handle, cb, arg);
    if ((n = real_unregister(h->handle, run, h)) > 0) {
        channel_gone(h);
        handler_free(h);
    }
    return n;
}

EXPORT int rte_intr_callback_unregister_pending(const struct rte_intr_handle *handle, rte_intr_callback_fn cb, void *arg,
                                                rte_intr_unregister_callback_fn ucb)
{
    struct handler *h = of_memif(cb) ? handler_of(cb, arg) : NULL;
    if (h == NULL)
        return real_pending(handle, cb, arg, ucb);
    end(h, ucb);
    return 1;
}

/* Ends what the driver leaves open: its listening socket. Under control, before the port is closed. */
void memif_close_listener(struct port *p)
{
    size_t i;
    for (i = 0; i < RTE_DIM(handlers); i++) {
        struct handler *h = &handlers[i];
        int listening = 0;
        socklen_t size = sizeof(listening);
        if (!h->used || h->owner != p)
            continue;
        if (!h->dead && getsockopt(h->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening)
            end(h, close_fd);
    }
}

/* After the port is closed: who is left is a client that the driver has not yet given a port. */
void memif_disown(struct port *p)
{
    size_t i;
    for (i = 0; i < RTE_DIM(handlers); i++)
        if (handlers[i].used && handlers[i].owner == p)
            handlers[i].owner = NULL;
}

/* Removes the socket of a server that was killed. It refuses connections. */
void memif_clean_path(const char *vdev)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const char *path = strstr(vdev, ",socket="), *abstract = strstr(vdev, "socket-abstract=no");
    size_t n;
    int fd;
    if (path == NULL || abstract == NULL)
        return;
    path += strlen(",socket=");
    n = strcspn(path, ",");
    if (n == 0 || n >= sizeof(addr.sun_path))
        return;
    memcpy(addr.sun_path, path, n);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 && errno == ECONNREFUSED)
        unlink(addr.sun_path);
    close(fd);
}

/* In a child: the peer is to see that the process has ended when the parent ends. */
static void in_child(void)
{
    size_t i;
    for (i = 0; i < RTE_DIM(handlers); i++)
        if (handlers[i].used && socket_of(handlers[i].fd) == handlers[i].socket)
            close(handlers[i].fd);
}

void memif_init(void) { pthread_atfork(NULL, NULL, in_child); }
