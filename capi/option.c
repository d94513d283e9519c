/* Options of sockets, of option.h. */
#include "front.h"

#include "_cgo_export.h"

#include <dmtr/option.h>

DMTR_EXPORT int dmtr_set_option(int qd, int option, uint32_t value)
{
    ENTER_API();
    if (qd <= 0)
        return EINVAL;
    uint64_t seq = dmtr_enter();
    int rc = dmtrGoSetOption(qd, option, value);
    dmtr_leave(seq);
    return rc;
}

DMTR_EXPORT int dmtr_get_option(int qd, int option, uint32_t *value_out)
{
    ENTER_API();
    if (qd <= 0 || value_out == NULL)
        return EINVAL;
    uint64_t seq = dmtr_enter();
    int rc = dmtrGoOption(qd, option, value_out);
    dmtr_leave(seq);
    return rc;
}
