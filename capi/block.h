/* The blocks that programs own. */
#ifndef DMTR_BLOCK_H
#define DMTR_BLOCK_H

/* free(), during which signal handlers get EBUSY. */
void dmtr_free_block(void *block);

#endif
