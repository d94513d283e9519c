/*
 * The generation of the API. A program chooses it with DMTR_API, 2019 (the default) or 2020, which
 * must be the same in all files that share its types.
 *
 * One libdmtr.so serves both. A function whose types differ is in it twice, as the ELF symbol
 * versions NAME@DMTR_2019 and NAME@DMTR_2020, and the header's generation decides which of the two
 * an object file asks for. Such functions are declared with DMTR_VERSIONED(NAME).
 */
#ifndef DMTR_SYS_API_H
#define DMTR_SYS_API_H

#ifndef DMTR_API
#define DMTR_API 2019
#endif

#if DMTR_API == 2019

/* The linker's default. */
#define DMTR_VERSIONED(name)

#elif DMTR_API == 2020

/*
 * The compiler calls the function NAME_2020, and the assembler turns that into NAME@DMTR_2020 in
 * the object file. Where the lines below do not reach all of the code, as when GCC's link-time
 * optimization splits a program, NAME_2020 remains, which is another name of the same function.
 */
#define DMTR_VERSIONED(name) __asm__(#name "_2020")

__asm__(".symver dmtr_connect_2020, dmtr_connect@DMTR_2020\n"
        ".symver dmtr_poll_2020, dmtr_poll@DMTR_2020\n"
        ".symver dmtr_push_2020, dmtr_push@DMTR_2020\n"
        ".symver dmtr_sgafree_2020, dmtr_sgafree@DMTR_2020\n"
        ".symver dmtr_sgalen_2020, dmtr_sgalen@DMTR_2020\n"
        ".symver dmtr_wait_2020, dmtr_wait@DMTR_2020\n"
        ".symver dmtr_wait_all_2020, dmtr_wait_all@DMTR_2020\n"
        ".symver dmtr_wait_any_2020, dmtr_wait_any@DMTR_2020\n"
        ".symver dmtr_wait_any_timeout_2020, dmtr_wait_any_timeout@DMTR_2020\n"
        ".symver dmtr_wait_some_2020, dmtr_wait_some@DMTR_2020\n"
        ".symver dmtr_wait_timeout_2020, dmtr_wait_timeout@DMTR_2020\n");

#else
#error "DMTR_API: the generations of the API are 2019 and 2020"
#endif

#endif
