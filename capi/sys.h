/*
 * System calls as the kernel knows them. Those of the C library are cancellation points, at which a
 * thread could end with the lock held, and give errors in errno, which a signal handler may change
 * before it is read.
 */
#ifndef DMTR_SYS_H
#define DMTR_SYS_H

#include <sys/syscall.h>

/* Returns what the kernel returns: an errno value is negative. */
static inline long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#endif
