/* Blocks are chained newest first; the first block is kept over a reset. */
#include "pool.h"

#include <stdbool.h>
#include <stdlib.h>

enum { POOL_BLOCK = 4000, POOL_ALIGN = 16 };

struct pool_block {
	struct pool_block *next;
	size_t size; /* usable bytes */
	size_t used;
	_Alignas(POOL_ALIGN) char data[];
};

struct pool {
	struct pool *parent;
	struct pool *children; /* list by sibling */
	struct pool *sibling;
	struct pool_block *blocks;
	size_t used;
	size_t max;
	bool starved;
};

struct pool *pool_new(struct pool *parent, size_t max)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	pool->max = max ? max : SIZE_MAX;
	pool->parent = parent;
	if (parent != NULL) {
		pool->sibling = parent->children;
		parent->children = pool;
	}
	return pool;
}

static void pool_free_children(struct pool *pool)
{
	while (pool->children != NULL) {
		struct pool *child = pool->children;

		pool_free(&child);
	}
}

static void pool_unlink(struct pool *pool)
{
	struct pool **link;

	if (pool->parent == NULL)
		return;
	for (link = &pool->parent->children; *link != pool; link = &(*link)->sibling)
		;
	*link = pool->sibling;
}

static void pool_free_blocks(struct pool_block *block)
{
	while (block != NULL) {
		struct pool_block *next = block->next;

		free(block);
		block = next;
	}
}

void pool_free(struct pool **poolp)
{
	struct pool *pool = *poolp;

	if (pool == NULL)
		return;
	*poolp = NULL;
	pool_free_children(pool);
	pool_unlink(pool);
	pool_free_blocks(pool->blocks);
	free(pool);
}

void pool_reset(struct pool *pool)
{
	struct pool_block *first = pool->blocks;

	pool_free_children(pool);
	pool->used = 0;
	pool->starved = false;
	if (first == NULL)
		return;
	while (first->next != NULL) {
		struct pool_block *next = first->next;

		free(first);
		first = next;
	}
	first->used = 0;
	pool->blocks = first;
}

static struct pool_block *pool_grow(struct pool *pool, size_t size)
{
	size_t usable = size > POOL_BLOCK ? size : POOL_BLOCK;
	struct pool_block *block = malloc(sizeof(*block) + usable);

	if (block == NULL) {
		pool->starved = true;
		return NULL;
	}
	block->size = usable;
	block->used = 0;
	block->next = pool->blocks;
	pool->blocks = block;
	return block;
}

void *pool_alloc(struct pool *pool, size_t size)
{
	struct pool_block *block = pool->blocks;
	void *ptr;

	if (size > SIZE_MAX / 2) /* so that nothing that is added to it runs over */
		return NULL;
	size = (size + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
	if (size > pool->max - pool->used)
		return NULL;
	if (block == NULL || block->size - block->used < size) {
		block = pool_grow(pool, size);
		if (block == NULL)
			return NULL;
	}
	ptr = block->data + block->used;
	block->used += size;
	pool->used += size;
	return memset(ptr, 0, size);
}

void *pool_array(struct pool *pool, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	return pool_alloc(pool, total);
}

char *pool_strndup(struct pool *pool, const char *s, size_t len)
{
	char *copy = len < SIZE_MAX ? pool_alloc(pool, len + 1) : NULL;

	if (copy != NULL && len > 0)
		memcpy(copy, s, len);
	return copy;
}

struct span pool_span(struct pool *pool, struct span s)
{
	char *copy = pool_strndup(pool, s.ptr, s.len);

	return span_of(copy, copy ? s.len : 0);
}

bool pool_starved(const struct pool *pool)
{
	return pool->starved;
}

void pool_starve(struct pool *pool)
{
	pool->starved = true;
}

size_t pool_used(const struct pool *pool)
{
	return pool->used;
}
