/* Buffers: their maximum, their failure, what is taken and added in between. */
#include "tests/unit/test.h"

#include "base/buf.h"

#include <stdlib.h>

/* The sanitizer's allocator would end the process where malloc returns NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void a_new_one_is_empty(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 10);
	assert_int_equal(buf_len(&buf), 0);
	assert_int_equal(buf_span(&buf).len, 0);
	assert_null(buf.data); /* nothing is allocated until the first append */
	assert_string_equal(buf_cstr(&buf), "");
	buf_take(&buf, 5);
	assert_int_equal(buf_len(&buf), 0);
	buf_fini(&buf);
	buf_fini_secret(&buf);
}

static void adds_of_each_kind(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 1000);
	buf_add(&buf, "a\0b", 3);
	buf_add_span(&buf, SPAN_LIT("-span"));
	buf_add_span(&buf, (struct span){NULL, 0});
	buf_add_str(&buf, "-str");
	buf_add_char(&buf, '-');
	buf_add_u64(&buf, 0);
	buf_add_char(&buf, '-');
	buf_add_u64(&buf, UINT64_MAX);
	buf_printf(&buf, "-%s%%%03d", "f", 7);
	buf_printf(&buf, "%s", "");
	assert_true(span_eq(buf_span(&buf), SPAN_LIT("a\0b-span-str-0-18446744073709551615-f%007")));
	assert_false(buf_failed(&buf));
	buf_fini(&buf);
	assert_int_equal(buf.max, 1000);
}

/* The first append past the maximum adds nothing; later ones do nothing, even those that would fit. */
static void a_failure_stays_until_it_is_cleared(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 4);
	buf_add_str(&buf, "abc");
	buf_add_str(&buf, "de");
	assert_true(buf_failed(&buf));
	assert_span_equal(buf_span(&buf), "abc");
	buf_add_char(&buf, 'd');
	buf_add_u64(&buf, 1);
	buf_printf(&buf, "x");
	buf_add_str(&buf, "");
	assert_null(buf_reserve(&buf, 0));
	assert_span_equal(buf_span(&buf), "abc");
	assert_string_equal(buf_cstr(&buf), "");
	buf_take(&buf, 3);
	assert_true(buf_failed(&buf));
	buf_clear(&buf);
	assert_false(buf_failed(&buf));
	buf_add_str(&buf, "full");
	assert_string_equal(buf_cstr(&buf), "full");
	buf_fini(&buf);
	assert_false(buf_failed(&buf));
}

/* A piece that did not fit is taken back whole: what stood before it stays. */
static void a_piece_is_taken_back(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 8);
	buf_add_str(&buf, "xab");
	buf_take(&buf, 1);
	buf_add_str(&buf, "cdef");
	buf_add_str(&buf, "too long");
	buf_cut(&buf, 2);
	assert_false(buf_failed(&buf));
	assert_span_equal(buf_span(&buf), "ab");
	buf_cut(&buf, 9); /* more than there is: as it was */
	assert_span_equal(buf_span(&buf), "ab");
	buf_fini(&buf);
}

static void reserved_room_is_for_what_is_added(void **state)
{
	struct buf buf;
	char *room;

	(void)state;
	buf_init(&buf, 100000);
	room = buf_reserve(&buf, 70000);
	assert_non_null(room);
	memset(room, 'r', 70000);
	buf_added(&buf, 3);
	assert_span_equal(buf_span(&buf), "rrr");
	assert_null(buf_reserve(&buf, 100000 - 2));
	assert_true(buf_failed(&buf));
	buf_clear(&buf);
	assert_null(buf_reserve(&buf, SIZE_MAX));
	buf_fini(&buf);
	/* A maximum of all there is does not make the sizes run over. */
	buf_init(&buf, SIZE_MAX);
	assert_null(buf_reserve(&buf, SIZE_MAX / 2));
	assert_true(buf_failed(&buf));
	buf_clear(&buf);
	assert_null(buf_reserve(&buf, (size_t)1 << 62)); /* no such memory */
	assert_true(buf_failed(&buf));
	buf_fini(&buf);
}

/* Space that was taken is used again: a buffer that is drained as it is filled does not grow. */
static void taken_space_is_used_again(void **state)
{
	struct buf buf;
	size_t size;

	(void)state;
	buf_init(&buf, 1000);
	buf_add(&buf, (char[200]){0}, 200);
	size = buf.size;
	for (int i = 0; i < 1000; i++) {
		buf_take(&buf, 100);
		buf_add(&buf, (char[100]){0}, 100);
	}
	assert_int_equal(buf_len(&buf), 200);
	assert_int_equal(buf.size, size);
	buf_take(&buf, 1000);
	assert_int_equal(buf_len(&buf), 0);
	buf_fini(&buf);
}

static void one_that_held_a_secret_ends_empty(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 100);
	buf_add_str(&buf, "hunter2");
	buf_fini_secret(&buf);
	assert_null(buf.data);
	assert_int_equal(buf_len(&buf), 0);
	buf_fini_secret(&buf);
	buf_add_str(&buf, "again");
	assert_span_equal(buf_span(&buf), "again");
	buf_fini(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_new_one_is_empty),
	    cmocka_unit_test(adds_of_each_kind),
	    cmocka_unit_test(a_failure_stays_until_it_is_cleared),
	    cmocka_unit_test(a_piece_is_taken_back),
	    cmocka_unit_test(reserved_room_is_for_what_is_added),
	    cmocka_unit_test(taken_space_is_used_again),
	    cmocka_unit_test(one_that_held_a_secret_ends_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
