/* Registered memory, and address handles. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int memory_register(struct dmtr_rdma_device *device, void *p, uint64_t n, uint32_t peers, struct dmtr_rdma_mr *out)
{
    struct device *d = (struct device *)device;
    struct ibv_mr *mr;
    struct calm calm;
    int error = 0;
    calm_begin(&calm);
    mr = ibv_reg_mr(d->pd, p, (size_t)n,
        IBV_ACCESS_LOCAL_WRITE | (peers & DMTR_RDMA_REMOTE_READ ? IBV_ACCESS_REMOTE_READ : 0) |
            (peers & DMTR_RDMA_REMOTE_WRITE ? IBV_ACCESS_REMOTE_WRITE : 0));
    if (mr == NULL)
        error = last_error();
    else
        *out = (struct dmtr_rdma_mr){mr, mr->lkey, mr->rkey};
    calm_end(&calm);
    return error;
}

void memory_deregister(void *mr)
{
    struct calm calm;
    calm_begin(&calm);
    ibv_dereg_mr(mr);
    calm_end(&calm);
}

/* The address from which the kernel would send to another. */
static int source_of(const struct sockaddr_in *peer, struct sockaddr_in *source)
{
    struct sockaddr_in to = *peer;
    socklen_t n = sizeof(*source);
    int result, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return last_error();
    to.sin_port = htons(9); /* any */
    result = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && getsockname(fd, (struct sockaddr *)source, &n) == 0 ? 0 : last_error();
    close(fd);
    return result;
}

static void mapped_gid(union ibv_gid *gid, const struct sockaddr_in *addr)
{
    memset(gid, 0, sizeof(*gid));
    memset(gid->raw + 10, 0xff, 2);
    memcpy(gid->raw + 12, &addr->sin_addr, 4);
}

/* The index of the device's GID for an IPv4 address; -1 if it has none. */
static int gid_index(struct device *d, const struct sockaddr_in *local)
{
    struct ibv_port_attr attr;
    struct ibv_gid_entry entry;
    union ibv_gid gid;
    int i;
    mapped_gid(&gid, local);
    if (ibv_query_port(d->verbs, d->port, &attr) != 0)
        return -1;
    for (i = 0; i < attr.gid_tbl_len; i++)
        if (ibv_query_gid_ex(d->verbs, d->port, (uint32_t)i, &entry, 0) == 0 && entry.gid_type == IBV_GID_TYPE_ROCE_V2 &&
            memcmp(&entry.gid, &gid, sizeof(gid)) == 0)
            return i;
    return -1;
}

static int make_ah(struct id *from, const struct sockaddr_in *addr, void **ah)
{
    struct device *d = from->device;
    struct ibv_ah_attr attr = {.is_global = 1, .port_num = d->port, .grh = {.hop_limit = 64}};
    struct sockaddr_in local = *(struct sockaddr_in *)rdma_get_local_addr(from->cm);
    int index, error;
    if (local.sin_addr.s_addr == htonl(INADDR_ANY) && (error = source_of(addr, &local)) != 0)
        return error;
    index = gid_index(d, &local);
    if (index < 0 || index > UINT8_MAX)
        return ENETUNREACH;
    attr.grh.sgid_index = (uint8_t)index;
    mapped_gid(&attr.grh.dgid, addr);
    errno = 0;
    *ah = ibv_create_ah(d->pd, &attr);
    return *ah != NULL ? 0 : last_error();
}

int ah_new(struct dmtr_rdma_id *from, const struct sockaddr_in *addr, void **ah)
{
    struct calm calm;
    int error;
    calm_begin(&calm);
    error = make_ah((struct id *)from, addr, ah);
    calm_end(&calm);
    return error;
}

void ah_free(void *ah)
{
    struct calm calm;
    calm_begin(&calm);
    ibv_destroy_ah(ah);
    calm_end(&calm);
}
