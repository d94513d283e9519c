/* Helpers for scatter-gather arrays. */
#include "block.h"

#include <dmtr/sga.h>

#include <errno.h>

int dmtr_sgalen(size_t *len_out, const dmtr_sgarray_t *sga)
{
    if (len_out == NULL)
        return EINVAL;
    *len_out = 0;
    if (sga == NULL || sga->sga_numsegs > DMTR_SGARRAY_MAXSIZE)
        return EINVAL;
    for (uint32_t i = 0; i < sga->sga_numsegs; i++)
        *len_out += sga->sga_segs[i].sgaseg_len;
    return 0;
}

int dmtr_sgafree(dmtr_sgarray_t *sga)
{
    if (sga == NULL)
        return EINVAL;
    if (sga->sga_buf == NULL)
        return 0;
    dmtr_free_block(sga->sga_buf);
    sga->sga_buf = NULL;
    sga->sga_numsegs = 0;
    return 0;
}
