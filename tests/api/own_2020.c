/* own.c for the generation of 2020. */
#define DMTR_API 2020
#include "own.c"
