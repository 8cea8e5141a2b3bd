/* Strings kept once. */
#include "tests/unit/test.h"

#include "queue/texts.h"

#include <stdio.h>
#include <stdlib.h>

enum { MANY = 5000 };

static void the_same_string_is_kept_once(void **state)
{
	struct texts *texts = texts_new();
	size_t empty = texts_bytes(texts), one;
	struct text *a = texts_get(texts, SPAN_LIT("d1.test"), 1, 0), *b, *c;

	(void)state;
	one = texts_bytes(texts);
	b = texts_get(texts, SPAN_LIT("d1.test"), 1, 0);
	assert_ptr_equal(a, b);
	assert_int_equal(texts_bytes(texts), one);
	assert_span_equal(text_span(a), "d1.test");
	c = texts_get(texts, SPAN_LIT("other"), 1, 0); /* of the same hash */
	assert_ptr_not_equal(a, c);
	texts_put(texts, a);
	assert_span_equal(text_span(b), "d1.test");
	texts_put(texts, b);
	assert_span_equal(text_span(c), "other");
	texts_put(texts, c);
	texts_put(texts, NULL);
	assert_int_equal(texts_bytes(texts), empty);
	assert_span_equal(text_span(NULL), "");
	texts_free(&texts);
	assert_null(texts);
	texts_free(&texts);
}

static void many_come_and_go(void **state)
{
	struct texts *texts = texts_new();
	static struct text *kept[MANY];
	char s[20];

	(void)state;
	for (uint64_t i = 0; i < MANY; i++) {
		snprintf(s, sizeof(s), "%u", (unsigned)i);
		kept[i] = texts_get(texts, span_str(s), i * 37, 0);
		assert_non_null(kept[i]);
	}
	for (uint64_t i = 0; i < MANY; i++) {
		snprintf(s, sizeof(s), "%u", (unsigned)i);
		assert_ptr_equal(texts_get(texts, span_str(s), i * 37, 0), kept[i]);
		texts_put(texts, kept[i]);
	}
	for (size_t i = 0; i < MANY; i++)
		texts_put(texts, kept[MANY - 1 - i]);
	assert_int_equal(texts_bytes(texts), 0);
	texts_free(&texts);
}

/* So much, and more with each message that waits; one that is kept already costs nothing. */
static void all_together_have_a_bound(void **state)
{
	struct texts *texts = texts_new();
	char s[TEXT_MAX + 1];
	uint64_t n = 0;

	(void)state;
	memset(s, 'x', sizeof(s));
	assert_null(texts_get(texts, span_of(s, TEXT_MAX + 1), 0, SIZE_MAX / TEXTS_EACH / 2));
	for (;; n++) {
		memcpy(s, &n, sizeof(n));
		if (texts_get(texts, span_of(s, TEXT_MAX), n, 0) == NULL)
			break;
	}
	assert_in_range(texts_bytes(texts), TEXTS_FREE - 2 * TEXT_MAX, TEXTS_FREE);
	assert_non_null(texts_get(texts, span_of(s, TEXT_MAX), n, 100));
	n = 1;
	memcpy(s, &n, sizeof(n));
	assert_non_null(texts_get(texts, span_of(s, TEXT_MAX), n, 0));
	texts_free(&texts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_same_string_is_kept_once),
	    cmocka_unit_test(many_come_and_go),
	    cmocka_unit_test(all_together_have_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
