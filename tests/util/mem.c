/* mem.h and sga.h. */
#include "test.h"

#include <dmtr/libos/mem.h>

static void memory(void)
{
    void *p = &p;
    CHECK_ERR(dmtr_malloc(NULL, 1), EINVAL);
    CHECK_ERR(dmtr_malloc(&p, SIZE_MAX), ENOMEM);
    CHECK(p == NULL);
    CHECK_ERR(dmtr_malloc(&p, 0), 0);
    CHECK(p != NULL);
    free(p);
    CHECK_ERR(dmtr_malloc(&p, 1 << 20), 0);
    memset(p, 1, 1 << 20);
    free(p);
}

static void lengths(void)
{
    size_t len = 77;
    dmtr_sgarray_t sga = test_sga(NULL, 10);
    CHECK_ERR(dmtr_sgalen(NULL, &sga), EINVAL);
    CHECK_ERR(dmtr_sgalen(&len, NULL), EINVAL);
    CHECK_EQ(len, 0);
    CHECK_ERR(dmtr_sgalen(&len, &sga), 0);
    CHECK_EQ(len, 10);
    sga.sga_segs[1].sgaseg_len = 5; /* not counted yet */
    CHECK_ERR(dmtr_sgalen(&len, &sga), 0);
    CHECK_EQ(len, 10);
    sga.sga_numsegs = 0;
    CHECK_ERR(dmtr_sgalen(&len, &sga), 0);
    CHECK_EQ(len, 0);
    sga.sga_numsegs = DMTR_SGARRAY_MAXSIZE;
    sga.sga_segs[0].sgaseg_len = sga.sga_segs[1].sgaseg_len = sga.sga_segs[2].sgaseg_len = UINT32_MAX;
    CHECK_ERR(dmtr_sgalen(&len, &sga), 0);
    CHECK(len == 3 * (size_t)UINT32_MAX);
    sga.sga_numsegs = DMTR_SGARRAY_MAXSIZE + 1;
    CHECK_ERR(dmtr_sgalen(&len, &sga), EINVAL);
    CHECK_EQ(len, 0);
}

static void frees(void)
{
    char own[4];
    void *block = NULL;
    CHECK_ERR(dmtr_sgafree(NULL), EINVAL);
    CHECK_ERR(dmtr_malloc(&block, 4), 0);
    dmtr_sgarray_t sga = test_sga(block, 4);
    sga.sga_buf = block;
    CHECK_ERR(dmtr_sgafree(&sga), 0);
    CHECK(sga.sga_buf == NULL && sga.sga_numsegs == 0);
    CHECK_ERR(dmtr_sgafree(&sga), 0);
    sga = test_sga(own, sizeof own);
    CHECK_ERR(dmtr_sgafree(&sga), 0);
    CHECK(sga.sga_numsegs == 1 && sga.sga_segs[0].sgaseg_buf == own);
}

int main(void)
{
    memory();
    lengths();
    frees();
    return 0;
}
