/* The calls of ext.h that are not waits. */
#include "front.h"

#include "_cgo_export.h"

#include <dmtr/ext.h>

DMTR_EXPORT int dmtr_own(dmtr_qtoken_t qt)
{
    ENTER_API();
    RETURN_FROM_ENGINE(dmtrGoOwn(qt));
}

DMTR_EXPORT int dmtr_trim(int qd, off_t position)
{
    ENTER_API();
    if (qd <= 0)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoTrim(qd, position));
}

DMTR_EXPORT int dmtr_unlink(const char *path)
{
    ENTER_API();
    if (path == NULL)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoUnlink((char *)path));
}

DMTR_EXPORT int dmtr_watch(int *qd_out, int fd)
{
    ENTER_API();
    if (qd_out == NULL || fd < 0)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoWatch(qd_out, fd));
}
