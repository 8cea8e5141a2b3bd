/*
 * Addresses that get a domain (local/complete.h): however the message is cut it gives the same, with as many lines as before;
 * done twice it changes nothing; without what was added it is what it was.
 *
 * Input: an octet that says where it is cut, a message.
 */
#include "tests/fuzz/fuzz.h"

#include "local/complete.h"
#include "local/lines.h"

#define DOMAIN_ADDED "@d.test"

static void run(struct span message, size_t cut, struct buf *out)
{
	struct complete c;

	buf_init(out, 16 * message.len + 64);
	complete_init(&c, SPAN_LIT("d.test"));
	complete_feed(&c, span_sub(message, 0, cut), out);
	complete_feed(&c, span_from(message, cut), out);
	complete_end(&c, out);
	complete_fini(&c);
	fuzz_assert(!buf_failed(out));
}

static void look_at_change(struct span before, struct span after)
{
	size_t i = 0;

	while (i < before.len) {
		if (after.len > 0 && after.ptr[0] == before.ptr[i] && !(span_startswith(after, SPAN_LIT(DOMAIN_ADDED)) && !span_startswith(span_from(before, i), SPAN_LIT(DOMAIN_ADDED)))) {
			after = span_from(after, 1);
			i++;
			continue;
		}
		fuzz_assert(span_startswith(after, SPAN_LIT(DOMAIN_ADDED)));
		after = span_from(after, sizeof(DOMAIN_ADDED) - 1);
	}
	fuzz_assert(after.len == 0 || span_eq(after, SPAN_LIT(DOMAIN_ADDED)));
}

void fuzz_one(struct span input)
{
	struct lines lines = {0};
	struct buf message, whole, cut, again;

	if (input.len < 1)
		return;
	buf_init(&message, 2 * input.len + 16);
	lines_feed(&lines, span_from(input, 1), &message);
	lines_end(&lines, &message);
	run(buf_span(&message), 0, &whole);
	run(buf_span(&message), (unsigned char)input.ptr[0], &cut);
	fuzz_assert_same(buf_span(&whole), buf_span(&cut));
	look_at_change(buf_span(&message), buf_span(&whole));
	run(buf_span(&whole), 0, &again);
	fuzz_assert_same(buf_span(&whole), buf_span(&again));
	buf_fini(&message);
	buf_fini(&whole);
	buf_fini(&cut);
	buf_fini(&again);
}
