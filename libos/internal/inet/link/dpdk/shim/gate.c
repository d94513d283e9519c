/*
 * The gate between bursts and control. DPDK's thread for interrupts starts and ends the links of memif: it unmaps the rings that a
 * burst may be reading. So it, and whoever else changes a port, waits until no burst runs and keeps new ones out.
 *
 * Bursts come millions of times a second and control hardly ever. So a burst only writes its flag and reads that of the gate, and
 * control orders the two for it by membarrier.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

volatile bool gate_closed;
bool gate_fences = true;
struct port *gate_ports[MAX_PORTS];

static pthread_mutex_t control = PTHREAD_MUTEX_INITIALIZER;

void gate_init(void)
{
    gate_fences = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0;
}

void control_begin(void)
{
    int i;
    pthread_mutex_lock(&control);
    gate_closed = true;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!gate_fences)
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    for (i = 0; i < MAX_PORTS; i++)
        while (gate_ports[i] != NULL && __atomic_load_n(&gate_ports[i]->busy, __ATOMIC_ACQUIRE))
            sched_yield();
}

void control_end(void)
{
    __atomic_store_n(&gate_closed, false, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&control);
}

void gate_add(struct port *p)
{
    int i;
    for (i = 0; i < MAX_PORTS && gate_ports[i] != NULL; i++)
        continue;
    if (i < MAX_PORTS)
        gate_ports[i] = p;
}

void gate_remove(struct port *p)
{
    int i;
    for (i = 0; i < MAX_PORTS; i++)
        if (gate_ports[i] == p)
            gate_ports[i] = NULL;
}
