/* Counters, of stats.h. */
#include "front.h"

#include "_cgo_export.h"

#include <dmtr/stats.h>
#include <stdlib.h>
#include <string.h>

DMTR_EXPORT int dmtr_counters(dmtr_counter_t *out, int room, int *count_out)
{
    ENTER_API();
    if (room < 0 || (out == NULL && room != 0) || count_out == NULL)
        return EINVAL;
    RETURN_FROM_ENGINE(dmtrGoCounters(out, room, count_out));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const dmtr_counter_t *)a)->name, ((const dmtr_counter_t *)b)->name);
}

DMTR_EXPORT int dmtr_dump_counters(FILE *f)
{
    enum { ROOM = 1024 };
    int n = 0, written = 1;
    if (f == NULL)
        return EINVAL;
    dmtr_counter_t *all = calloc(ROOM, sizeof *all);
    if (all == NULL)
        return ENOMEM;
    int rc = dmtr_counters(all, ROOM, &n);
    if (rc == 0) {
        n = n < ROOM ? n : ROOM;
        qsort(all, (size_t)n, sizeof *all, by_name);
        for (int i = 0; i < n && written > 0; i++)
            if (all[i].value != 0)
                written = fprintf(f, "%s %llu\n", all[i].name, (unsigned long long)all[i].value);
        rc = written > 0 && fflush(f) == 0 ? 0 : EIO;
    }
    free(all);
    return rc;
}

DMTR_EXPORT int dmtr_tcp_info(int qd, dmtr_tcp_info_t *info_out, size_t size)
{
    ENTER_API();
    dmtr_tcp_info_t info;
    if (qd <= 0 || info_out == NULL || size == 0)
        return EINVAL;
    memset(&info, 0, sizeof info);
    uint64_t seq = dmtr_enter();
    int rc = dmtrGoTCPInfo(qd, &info);
    dmtr_leave(seq);
    if (rc != 0)
        return rc;
    memset(info_out, 0, size);
    memcpy(info_out, &info, size < sizeof info ? size : sizeof info);
    return 0;
}
