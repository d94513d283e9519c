/* Options of sockets, of option.h. */
#include "front.h"

#include "_cgo_export.h"

#include <dmtr/option.h>

DMTR_EXPORT int dmtr_set_option(int qd, int option, uint32_t value)
{
    ENTER_API();
    if (qd <= 0)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoSetOption(qd, option, value));
}

DMTR_EXPORT int dmtr_get_option(int qd, int option, uint32_t *value_out)
{
    ENTER_API();
    if (qd <= 0 || value_out == NULL)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoOption(qd, option, value_out));
}
