/* The calls of ext.h that are not waits. */
#include "front.h"

#include "_cgo_export.h"

#include <dmtr/ext.h>

DMTR_EXPORT int dmtr_own(dmtr_qtoken_t qt)
{
    ENTER_API();
    RETURN_FROM_ENGINE(dmtrGoOwn(qt));
}
