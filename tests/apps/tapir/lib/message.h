/* Stands in for TAPIR's header of that name: what DmtrTransport needs of it. */
#ifndef STANDIN_MESSAGE_H
#define STANDIN_MESSAGE_H

#include <stdio.h>
#include <stdlib.h>

#define Panic(...)                            \
    do {                                      \
        fprintf(stderr, __VA_ARGS__);         \
        fputc('\n', stderr);                  \
        abort();                              \
    } while (0)

#endif
