/* wait_any.c for the generation of 2020. */
#define DMTR_API 2020
#include "wait_any.c"
