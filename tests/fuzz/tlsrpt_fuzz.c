/*
 * What a domain publishes about reports, and what was stored of its traffic: parsers stay within their input; an address or a URL that
 * comes out of a record can be in an envelope or a request; what is read of a stored text is written as the same and read again.
 */
#include "tests/fuzz/fuzz.h"

#include "base/err.h"
#include "tlsrpt/record.h"
#include "tlsrpt/traffic.h"

#include <stdlib.h>

static void take_target(const struct tlsrpt_target *target)
{
	size_t len = strlen(target->text);

	fuzz_assert(len > 0 && len < sizeof(target->text));
	for (size_t i = 0; i < len; i++)
		fuzz_assert(target->text[i] >= ' ' && target->text[i] <= '~');
	if (target->kind == TLSRPT_MAILTO)
		fuzz_assert(strrchr(target->text, '@') != NULL);
	else
		fuzz_assert(span_startscase(span_str(target->text), SPAN_LIT("https://")) && strchr(target->text, ' ') == NULL);
}

static void take_record(struct span input)
{
	static struct tlsrpt_record record;
	int r = tlsrpt_record_parse(input, &record);

	fuzz_assert(record.count <= TLSRPT_TARGETS_MAX && (r != 0 || record.count > 0) && (r != 0 || tlsrpt_is_record(input)));
	for (size_t i = 0; r == 0 && i < record.count; i++)
		take_target(&record.targets[i]);
}

static void encode(const struct tlsrpt_traffic *t, struct buf *out)
{
	buf_init(out, TLSRPT_TRAFFIC_MAX * 2);
	tlsrpt_traffic_encode(t, out);
}

static void take_traffic(struct span input)
{
	struct tlsrpt_traffic *t, *again;
	struct buf first, second;

	if (tlsrpt_traffic_decode(input, &t) != 0)
		return;
	encode(t, &first);
	fuzz_assert(tlsrpt_traffic_decode(buf_span(&first), &again) == 0);
	encode(again, &second);
	fuzz_assert_same(buf_span(&first), buf_span(&second));
	buf_fini(&first);
	buf_fini(&second);
	tlsrpt_traffic_free(&t);
	tlsrpt_traffic_free(&again);
}

void fuzz_one(struct span input)
{
	take_record(input);
	take_traffic(input);
}
