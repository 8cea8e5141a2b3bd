/*
 * Who said what, in a record of an attempt: whoever chooses a host's name or what it says chooses nothing else of it, and what is written is
 * read as the same. What may be done about it is lines that fit a notification.
 *
 * Input: an octet: its TLS, and whether the host itself said it; then a line each: host, address, reply. The whole is also read as a record,
 * and as a status.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "queue/advice.h"
#include "queue/said.h"

#include <stdlib.h>

enum { OPTION_BY_HOST = 1, OPTION_TLS = 1 /* from this bit on */, ADVICE_MAX = 4096, ADVICE_LINE_MAX = 76 + 1 /* with its CR */ };

static void read_record(struct span text)
{
	struct said said;

	said_parse(text, &said);
	fuzz_assert(fuzz_within(text, said.reply) && said.reply.ptr + said.reply.len == text.ptr + text.len);
	fuzz_assert(said.host.len == 0 || fuzz_within(text, said.host));
	fuzz_assert(said.address.len == 0 || fuzz_within(text, said.address));
	fuzz_assert(said.tls.len == 0 || span_eq(said.tls, SPAN_LIT("none")) || fuzz_within(text, said.tls));
}

/* As a host is named: each octet that might be taken for something else is a '?'. */
static void check_name(struct span name, struct span given)
{
	fuzz_assert(name.len <= given.len);
	for (size_t i = 0; i < name.len; i++)
		fuzz_assert(name.ptr[i] == given.ptr[i] || name.ptr[i] == '?');
}

static void write_record(const struct said *said)
{
	char text[SPOOL_TEXT_MAX + 1], second[SPOOL_TEXT_MAX + 1];
	struct span written = said_format(said, text);
	struct said again;

	fuzz_assert(written.len <= SPOOL_TEXT_MAX);
	said_parse(written, &again);
	fuzz_assert(span_startswith(said->reply, again.reply));
	if (said->host.len == 0 && said->address.len == 0) {
		fuzz_assert(again.host.len == 0 && again.address.len == 0 && !again.by_host);
		return;
	}
	fuzz_assert(again.by_host == said->by_host && span_eq(again.tls, said->tls));
	check_name(again.host, said->host);
	check_name(again.address, said->address);
	if (!span_eq(again.host, again.address)) /* a host whose name is its address is named once */
		fuzz_assert_same(said_format(&again, second), written);
}

static void take_advice(struct span status)
{
	struct buf text;
	struct span rest;

	buf_init(&text, ADVICE_MAX);
	advice_add(&text, status);
	fuzz_assert(!buf_failed(&text) && buf_len(&text) > 0);
	rest = buf_span(&text);
	while (rest.len > 0)
		fuzz_assert(fuzz_until(&rest, '\n').len <= ADVICE_LINE_MAX);
	buf_fini(&text);
}

void fuzz_one(struct span input)
{
	static const char *const tls[] = {"", "none", "TLSv1.3 DANE", "TLSv1.2"};
	unsigned options = fuzz_byte(&input);
	struct said said = {.by_host = options & OPTION_BY_HOST, .tls = span_str(tls[(options >> OPTION_TLS) % 4])};
	struct buf reply;

	read_record(input);
	take_advice(input);
	said.host = fuzz_until(&input, '\n');
	said.address = fuzz_until(&input, '\n');
	/* Whatever a host says begins with its code (RFC 5321 section 4.2), and a record is text. */
	buf_init(&reply, 16384);
	buf_add_str(&reply, "450 ");
	buf_add_span(&reply, span_sub(input, 0, span_find(input, '\0')));
	said.reply = buf_span(&reply);
	if (utf8_is_valid(said.reply))
		write_record(&said);
	buf_fini(&reply);
}
