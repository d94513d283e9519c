/* The binary contract: sizes, offsets, constants and prototypes of the headers. Built as C99 and as C++11, for both generations. */
#include <dmtr/annot.h>
#include <dmtr/cast.h>
#include <dmtr/ext.h>
#include <dmtr/fail.h>
#include <dmtr/latency.h>
#include <dmtr/libos.h>
#include <dmtr/libos/mem.h>
#include <dmtr/meta.h>
#include <dmtr/option.h>
#include <dmtr/sga.h>
#include <dmtr/stats.h>
#include <dmtr/sys/gcc.h>
#include <dmtr/types.h>
#include <dmtr/wait.h>

static int failures;

static void expect(const char *what, unsigned long long got, unsigned long long want)
{
    if (got == want)
        return;
    fprintf(stderr, "%s is %llu, expected %llu\n", what, got, want);
    failures++;
}

#define EXPECT(value, want) expect(#value, (unsigned long long)(value), want)
/* With the value of the generation of 2019, and that of 2020. */
#define EXPECT_BY_API(value, old_value, new_value) EXPECT(value, DMTR_API == 2019 ? old_value : new_value)
#define EXPECT_UNSIGNED(type) EXPECT((type)-1 > (type)1, 1)

static void check_layout(void)
{
    EXPECT(sizeof(dmtr_qtoken_t), 8);
    EXPECT_UNSIGNED(dmtr_qtoken_t);

    EXPECT(sizeof(dmtr_sgaseg_t), 16);
    EXPECT(offsetof(dmtr_sgaseg_t, sgaseg_buf), 0);
    EXPECT(offsetof(dmtr_sgaseg_t, sgaseg_len), 8);

    EXPECT_BY_API(sizeof(dmtr_sgarray_t), 80, 48);
    EXPECT(offsetof(dmtr_sgarray_t, sga_buf), 0);
    EXPECT(offsetof(dmtr_sgarray_t, sga_numsegs), 8);
    EXPECT(offsetof(dmtr_sgarray_t, sga_segs), 16);
    EXPECT_BY_API(offsetof(dmtr_sgarray_t, sga_addr), 64, 32);

    EXPECT_BY_API(sizeof(dmtr_accept_result_t), 24, 20);
    EXPECT(offsetof(dmtr_accept_result_t, qd), 0);
    EXPECT(offsetof(dmtr_accept_result_t, addr), 4);
#if DMTR_API == 2019
    EXPECT(offsetof(dmtr_accept_result_t, len), 20);
#endif

    EXPECT_BY_API(sizeof(dmtr_qresult_t), 96, 64);
    EXPECT(offsetof(dmtr_qresult_t, qr_opcode), 0);
    EXPECT(offsetof(dmtr_qresult_t, qr_qd), 4);
    EXPECT(offsetof(dmtr_qresult_t, qr_qt), 8);
    EXPECT(offsetof(dmtr_qresult_t, qr_value), 16);
    EXPECT(offsetof(dmtr_qresult_t, qr_value.sga), 16);
    EXPECT(offsetof(dmtr_qresult_t, qr_value.ares), 16);

    EXPECT(sizeof(dmtr_header_t), 12);
    EXPECT(offsetof(dmtr_header_t, h_magic), 0);
    EXPECT(offsetof(dmtr_header_t, h_bytes), 4);
    EXPECT(offsetof(dmtr_header_t, h_sgasegs), 8);

    EXPECT(sizeof(dmtr_counter_t), 64);
    EXPECT(offsetof(dmtr_counter_t, value), 56);
    EXPECT(offsetof(dmtr_tcp_info_t, rtt_ns), 16);
    EXPECT(offsetof(dmtr_tcp_info_t, in_flight), 80);
    EXPECT(offsetof(dmtr_tcp_info_t, out_of_order), 160);
    EXPECT(DMTR_TCP_ESTABLISHED, 1);
    EXPECT(DMTR_TCP_CLOSING, 11);
    EXPECT(DMTR_TCP_RECOVERING, 8);
    EXPECT(DMTR_OPT_NODELAY, 1);
    EXPECT(DMTR_OPT_DSCP, 7);
}

static void check_fields(void)
{
    dmtr_sgarray_t sga;
    dmtr_sgaseg_t *seg = sga.sga_segs;
    void **buf = &sga.sga_buf;
    void **seg_buf = &seg->sgaseg_buf;
    uint32_t *seg_len = &seg->sgaseg_len;
    uint32_t *numsegs = &sga.sga_numsegs;
    struct sockaddr_in *addr = &sga.sga_addr;
    dmtr_qresult_t qr;
    dmtr_opcode_t *opcode = &qr.qr_opcode;
    int *qd = &qr.qr_qd;
    dmtr_qtoken_t *qt = &qr.qr_qt;
    dmtr_sgarray_t *qr_sga = &qr.qr_value.sga;
    dmtr_accept_result_t *ares = &qr.qr_value.ares;
    int *ares_qd = &ares->qd;
    struct sockaddr_in *ares_addr = &ares->addr;
    dmtr_header_t header;
    uint32_t *words[3];
    words[0] = &header.h_magic;
    words[1] = &header.h_bytes;
    words[2] = &header.h_sgasegs;

#if DMTR_API == 2019
    socklen_t *ares_len = &ares->len;
    DMTR_UNUSEDARG(ares_len);
#endif

    EXPECT_BY_API(sizeof sga.sga_segs / sizeof *seg, 3, 1);
    DMTR_UNUSEDARG(buf), DMTR_UNUSEDARG(seg_buf), DMTR_UNUSEDARG(seg_len), DMTR_UNUSEDARG(numsegs), DMTR_UNUSEDARG(addr);
    DMTR_UNUSEDARG(opcode), DMTR_UNUSEDARG(qd), DMTR_UNUSEDARG(qt), DMTR_UNUSEDARG(qr_sga), DMTR_UNUSEDARG(ares_qd);
    DMTR_UNUSEDARG(ares_addr), DMTR_UNUSEDARG(words);
}

static void check_constants(void)
{
    EXPECT_BY_API(DMTR_SGARRAY_MAXSIZE, 3, 1);
    EXPECT(DMTR_HEADER_MAGIC, 0x10102010);
    EXPECT(QT2QD(UINT64_C(0x4000000700000009)), 0x40000007);
    EXPECT(DMTR_OPC_INVALID, 0);
    EXPECT(DMTR_OPC_PUSH, 1);
    EXPECT(DMTR_OPC_POP, 2);
    EXPECT(DMTR_OPC_ACCEPT, 3);
#if DMTR_API == 2020
    EXPECT(DMTR_OPC_CONNECT, 4);
#endif
}

/* Compiles only if each function has the prototype of the contract. */
#define PROTOTYPE(name, result, arguments)            \
    do {                                              \
        result(*function) arguments = name;           \
        expect(#name " is linked", function != 0, 1); \
    } while (0)

static void check_queue_prototypes(void)
{
    PROTOTYPE(dmtr_init, int, (int, char *[]));
    PROTOTYPE(dmtr_queue, int, (int *));
    PROTOTYPE(dmtr_socket, int, (int *, int, int, int));
    PROTOTYPE(dmtr_getsockname, int, (int, struct sockaddr *, socklen_t *));
    PROTOTYPE(dmtr_listen, int, (int, int));
    PROTOTYPE(dmtr_bind, int, (int, const struct sockaddr *, socklen_t));
    PROTOTYPE(dmtr_accept, int, (dmtr_qtoken_t *, int));
#if DMTR_API == 2019
    PROTOTYPE(dmtr_connect, int, (int, const struct sockaddr *, socklen_t));
#else
    PROTOTYPE(dmtr_connect, int, (dmtr_qtoken_t *, int, const struct sockaddr *, socklen_t));
#endif
    PROTOTYPE(dmtr_open, int, (int *, const char *, int));
    PROTOTYPE(dmtr_open2, int, (int *, const char *, int, mode_t));
    PROTOTYPE(dmtr_creat, int, (int *, const char *, mode_t));
    PROTOTYPE(dmtr_close, int, (int));
    PROTOTYPE(dmtr_is_qd_valid, int, (int *, int));
    PROTOTYPE(dmtr_push, int, (dmtr_qtoken_t *, int, const dmtr_sgarray_t *));
    PROTOTYPE(dmtr_pop, int, (dmtr_qtoken_t *, int));
    PROTOTYPE(dmtr_pop2, int, (dmtr_qtoken_t *, int, size_t));
    PROTOTYPE(dmtr_lseek, int, (int, off_t, int));
    PROTOTYPE(dmtr_poll, int, (dmtr_qresult_t *, dmtr_qtoken_t));
    PROTOTYPE(dmtr_drop, int, (dmtr_qtoken_t));

    PROTOTYPE(dmtr_wait, int, (dmtr_qresult_t *, dmtr_qtoken_t));
    PROTOTYPE(dmtr_wait_any, int, (dmtr_qresult_t *, int *, dmtr_qtoken_t *, int));
    PROTOTYPE(dmtr_wait_all, int, (dmtr_qresult_t *, dmtr_qtoken_t *, int));

    PROTOTYPE(dmtr_wait_timeout, int, (dmtr_qresult_t *, dmtr_qtoken_t, uint64_t));
    PROTOTYPE(dmtr_wait_any_timeout, int, (dmtr_qresult_t *, int *, dmtr_qtoken_t *, int, uint64_t));
    PROTOTYPE(dmtr_wait_some, int, (dmtr_qresult_t *, int *, int *, int *, dmtr_qtoken_t *, int, uint64_t));
    PROTOTYPE(dmtr_stop, int, (void));
    PROTOTYPE(dmtr_resume, int, (void));
    PROTOTYPE(dmtr_own, int, (dmtr_qtoken_t));
    PROTOTYPE(dmtr_watch, int, (int *, int));
    PROTOTYPE(dmtr_trim, int, (int, off_t));
    PROTOTYPE(dmtr_unlink, int, (const char *));

    PROTOTYPE(dmtr_counters, int, (dmtr_counter_t *, int, int *));
    PROTOTYPE(dmtr_dump_counters, int, (FILE *));
    PROTOTYPE(dmtr_tcp_info, int, (int, dmtr_tcp_info_t *, size_t));

    PROTOTYPE(dmtr_set_option, int, (int, int, uint32_t));
    PROTOTYPE(dmtr_get_option, int, (int, int, uint32_t *));

    PROTOTYPE(dmtr_sgalen, int, (size_t *, const dmtr_sgarray_t *));
    PROTOTYPE(dmtr_sgafree, int, (dmtr_sgarray_t *));
    PROTOTYPE(dmtr_malloc, int, (void **, size_t));
}

static void check_utility_prototypes(void)
{
    PROTOTYPE(dmtr_new_latency, int, (dmtr_latency_t **, const char *));
    PROTOTYPE(dmtr_record_latency, int, (dmtr_latency_t *, uint64_t));
    PROTOTYPE(dmtr_dump_latency, int, (FILE *, dmtr_latency_t *));
    PROTOTYPE(dmtr_delete_latency, int, (dmtr_latency_t **));
    PROTOTYPE(dmtr_now_ns, uint64_t, (void));

    PROTOTYPE(dmtr_onfail, void, (dmtr_onfail_t));
    PROTOTYPE(dmtr_fail, void, (int, const char *, const char *, const char *, int));
    PROTOTYPE(dmtr_panic, void, (const char *, const char *, int));

    PROTOTYPE(dmtr_itosz, int, (size_t *, int));
    PROTOTYPE(dmtr_ltoc, int, (char *, long));
    PROTOTYPE(dmtr_ltosz, int, (size_t *, long));
    PROTOTYPE(dmtr_ssztoi32, int, (int32_t *, ssize_t));
    PROTOTYPE(dmtr_sztoi16, int, (int16_t *, size_t));
    PROTOTYPE(dmtr_sztoi32, int, (int32_t *, size_t));
#if DMTR_API == 2019
    PROTOTYPE(dmtr_sztoint, int, (int *, size_t));
#else
    PROTOTYPE(dmtr_sztoi, int, (int *, size_t));
#endif
    PROTOTYPE(dmtr_sztol, int, (long *, size_t));
    PROTOTYPE(dmtr_sztou, int, (unsigned int *, size_t));
    PROTOTYPE(dmtr_sztou16, int, (uint16_t *, size_t));
    PROTOTYPE(dmtr_sztou32, int, (uint32_t *, size_t));
    PROTOTYPE(dmtr_u32toi, int, (int32_t *, uint32_t));
    PROTOTYPE(dmtr_u32tou16, int, (uint16_t *, uint32_t));
    PROTOTYPE(dmtr_ultoc, int, (char *, unsigned long));
    PROTOTYPE(dmtr_ultol, int, (long *, unsigned long));
    PROTOTYPE(dmtr_ultou, int, (unsigned int *, unsigned long));
    PROTOTYPE(dmtr_ultouc, int, (unsigned char *, unsigned long));
    PROTOTYPE(dmtr_utou8, int, (uint8_t *, unsigned int));
}

int main(void)
{
    check_layout();
    check_fields();
    check_constants();
    check_queue_prototypes();
    check_utility_prototypes();
    return failures == 0 ? 0 : 1;
}
