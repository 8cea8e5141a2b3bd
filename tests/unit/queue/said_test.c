/* Who said what, in a record and read from it. */
#include "tests/unit/test.h"

#include "base/utf8.h"
#include "queue/said.h"

#include <string.h>

#define S SPAN_LIT

static const struct {
	const char *text, *host, *address, *tls;
	bool by_host;
	const char *reply;
} rows[] = {
    {"host mx.example.com [192.0.2.1] (TLSv1.3 DANE) said: 450 4.2.0 busy: come again", "mx.example.com", "192.0.2.1", "TLSv1.3 DANE", true, "450 4.2.0 busy: come again"},
    {"host mx.example.com [2001:db8::1] (no TLS) said: 250 2.0.0 ok", "mx.example.com", "2001:db8::1", "none", true, "250 2.0.0 ok"},
    {"host mx.example.com [192.0.2.1]: 451 4.4.1 no route", "mx.example.com", "192.0.2.1", "", false, "451 4.4.1 no route"},
    {"host mx.example.com: 450 4.7.5 its records cannot be told", "mx.example.com", "", "", false, "450 4.7.5 its records cannot be told"},
    {"host [192.0.2.1] said: 550 5.1.1 host a [b] (c) said: 250 no", "", "192.0.2.1", "", true, "550 5.1.1 host a [b] (c) said: 250 no"},
    {"451 4.3.0 the relay is not running: wait", "", "", "", false, "451 4.3.0 the relay is not running: wait"},
    {"450 4.2.0 host mx.example.com [192.0.2.1] said: what it is not asked", "", "", "", false, "450 4.2.0 host mx.example.com [192.0.2.1] said: what it is not asked"},
    {"", "", "", "", false, ""},
};

static void each_is_read_as_it_was_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct said said = {span_str(rows[i].host), span_str(rows[i].address), span_str(rows[i].tls), rows[i].by_host, span_str(rows[i].reply)}, again;
		char text[SPOOL_TEXT_MAX + 1];

		assert_string_equal(said_format(&said, text).ptr, rows[i].text);
		said_parse(span_str(rows[i].text), &again);
		assert_true(span_eq(said.host, again.host) && span_eq(said.address, again.address) && span_eq(said.tls, again.tls) && span_eq(said.reply, again.reply));
		assert_int_equal(said.by_host, again.by_host);
	}
}

static void a_host_that_is_an_address_is_named_once(void **state)
{
	struct said said = {.host = S("192.0.2.1"), .address = S("192.0.2.1"), .by_host = true, .reply = S("250 ok")};
	char text[SPOOL_TEXT_MAX + 1];

	(void)state;
	assert_string_equal(said_format(&said, text).ptr, "host [192.0.2.1] said: 250 ok");
}

/* Who chooses the name of a host does not choose what it said. */
static void a_name_is_nothing_but_a_name(void **state)
{
	struct said said = {.host = S("a said: 250 [x] (y)"), .address = S("192.0.2.1"), .reply = S("550 5.1.1 no")}, again;
	char text[SPOOL_TEXT_MAX + 1];

	(void)state;
	said_parse(said_format(&said, text), &again);
	assert_string_equal(text, "host a?said:?250??x???y? [192.0.2.1]: 550 5.1.1 no");
	assert_true(span_eq(again.host, S("a?said:?250??x???y?")) && span_eq(again.reply, said.reply) && !again.by_host);
}

/* As an address literal has at its end: what follows would be taken for the reply. */
static void a_colon_at_the_end_of_a_name(void **state)
{
	struct said said = {.host = S("2001:0db8::"), .address = S("2001:db8::"), .tls = S("none"), .by_host = true, .reply = S("450 4.2.0 busy")}, again;
	char text[SPOOL_TEXT_MAX + 1];

	(void)state;
	said_parse(said_format(&said, text), &again);
	assert_string_equal(text, "host 2001:0db8:? [2001:db8::] (no TLS) said: 450 4.2.0 busy");
	assert_true(span_eq(again.address, said.address) && span_eq(again.reply, said.reply) && again.by_host);
	said.host = said.address;
	said_parse(said_format(&said, text), &again);
	assert_true(span_eq(again.address, said.address) && span_eq(again.reply, said.reply) && again.by_host);
}

/* Half a character at its end, and a notification would show nothing of its UTF-8. */
static void what_is_too_long_is_cut_between_characters(void **state)
{
	struct said said = {.host = S("mx.example.com"), .address = S("192.0.2.1"), .by_host = true};
	char reply[SPOOL_TEXT_MAX + 1], text[SPOOL_TEXT_MAX + 1];

	(void)state;
	for (size_t first = 0; first < 3; first++) {
		size_t len;

		memset(reply, 'x', sizeof(reply));
		for (size_t i = first; i + 3 <= SPOOL_TEXT_MAX; i += 3)
			memcpy(reply + i, "\xe2\x82\xac", 3);
		said.reply = span_of(reply, SPOOL_TEXT_MAX);
		len = said_format(&said, text).len;
		assert_true(len <= SPOOL_TEXT_MAX && len > SPOOL_TEXT_MAX - 3);
		assert_true(utf8_is_valid(span_str(text)));
	}
}

static void what_is_too_long_loses_its_end(void **state)
{
	char host[400], reply[SPOOL_TEXT_MAX + 1], text[SPOOL_TEXT_MAX + 1];
	struct said said = {.address = S("192.0.2.1"), .tls = S("TLSv1.3"), .by_host = true}, again;

	(void)state;
	memset(host, 'h', sizeof(host));
	memset(reply, 'r', sizeof(reply));
	said.host = span_of(host, sizeof(host));
	said.reply = span_of(reply, SPOOL_TEXT_MAX);
	assert_int_equal(said_format(&said, text).len, SPOOL_TEXT_MAX);
	said_parse(span_str(text), &again);
	assert_int_equal(again.host.len, 254);
	assert_true(again.by_host && again.reply.len > 150);
	said.host = said.address = span_str("");
	assert_int_equal(said_format(&said, text).len, SPOOL_TEXT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_is_read_as_it_was_written),
	    cmocka_unit_test(a_host_that_is_an_address_is_named_once),
	    cmocka_unit_test(a_name_is_nothing_but_a_name),
	    cmocka_unit_test(a_colon_at_the_end_of_a_name),
	    cmocka_unit_test(what_is_too_long_is_cut_between_characters),
	    cmocka_unit_test(what_is_too_long_loses_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
