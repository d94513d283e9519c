/*
 * Memory that the Go engine and the C front share: the twin of runtime/abi/shared.go, checked
 * against it when the library starts (see dmtr_shared_layout in front.c).
 */
#ifndef DMTR_SHARED_H
#define DMTR_SHARED_H

#include <dmtr/types.h>
#include <stdint.h>
#include <sys/epoll.h>

#define DMTR_HIDDEN __attribute__((visibility("hidden")))

enum { TOKEN_FREE, TOKEN_PENDING, TOKEN_DONE };

enum {
    FLAG_OWNED = 1, /* the result owns the heap block in sga_buf until somebody takes it */
    FLAG_BYTES = 2,
    FLAG_SEEN = 4,  /* dmtr_poll has reported the result */
    FLAG_PARKED = 8 /* on the parked list instead of the ready list */
};

#define TOKEN_NONE UINT32_MAX

/* One operation: two cache lines. Its links are indices of other records. */
struct dmtr_token {
    uint64_t seq;
    uint32_t state;
    uint32_t err;
    uint32_t hint;
    uint32_t prev, next;
    uint32_t flags;
    dmtr_qresult_t result;
};

#define INDEX_BITS 20
#define INDEX_MASK ((1u << INDEX_BITS) - 1)
#define QD_INDEX_BITS 20
#define QD_INDEX_MASK ((1u << QD_INDEX_BITS) - 1)
#define CHUNK_BITS 10
#define CHUNK_TOKENS (1u << CHUNK_BITS)
#define MAX_CHUNKS (1u << (INDEX_BITS - CHUNK_BITS))
#define MAX_WAIT_FDS 8

struct dmtr_list {
    uint32_t head, tail, count;
};

enum { SCRATCH_LEN = 64 << 10 };

enum { PORT_MESSAGE = 1, PORT_DATAGRAM = 2, PORT_CONNECTED = 4, PORT_POP = 8 };

/* A kernel socket that the front serves by itself while that is simple; see abi.Port. */
struct dmtr_port {
    int32_t qd;
    int32_t fd;
    uint32_t pop;
    uint32_t want;
    uint32_t misses;
    uint32_t flags;
    struct sockaddr_in address;
};

enum { MAX_EVENTS = 64 };

struct dmtr_order {
    uint64_t away;
    uint64_t polled;
    int32_t epfd;
    int32_t place;
    uint32_t num_events;
    struct epoll_event events[MAX_EVENTS];
};

enum { LANE_MESSAGE = 1, LANE_PUSH = 2, LANE_POP = 4 };

/* A TCP socket whose pushes the front sends, and whose pops it starts, while that is simple; see abi.Lane. */
struct dmtr_lane {
    int32_t qd;
    int32_t fd;
    uint32_t pop;
    uint32_t flags;
};

enum { WAIT_ADAPTIVE, WAIT_SPIN, WAIT_BLOCK };

struct dmtr_control {
    uint64_t seq;
    uint32_t want;
    uint32_t blocked;
    uint32_t wait_mode;
    uint32_t spin_ns;
    uint32_t broken;
    uint32_t forked;
    uint32_t keep;
    uint32_t polls;
    struct dmtr_list ready, parked, free;
    uint32_t num_fds;
    int32_t fds[MAX_WAIT_FDS];
    struct dmtr_port port;
    unsigned char *scratch;
    struct dmtr_order order;
    uint64_t max_message;
    uint32_t max_pop;
    struct dmtr_token *chunks[MAX_CHUNKS];
    struct dmtr_lane *lanes;
    uint32_t (*hints)[2];
};

/*
 * What a child process must not inherit. The kernel fills the page with zeros in every child, however
 * it was forked.
 */
extern union dmtr_process {
    struct {
        struct dmtr_control *ctl; /* once dmtr_init() has succeeded */
        uint32_t lock;
        uint32_t loaded_here; /* the library was loaded into this process, not into a parent of it */
        uint32_t maker; /* there is a thread that makes threads, see own_threads.c */
    };
    char page[4096];
} dmtr_process DMTR_HIDDEN;

#define dmtr_ctl (dmtr_process.ctl)

#endif
