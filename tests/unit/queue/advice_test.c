/* What a sender may do, as lines of a notification. */
#include "tests/unit/test.h"

#include "queue/advice.h"

#include <stdio.h>
#include <string.h>

enum { SUBJECTS = 8, DETAILS = 40 };

/* Each within its columns, none but the last shorter than it had to be. */
static void look_at_lines(struct span text)
{
	while (text.len > 0) {
		struct span line = span_sub(text, 0, span_find(text, '\r'));

		text = span_from(text, line.len);
		assert_true(span_startswith(text, SPAN_LIT("\r\n")));
		text = span_from(text, 2);
		assert_true(line.len <= 76 && span_startswith(line, SPAN_LIT("    ")) && line.ptr[4] != ' ');
		if (text.len > 0)
			assert_true(line.len + 1 + span_find(span_from(text, 4), ' ') > 76);
	}
}

static void no_line_is_too_long(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	for (int i = 0; i < SUBJECTS * DETAILS; i++) {
		char status[16];

		snprintf(status, sizeof(status), "5.%d.%d", i / DETAILS, i % DETAILS);
		buf_clear(&out);
		advice_add(&out, span_str(status));
		assert_true(!buf_failed(&out) && buf_len(&out) > 10);
		look_at_lines(buf_span(&out));
	}
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_line_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
