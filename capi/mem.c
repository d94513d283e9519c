/* Memory for programs. */
#include "block.h"
#include "lock.h"

#include <dmtr/libos/mem.h>
#include <errno.h>
#include <stdlib.h>

int dmtr_malloc(void **out, size_t bytes)
{
    if (out == NULL)
        return EINVAL;
    uint32_t before = dmtr_thread_hold();
    *out = malloc(bytes > 0 ? bytes : 1);
    dmtr_thread_release(before);
    return *out == NULL ? ENOMEM : 0;
}

void dmtr_free_block(void *block)
{
    uint32_t before = dmtr_thread_hold();
    free(block);
    dmtr_thread_release(before);
}
