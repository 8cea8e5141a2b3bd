/*
 * The configuration's language: any text is either refused, saying where, or its
 * flattened text gives the same again, and the same answers.
 */
#include "tests/fuzz/fuzz.h"

#include "conf/conf.h"

static void dump(const struct conf *conf, struct buf *out)
{
	buf_init(out, 8 * 1024 * 1024);
	conf_dump(conf, out);
	fuzz_assert(!buf_failed(out));
}

static void compare(const struct conf *a, const struct conf *b, const struct conf_where *in_a, const struct conf_where *in_b)
{
	for (int i = 0; i < CONF_COUNT; i++) {
		enum conf_setting s = (enum conf_setting)i;

		fuzz_assert_same(conf_text(a, s, in_a), conf_text(b, s, in_b));
		fuzz_assert_same(conf_origin(a, s, in_a), conf_origin(b, s, in_b));
		fuzz_assert(conf_u64(a, s, in_a) == conf_u64(b, s, in_b));
		if (conf_setting_info(s)->type == CONF_TYPE_NETWORKS)
			fuzz_assert(conf_in_networks(a, s, in_a, SPAN_LIT("192.0.2.1")) == conf_in_networks(b, s, in_b, SPAN_LIT("192.0.2.1")));
	}
}

static void compare_blocks(const struct conf *a, const struct conf *b)
{
	fuzz_assert(conf_domain_count(a) == conf_domain_count(b) && conf_listener_count(a) == conf_listener_count(b) &&
		    conf_transport_count(a) == conf_transport_count(b));
	for (size_t i = 0; i < conf_domain_count(a) && i < 8; i++) {
		struct conf_where in_a = {.domain = conf_domain(a, i)}, in_b = {.domain = conf_domain(b, i)};

		fuzz_assert_same(in_a.domain->name, in_b.domain->name);
		fuzz_assert(conf_domain_find(a, in_a.domain->name) == in_a.domain);
		compare(a, b, &in_a, &in_b);
	}
	for (size_t i = 0; i < conf_listener_count(a) && i < 8; i++) {
		struct conf_where in_a = {.listener = conf_listener(a, i)}, in_b = {.listener = conf_listener(b, i)};

		fuzz_assert_same(in_a.listener->address, in_b.listener->address);
		fuzz_assert(conf_listener_find(a, in_a.listener->service, in_a.listener->address) == in_a.listener);
		compare(a, b, &in_a, &in_b);
	}
	for (size_t i = 0; i < conf_transport_count(a) && i < 8; i++) {
		struct conf_where in_a = {.transport = conf_transport(a, i)}, in_b = {.transport = conf_transport(b, i)};

		fuzz_assert_same(in_a.transport->pattern, in_b.transport->pattern);
		fuzz_assert(conf_transport_find(a, in_a.transport->pattern) == in_a.transport);
		compare(a, b, &in_a, &in_b);
	}
}

void fuzz_one(struct span input)
{
	struct conf *conf, *again;
	struct buf text, second;
	struct err err = {0};
	int r = conf_parse(input, "input", &conf, &err);

	if (r != 0) {
		fuzz_assert(conf == NULL && err.code == r && err.text[0] != '\0');
		return;
	}
	dump(conf, &text);
	fuzz_assert(conf_parse(buf_span(&text), "dump", &again, &err) == 0);
	dump(again, &second);
	fuzz_assert_same(buf_span(&text), buf_span(&second));
	compare(conf, again, NULL, NULL);
	compare_blocks(conf, again);
	fuzz_assert((conf_transport_for(conf, input) == NULL) == (conf_transport_for(again, input) == NULL));
	conf_check(conf, "input", &err);
	buf_fini(&second);
	buf_fini(&text);
	conf_free(&again);
	conf_free(&conf);
}
