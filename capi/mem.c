/* Memory for programs. */
#include <dmtr/libos/mem.h>

#include <errno.h>
#include <stdlib.h>

int dmtr_malloc(void **out, size_t bytes)
{
    if (out == NULL)
        return EINVAL;
    *out = malloc(bytes > 0 ? bytes : 1);
    return *out == NULL ? ENOMEM : 0;
}
