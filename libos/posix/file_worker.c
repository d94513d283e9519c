#define _GNU_SOURCE
#include "file_worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK_BYTES = 128 << 10 };

static void append(struct worker *w, struct worker_list *l, int i)
{
    w->req[i].next = -1;
    if (l->head < 0)
        l->head = i;
    else
        w->req[l->tail].next = i;
    l->tail = i;
}

static int remove_from(struct worker *w, struct worker_list *l, int i)
{
    int before = -1;
    int at = l->head;
    while (at >= 0 && at != i) {
        before = at;
        at = w->req[at].next;
    }
    if (at < 0)
        return 0;
    if (before < 0)
        l->head = w->req[i].next;
    else
        w->req[before].next = w->req[i].next;
    if (l->tail == i)
        l->tail = before;
    return 1;
}

static void finish(struct worker *w, int i)
{
    append(w, &w->done, i);
    __atomic_store_n(&w->finished, w->finished + 1, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&w->ended);
    if (w->armed) {
        w->armed = 0;
        eventfd_write(w->event, 1);
    }
}

static int64_t perform(const struct worker_request *r)
{
    ssize_t n;
    if (r->off < 0)
        n = r->write ? writev(r->fd, r->iov, r->niov) : readv(r->fd, r->iov, r->niov);
    else
        n = r->write ? pwritev(r->fd, r->iov, r->niov, r->off) : preadv(r->fd, r->iov, r->niov, r->off);
    return n < 0 ? -errno : n;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        int i = w->queued.head;
        if (i < 0) {
            pthread_cond_wait(&w->work, &w->lock);
            continue;
        }
        remove_from(w, &w->queued, i);
        pthread_mutex_unlock(&w->lock);
        int64_t res = perform(&w->req[i]);
        pthread_mutex_lock(&w->lock);
        w->req[i].res = res;
        finish(w, i);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* The program's signals are none of the thread's business, and SIGXFSZ must not end the process. */
static int start_thread(struct worker *w)
{
    sigset_t all;
    sigset_t old;
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc != 0)
        return rc;
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&w->thread, &attr, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

int worker_new(struct worker **out)
{
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ENOMEM;
    w->queued.head = w->done.head = -1;
    w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event < 0) {
        int rc = errno;
        free(w);
        return rc;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->ended, NULL);
    int rc = start_thread(w);
    if (rc != 0) {
        close(w->event);
        free(w);
        return rc == EAGAIN ? ENOMEM : rc;
    }
    pthread_setname_np(w->thread, "dmtr-files");
    *out = w;
    return 0;
}

void worker_delete(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = 1;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->ended);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    close(w->event);
    free(w);
}

void worker_start(struct worker *w, int i)
{
    pthread_mutex_lock(&w->lock);
    append(w, &w->queued, i);
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

int worker_take(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    int i = w->done.head;
    w->done.head = -1;
    pthread_mutex_unlock(&w->lock);
    return i;
}

void worker_cancel(struct worker *w, int i)
{
    pthread_mutex_lock(&w->lock);
    if (remove_from(w, &w->queued, i)) {
        w->req[i].res = -ECANCELED;
        finish(w, i);
    }
    pthread_mutex_unlock(&w->lock);
}

void worker_wait(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->done.head < 0)
        pthread_cond_wait(&w->ended, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void worker_arm(struct worker *w, bool now)
{
    pthread_mutex_lock(&w->lock);
    if (now || w->done.head >= 0)
        eventfd_write(w->event, 1);
    else
        w->armed = 1;
    pthread_mutex_unlock(&w->lock);
}

void worker_disarm(struct worker *w)
{
    eventfd_t count;
    pthread_mutex_lock(&w->lock);
    w->armed = 0;
    pthread_mutex_unlock(&w->lock);
    eventfd_read(w->event, &count);
}
