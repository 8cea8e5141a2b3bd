/* Transport blocks: which one holds for an address, and what conf_check says of them. */
#include "tests/unit/test.h"

#include "conf/conf.h"

#include <stdio.h>

#define V "config-version 1\nhostname mail.test\n"

static struct conf *parse(const char *text)
{
	struct conf *conf = NULL;
	struct err err = {0};

	if (conf_parse(span_str(text), "c", &conf, &err) != 0)
		fail_msg("%s\n%s", text, err.text);
	return conf;
}

static const char *pattern_for(const struct conf *conf, const char *address)
{
	static char pattern[CONF_PATTERN_MAX + 1];
	const struct conf_transport *transport = conf_transport_for(conf, span_str(address));

	span_copy(transport ? transport->pattern : SPAN_LIT("none"), pattern, sizeof(pattern));
	return pattern;
}

/* Whatever the order of the blocks: the address, the domain, the nearest domain above, the rest. */
static void the_most_exact_pattern_holds(void **state)
{
	static const char *const orders[] = {
	    V "transport * { }\ntransport *.test { }\ntransport *.b.test { }\ntransport b.test { }\ntransport Ann@B.test { }\ntransport \"x y@b.test\" { }\n",
	    V "transport \"x y@b.test\" { }\ntransport ann@b.test { }\ntransport B.TEST { }\ntransport *.b.test { }\ntransport *.Test { }\ntransport * { }\n"};
	static const char *const rows[][2] = {{"ann@b.test", "ann@b.test"}, {"ANN@B.TEST", "ann@b.test"}, {"bob@b.test", "b.test"},
	    {"b.test", "b.test"}, {"ann@a.b.test", "*.b.test"}, {"ann@x.a.b.test", "*.b.test"}, {"ann@ab.test", "*.test"}, {"a@c.test", "*.test"},
	    {"ann@test", "*"}, {"ann@other.example", "*"}, {"x y@b.test", "x y@b.test"}, {"\"a@b\"@b.test", "b.test"}, {"ann@[192.0.2.1]", "*"},
	    {"", "*"}, {"@", "*"}, {"*", "*"}};

	(void)state;
	for (size_t o = 0; o < 2; o++) {
		struct conf *conf = parse(orders[o]);

		assert_int_equal(conf_transport_count(conf), 6);
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			assert_string_equal(pattern_for(conf, rows[i][0]), rows[i][1]);
		conf_free(&conf);
	}
}

static void without_a_block_for_it_none_holds(void **state)
{
	struct conf *conf = parse(V "transport b.test { }\ntransport *.c.test { }\n"), *none = parse(V);
	char big[400] = "a@";

	(void)state;
	memset(big + 2, 'b', sizeof(big) - 3);
	assert_string_equal(pattern_for(conf, "ann@a.test"), "none");
	assert_string_equal(pattern_for(conf, "ann@a.b.test"), "none");
	assert_string_equal(pattern_for(conf, "ann@c.test"), "none");
	assert_string_equal(pattern_for(conf, big), "none");
	assert_string_equal(pattern_for(none, "ann@b.test"), "none");
	conf_free(&conf);
	conf_free(&none);
}

static void values_of_a_block_come_first(void **state)
{
	struct conf *conf = parse(V "relay-tls verify\nsend-as a.test\ndomain d.test { send-as out.d.test; send-from 192.0.2.1 2001:db8::1 }\n"
				    "transport b.test { host \"[::1]:25\"; relay-tls none }\ntransport c.test { hold yes }\n");
	struct conf_where b = {.transport = conf_transport_find(conf, SPAN_LIT("b.test"))}, c = {.transport = conf_transport_find(conf, SPAN_LIT("c.test"))};
	struct conf_where both = {.domain = conf_domain_find(conf, SPAN_LIT("d.test")), .transport = b.transport};
	struct err err = {0};

	(void)state;
	assert_span_equal(conf_text(conf, CONF_relay_tls, &b), "none");
	assert_span_equal(conf_text(conf, CONF_relay_tls, &c), "verify");
	assert_span_equal(conf_text(conf, CONF_relay_tls, &both), "none");
	assert_span_equal(conf_text(conf, CONF_send_as, &both), "out.d.test");
	assert_span_equal(conf_text(conf, CONF_send_as, &b), "a.test");
	assert_span_equal(conf_text(conf, CONF_send_from, &both), "192.0.2.1 2001:db8::1");
	assert_true(conf_bool(conf, CONF_transport_hold, &c));
	assert_false(conf_bool(conf, CONF_transport_hold, &b));
	assert_true(conf_is_set(conf, CONF_transport_host, &b));
	assert_false(conf_is_set(conf, CONF_transport_host, &c));
	assert_int_equal(conf_check(conf, "c", &err), 0);
	conf_free(&conf);
}

/* A pattern may hold what the language has a meaning for. */
static void the_flattened_text_has_them(void **state)
{
	struct conf *conf = parse(V "transport \"a \\\"b\\\" \\\\{#;@x.test\" { host mx.test:25 }\ntransport * { relay-rate 7 }\n"), *again;
	struct buf first, second;

	(void)state;
	buf_init(&first, 10000);
	buf_init(&second, 10000);
	conf_dump(conf, &first);
	buf_add_char(&first, '\0');
	again = parse(buf_span(&first).ptr);
	conf_dump(again, &second);
	buf_add_char(&second, '\0');
	assert_true(span_eq(buf_span(&first), buf_span(&second)));
	assert_int_equal(conf_transport_count(again), 2);
	assert_span_equal(conf_transport(again, 0)->pattern, "*");
	assert_span_equal(conf_transport(again, 1)->pattern, "a \"b\" \\{#;@x.test");
	assert_int_equal(conf_u64(again, CONF_relay_rate, &(struct conf_where){.transport = conf_transport(again, 0)}), 7);
	assert_null(conf_transport(again, 2));
	conf_free(&conf);
	conf_free(&again);
	buf_fini(&first);
	buf_fini(&second);
}

struct mistake {
	const char *text, *error;
};

static void assert_mistake(const struct mistake *m)
{
	struct conf *conf = NULL;
	struct err err = {0};
	int r = conf_parse(span_str(m->text), "c", &conf, &err);

	if (r == 0)
		r = conf_check(conf, "c", &err);
	if (r == 0)
		fail_msg("accepted: %s", m->text);
	if (strstr(err.text, m->error) == NULL)
		fail_msg("%s\nis told as   %s\ninstead of   %s", m->text, err.text, m->error);
	conf_free(&conf);
}

static void patterns_that_are_none(void **state)
{
	static const struct mistake rows[] = {
	    {V "transport { }", "c:3:1: write: transport PATTERN { }"},
	    {V "transport a b { }", "c:3:1: write: transport PATTERN { }"},
	    {V "transport a.test", "c:3:1: transport needs a block: { }"},
	    {V "transprot a.test { }", "unknown block 'transprot'; did you mean 'transport'?"},
	    {V "transport \"\" { }", "c:3:11: '' is none of: example.org *.example.org user@example.org *"},
	    {V "transport *. { }", "is none of"},
	    {V "transport *a.test { }", "is none of"},
	    {V "transport @a.test { }", "is none of"},
	    {V "transport a@ { }", "is none of"},
	    {V "transport a@*.test { }", "is no pattern"},
	    {V "transport a.*.test { }", "is no pattern"},
	    {V "transport \"a b.test\" { }", "is no pattern"},
	    {V "transport b\303\274cher.test { }", "write its domain as A-labels: xn--..."},
	    {V "transport a\377@b.test { }", "c:3:11: the pattern is not UTF-8 text"},
	    {V "transport a.test { }\ntransport b.test { }\ntransport A.test { hold yes }", "c:5:1: there is a block for this already, at c:3"},
	    {V "transport a.test { quota 5G }", "quota does not belong here but at the top level or in a domain block"},
	    {V "host a.test:25", "host does not belong here but in a transport block"},
	    {V "domain a.test { relay-tls none }", "relay-tls does not belong here but at the top level or in a transport block"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_mistake(&rows[i]);
}

static void blocks_that_no_daemon_could_use(void **state)
{
	static const struct mistake rows[] = {
	    {V "transport a.test { host b.test:25; lmtp c.test:24 }", "c:3:36: mail can take one way: one of host, lmtp, error and hold; the other is at c:3"},
	    {V "transport a.test { error \"5.7.1 no\"; hold yes }", "mail can take one way"},
	    {V "transport a.test { host b.test }", "c:3:20: host: 'b.test' is none of: mail.example.org:25 192.0.2.1:25 [2001:db8::1]:25"},
	    {V "transport a.test { host b.test:0 }", "is none of"},
	    {V "transport a.test { host b.test:65536 }", "is none of"},
	    {V "transport a.test { host ::1:25 }", "is none of"},
	    {V "transport a.test { host [192.0.2.1]:25 }", "is none of"},
	    {V "transport a.test { host [b.test]:25 }", "is none of"},
	    {V "transport a.test { lmtp :24 }", "lmtp: ':24' is none of"},
	    {V "transport a.test { error no }", "is not a status and a text"},
	    {V "transport a.test { error \"2.7.1 yes\" }", "is not a status and a text"},
	    {V "transport a.test { error \"5.7.1\" }", "is not a status and a text"},
	    {V "transport a.test { error \"5.7.1 \" }", "is not a status and a text"},
	    {V "transport a.test { error \"5.7777.1 no\" }", "is not a status and a text"},
	    {V "transport a.test { error \"5..1 no\" }", "is not a status and a text"},
	    {V "transport a.test { error \"5.7.1 n\to\" }", "is not a status and a text"},
	    {V "transport a.test { login a; password-file /p }", "login needs a host to log in at"},
	    {V "transport a.test { lmtp b.test:24; login a; password-file /p }", "login needs a host to log in at"},
	    {V "transport a.test { host b.test:587; login a }", "login needs either password-file or token-file"},
	    {V "transport a.test { host b.test:587; login a; password-file /p; token-file /t }", "login needs either"},
	    {V "transport a.test { host b.test:587; token-file /t }", "a token-file without login"},
	    {V "relay-tls none\ntransport a.test { host b.test:587; login a; password-file /p }", "login needs TLS, but relay-tls is none, from c:3"},
	    {V "send-as \"a b\"", "c:3:1: send-as: 'a b' is not a host name"},
	    {V "send-from 192.0.2.0/24", "write addresses, not networks"},
	    {V "send-from 192.0.2.1 192.0.2.2", "not two of one"},
	    {V "send-from ::1 2001:db8::1", "not two of one"},
	};
	static const char *const good[] = {V "transport a.test { host b.test:25; hold no }", V "transport a.test { host 192.0.2.1:25 }", V "transport a.test { lmtp [::1]:24 }",
	    V "transport a.test { error \"4.7.100 later, please\" }", V "transport a.test { host b.test:587; login a; password-file p }",
	    V "transport a.test { host b.test:465; implicit-tls yes; login a; token-file t }", V "transport *.test { }", V "send-from ::1 192.0.2.1"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_mistake(&rows[i]);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct conf *conf = parse(good[i]);
		struct err err = {0};

		if (conf_check(conf, "c", &err) != 0)
			fail_msg("%s\n%s", good[i], err.text);
		conf_free(&conf);
	}
}

static void places_are_told(void **state)
{
	static const struct {
		unsigned scopes;
		const char *text;
	} rows[] = {{1, "at the top level"}, {2, "in a domain block"}, {14, "in a domain, listen or transport block"}, {9, "at the top level or in a transport block"}, {6, "in a domain or listen block"},
	    {15, "at the top level or in a domain, listen or transport block"}, {10, "in a domain or transport block"}};
	char out[CONF_PLACES];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		conf_places(rows[i].scopes, out);
		assert_string_equal(out, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_most_exact_pattern_holds),
	    cmocka_unit_test(without_a_block_for_it_none_holds),
	    cmocka_unit_test(values_of_a_block_come_first),
	    cmocka_unit_test(the_flattened_text_has_them),
	    cmocka_unit_test(patterns_that_are_none),
	    cmocka_unit_test(blocks_that_no_daemon_could_use),
	    cmocka_unit_test(places_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
