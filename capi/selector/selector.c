/*
 * libdmtr-libos-NAME.so: what programs link against, or preload, to get libdmtr.so with the libOS NAME as its default.
 *
 * The object is an ELF filter for libdmtr.so (ld -F): it offers the same symbols to the linker, and at run time the loader brings
 * in libdmtr.so and searches it first. So none of the functions below is ever called, and all state is in libdmtr.so.
 * They are made from the exports of libdmtr.so at build time (exports.h), one FUNCTION(number, "name@@version") for each.
 */
#define SELECTOR_STRING(name) #name
#define SELECTOR_NAME(name) SELECTOR_STRING(name)

#define FUNCTION(number, versioned)                                                 \
    __asm__(".symver unused_" #number ", " versioned);                              \
    void unused_##number(void);                                                     \
    void unused_##number(void) { __builtin_trap(); }

#include "exports.h"

/* libdmtr.so looks this up when it starts. */
__asm__(".symver default_libos, dmtr_default_libos@@DMTR_2019");
extern const char default_libos[];
const char default_libos[] = SELECTOR_NAME(DMTR_LIBOS_NAME);
