/* watch.c for the generation of 2020. */
#define DMTR_API 2020
#include "watch.c"
