/* Compiler notation used by the other headers. */
#ifndef DMTR_SYS_GCC_H
#define DMTR_SYS_GCC_H

#define DMTR_EXPORT __attribute__((visibility("default")))
#define DMTR_LIKELY(cond) __builtin_expect(!!(cond), 1)
#define DMTR_UNLIKELY(cond) __builtin_expect(!!(cond), 0)

#endif
