/* Token records as the front sees them. All of this is for callers that hold the lock. */
#ifndef DMTR_TOKEN_H
#define DMTR_TOKEN_H

#include "shared.h"

#include <dmtr/sys/gcc.h>

static inline struct dmtr_token *token_at(uint32_t i)
{
    return &dmtr_ctl->chunks[i >> CHUNK_BITS][i & (CHUNK_TOKENS - 1)];
}

static inline uint32_t token_index(const struct dmtr_token *t)
{
    return (uint32_t)t->result.qr_qt & INDEX_MASK;
}

/* The record of a token, or NULL. */
static inline struct dmtr_token *token_find(dmtr_qtoken_t qt)
{
    uint32_t i = (uint32_t)qt & INDEX_MASK;
    struct dmtr_token *chunk = dmtr_ctl->chunks[i >> CHUNK_BITS];
    if (DMTR_UNLIKELY(chunk == NULL))
        return NULL;
    struct dmtr_token *t = &chunk[i & (CHUNK_TOKENS - 1)];
    if (DMTR_UNLIKELY(t->result.qr_qt != qt || t->state == TOKEN_FREE))
        return NULL;
    return t;
}

static inline int token_done(const struct dmtr_token *t)
{
    return t->state == TOKEN_DONE;
}

static inline void list_append(struct dmtr_list *l, struct dmtr_token *t)
{
    uint32_t i = token_index(t);
    t->prev = l->tail;
    t->next = TOKEN_NONE;
    if (l->tail == TOKEN_NONE)
        l->head = i;
    else
        token_at(l->tail)->next = i;
    l->tail = i;
    l->count++;
}

static inline void list_unlink(struct dmtr_list *l, struct dmtr_token *t)
{
    if (t->prev == TOKEN_NONE)
        l->head = t->next;
    else
        token_at(t->prev)->next = t->next;
    if (t->next == TOKEN_NONE)
        l->tail = t->prev;
    else
        token_at(t->next)->prev = t->prev;
    l->count--;
}

/* Where arrays held the last token of a queue, for pushes or for pops and accepts. */
static inline uint32_t *token_hint(int qd, dmtr_opcode_t opcode)
{
    int dir = opcode == DMTR_OPC_POP || opcode == DMTR_OPC_ACCEPT;
    return &dmtr_ctl->hints[(uint32_t)qd & QD_INDEX_MASK][dir];
}

/*
 * Takes a free record for an operation; there must be one. Its result is still that of an earlier
 * one.
 */
static inline struct dmtr_token *token_start(int qd, dmtr_opcode_t opcode)
{
    struct dmtr_token *t = token_at(dmtr_ctl->free.head);
    list_unlink(&dmtr_ctl->free, t);
    t->flags = 0;
    t->hint = *token_hint(qd, opcode);
    t->result.qr_opcode = opcode;
    t->result.qr_qd = qd;
    /* The next generation of the index. */
    t->result.qr_qt = (uint64_t)(uint32_t)qd << 32 | ((uint32_t)t->result.qr_qt + (1u << INDEX_BITS));
    return t;
}

/* Completes an operation that is on no list. */
static inline void token_complete(struct dmtr_token *t, uint32_t err)
{
    t->err = err;
    t->seq = ++dmtr_ctl->seq;
    list_append(&dmtr_ctl->ready, t);
    t->state = TOKEN_DONE;
}

/* Moves a completed token that no array held to the parked list. */
static inline void token_park(struct dmtr_token *t)
{
    list_unlink(&dmtr_ctl->ready, t);
    list_append(&dmtr_ctl->parked, t);
    t->flags |= FLAG_PARKED;
}

/* Frees the record of a completed token whose result has been handed out. */
static inline void token_release(struct dmtr_token *t)
{
    list_unlink(t->flags & FLAG_PARKED ? &dmtr_ctl->parked : &dmtr_ctl->ready, t);
    t->state = TOKEN_FREE;
    list_append(&dmtr_ctl->free, t);
}

/* Remembers where an array held a token, for the next one of its queue and direction. */
static inline void token_found_at(struct dmtr_token *t, uint32_t offset)
{
    *token_hint(t->result.qr_qd, t->result.qr_opcode) = offset;
}

#endif
