/*
 * Pools: memory that is freed together.
 *
 * A pool lives as long as a session, a transaction or a command; what is taken
 * from it is never freed alone. A child pool ends with its parent. All memory
 * comes zeroed. A pool has a maximum from birth: what an outsider can make grow
 * ends in NULL, not in the machine's memory.
 */
#ifndef MW_BASE_POOL_H
#define MW_BASE_POOL_H

#include "span.h"

#include <stdbool.h>
#include <stddef.h>

struct pool;

/*
 * parent: NULL, or the pool whose end ends this one. max: bytes, 0 for no limit.
 * Returns NULL when out of memory.
 */
struct pool *pool_new(struct pool *parent, size_t max);

/* Frees the pool, its children, and sets *pool to NULL. NULL is accepted. */
void pool_free(struct pool **pool);

/* Empties the pool for reuse, keeping its first block; its children end. */
void pool_reset(struct pool *pool);

/* Zeroed, aligned for any type; NULL when the maximum or memory is reached. Pooled. */
void *pool_alloc(struct pool *pool, size_t size) __attribute__((malloc));
void *pool_array(struct pool *pool, size_t count, size_t size);

/* A NUL-ended copy; NULL as above. A NUL inside is copied as it is. */
char *pool_strndup(struct pool *pool, const char *s, size_t len);

/* A copy as a span; .ptr is NULL when out of memory. */
struct span pool_span(struct pool *pool, struct span s);

/* Since birth or reset memory was not to be had: a NULL may pass, which that of a full pool does not. */
bool pool_starved(const struct pool *pool);
/* The same happened to what is made for the pool elsewhere. */
void pool_starve(struct pool *pool);

/* Bytes handed out since birth or reset. */
size_t pool_used(const struct pool *pool);

#define pool_new_object(pool, type) ((type *)pool_alloc((pool), sizeof(type)))

#endif
