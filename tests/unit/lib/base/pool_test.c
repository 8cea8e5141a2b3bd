/* Pools: zeroed, aligned, bounded; children end with their parents. */
#include "tests/unit/test.h"

#include "base/pool.h"

/* The sanitizer's allocator would end the process where malloc returns NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void memory_is_zeroed_and_aligned(void **state)
{
	struct pool *pool = pool_new(NULL, 0);

	(void)state;
	for (size_t size = 0; size < 3000; size += 7) {
		char *p = pool_alloc(pool, size);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xA5, size);
	}
	/* What is reused after a reset is zeroed again. */
	pool_reset(pool);
	for (int i = 0; i < 100; i++) {
		char *p = pool_alloc(pool, 64);

		for (size_t k = 0; k < 64; k++)
			assert_int_equal(p[k], 0);
	}
	pool_free(&pool);
}

static void the_maximum_is_exact_and_lasting(void **state)
{
	struct pool *pool = pool_new(NULL, 160);

	(void)state;
	assert_non_null(pool_alloc(pool, 80));
	assert_null(pool_alloc(pool, 81));
	assert_non_null(pool_alloc(pool, 80));
	assert_int_equal(pool_used(pool), 160);
	assert_null(pool_alloc(pool, 1));
	assert_null(pool_strndup(pool, "", 0));
	assert_null(pool_span(pool, SPAN_LIT("x")).ptr);
	assert_int_equal(pool_span(pool, SPAN_LIT("x")).len, 0);
	pool_reset(pool);
	assert_non_null(pool_alloc(pool, 160));
	pool_free(&pool);
}

static void sizes_do_not_run_over(void **state)
{
	struct pool *pool = pool_new(NULL, 0);

	(void)state;
	assert_null(pool_alloc(pool, SIZE_MAX));
	assert_null(pool_alloc(pool, SIZE_MAX - 40));
	assert_null(pool_alloc(pool, (size_t)1 << 62)); /* no such memory */
	assert_null(pool_array(pool, SIZE_MAX / 8 + 1, 8));
	assert_null(pool_strndup(pool, "x", SIZE_MAX));
	assert_int_equal(pool_used(pool), 0);
	assert_non_null(pool_array(pool, 3, 8));
	assert_non_null(pool_array(pool, 0, 8));
	pool_free(&pool);
}

static void copies_are_the_same_bytes(void **state)
{
	struct pool *pool = pool_new(NULL, 0);
	char *s = pool_strndup(pool, "ab\0cd", 5);
	struct span span = pool_span(pool, SPAN_LIT("span"));

	(void)state;
	assert_memory_equal(s, "ab\0cd", 6);
	assert_span_equal(span, "span");
	assert_int_equal(span.ptr[4], '\0');
	span = pool_span(pool, (struct span){NULL, 0});
	assert_non_null(span.ptr); /* empty is not "out of memory" */
	assert_int_equal(span.len, 0);
	pool_free(&pool);
}

/* A large one has a block of its own; a reset keeps one block and gives the others back. */
static void large_and_many_blocks(void **state)
{
	struct pool *pool = pool_new(NULL, 0);
	char *big;

	(void)state;
	for (int round = 0; round < 3; round++) {
		big = pool_alloc(pool, 1 << 20);
		assert_non_null(big);
		memset(big, 1, 1 << 20);
		for (int i = 0; i < 1000; i++)
			assert_non_null(pool_alloc(pool, 100));
		assert_int_equal(pool_used(pool), (1 << 20) + 1000 * 112);
		pool_reset(pool);
		assert_int_equal(pool_used(pool), 0);
	}
	pool_free(&pool);
}

/* Seen by the sanitizer and valgrind: no child is left behind, none is freed twice. */
static void children_end_with_their_parent(void **state)
{
	struct pool *pool = pool_new(NULL, 0), *a = pool_new(pool, 0), *b = pool_new(pool, 0), *c = pool_new(pool, 0);
	struct pool *below = pool_new(b, 0);

	(void)state;
	assert_non_null(pool_alloc(below, 10));
	pool_free(&b); /* the one in the middle, and its own */
	assert_null(b);
	assert_non_null(pool_alloc(a, 10000));
	assert_non_null(pool_alloc(c, 10000));
	pool_reset(pool); /* a and c end */
	a = pool_new(pool, 16);
	assert_non_null(pool_alloc(a, 16));
	assert_int_equal(pool_used(pool), 0); /* a child's memory is its own */
	pool_free(&a);
	pool_free(&a);
	a = pool_new(pool, 0);
	pool_free(&pool);
	assert_null(pool);
	pool_free(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_is_zeroed_and_aligned),
	    cmocka_unit_test(the_maximum_is_exact_and_lasting),
	    cmocka_unit_test(sizes_do_not_run_over),
	    cmocka_unit_test(copies_are_the_same_bytes),
	    cmocka_unit_test(large_and_many_blocks),
	    cmocka_unit_test(children_end_with_their_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
