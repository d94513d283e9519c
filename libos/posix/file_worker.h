/* One thread that reads and writes files for the posix libOS where there is no io_uring. */
#ifndef DMTR_FILE_WORKER_H
#define DMTR_FILE_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum { WORKER_REQUESTS = 128, WORKER_IOV = 3 };

/* A request belongs to the thread from worker_start() on, and to the caller again once worker_take() has returned it. */
struct worker_request {
    struct iovec iov[WORKER_IOV];
    int64_t off; /* -1: the position that the kernel keeps */
    int64_t res; /* bytes, or an errno below zero */
    int niov;
    int fd;
    int write;
    int next; /* in a list, or -1 */
    uint32_t file;
};

struct worker_list {
    int head, tail; /* -1 if empty */
};

struct worker {
    uint32_t finished; /* requests so far; read without the lock, to see whether worker_take() pays */
    int event;         /* eventfd, readable after worker_arm() once there is something to take */
    int armed;
    int stop;
    struct worker_list queued;
    struct worker_list done;
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t ended;
    pthread_t thread;
    struct worker_request req[WORKER_REQUESTS];
};

/* Returns 0 or an errno. */
int worker_new(struct worker **out);
void worker_delete(struct worker *w);

void worker_start(struct worker *w, int i);
/* Returns the finished requests, linked by next, oldest first, or -1. */
int worker_take(struct worker *w);
/* Ends a request with ECANCELED if the thread has not begun it. */
void worker_cancel(struct worker *w, int i);
/* Sleeps until there is something to take. */
void worker_wait(struct worker *w);
/* Makes the eventfd readable once there is something to take, or now; worker_disarm() takes that back. */
void worker_arm(struct worker *w, bool now);
void worker_disarm(struct worker *w);

#endif
