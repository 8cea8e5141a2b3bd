/* Look-ups by scope, the flattened text and back, the schema. */
#include "tests/unit/test.h"

#include "conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const char text[] = "config-version 1\n"
			   "hostname mail.test\n"
			   "message-size 20M\n"
			   "quota 1G\n"
			   "unlimited-from 10.0.0.0/8 ::1\n"
			   "postmaster \"a \\\"b\\\" \\\\ {c};#d\"\n"
			   "domain z.test { quota 2G }\n"
			   "domain a.test { catch-all all@a.test; plus-addressing no }\n"
			   "domain a.test.b { }\n"
			   "listen smtp on 127.0.0.1:25 { message-size 5M; greeting-delay 3s }\n"
			   "listen imaps on [::1]:993 { unlimited-from 192.0.2.0/24 }\n";

static struct conf *parse(const char *what)
{
	struct conf *conf;
	struct err err = {0};

	if (conf_parse(span_str(what), "c", &conf, &err) != 0)
		fail_msg("%s", err.text);
	return conf;
}

/* The block first, then the top level, then the default. */
static void values_are_found_by_scope(void **state)
{
	struct conf *conf = parse(text);
	struct conf_where z = {.domain = conf_domain_find(conf, SPAN_LIT("z.test"))};
	struct conf_where a = {.domain = conf_domain_find(conf, SPAN_LIT("a.test"))};
	struct conf_where smtp = {.listener = conf_listener_find(conf, SPAN_LIT("smtp"), SPAN_LIT("127.0.0.1:25"))};
	struct conf_where imaps = {.listener = conf_listener_find(conf, SPAN_LIT("imaps"), SPAN_LIT("[::1]:993"))};
	struct conf_where both = {.domain = z.domain, .listener = smtp.listener};

	(void)state;
	assert_int_equal(conf_u64(conf, CONF_quota, NULL), 1 << 30);
	assert_int_equal(conf_u64(conf, CONF_quota, &z), UINT64_C(2) << 30);
	assert_int_equal(conf_u64(conf, CONF_quota, &a), 1 << 30);
	assert_int_equal(conf_u64(conf, CONF_quota, &both), UINT64_C(2) << 30);
	assert_int_equal(conf_u64(conf, CONF_message_size, &both), 5 << 20);
	assert_int_equal(conf_u64(conf, CONF_message_size, &imaps), 20 << 20);
	assert_int_equal(conf_ms(conf, CONF_greeting_delay, &smtp), 3000);
	assert_int_equal(conf_ms(conf, CONF_greeting_delay, &imaps), 0);
	assert_int_equal(conf_ms(conf, CONF_smtp_timeout, &smtp), 300000); /* the default */
	assert_false(conf_bool(conf, CONF_plus_addressing, &a));
	assert_true(conf_bool(conf, CONF_plus_addressing, &z));
	assert_span_equal(conf_text(conf, CONF_catch_all, &a), "all@a.test");
	assert_int_equal(conf_text(conf, CONF_catch_all, &z).len, 0);
	assert_true(conf_in_networks(conf, CONF_unlimited_from, &smtp, SPAN_LIT("10.1.2.3")));
	/* A block's list takes the place of the one above; it is not added. */
	assert_false(conf_in_networks(conf, CONF_unlimited_from, &imaps, SPAN_LIT("10.1.2.3")));
	assert_true(conf_in_networks(conf, CONF_unlimited_from, &imaps, SPAN_LIT("192.0.2.1")));
	assert_false(conf_in_networks(conf, CONF_plain_login_from, &imaps, SPAN_LIT("192.0.2.1")));
	conf_free(&conf);
	assert_null(conf);
	conf_free(&conf);
}

static void values_know_where_they_came_from(void **state)
{
	struct conf *conf = parse(text);
	struct conf_where z = {.domain = conf_domain_find(conf, SPAN_LIT("z.test"))};

	(void)state;
	assert_span_equal(conf_origin(conf, CONF_hostname, NULL), "c:2");
	assert_span_equal(conf_origin(conf, CONF_quota, &z), "c:7");
	assert_span_equal(conf_origin(conf, CONF_log_level, NULL), "default");
	conf_free(&conf);
}

static void blocks_are_found(void **state)
{
	struct conf *conf = parse(text), *none = parse("config-version 1\n");

	(void)state;
	assert_int_equal(conf_domain_count(conf), 3);
	assert_span_equal(conf_domain_find(conf, SPAN_LIT("a.test"))->name, "a.test");
	assert_span_equal(conf_domain_find(conf, SPAN_LIT("a.test.b"))->name, "a.test.b");
	for (const char *const *name = (const char *const[]){"", "a", "a.tes", "a.test.", "b.test", "zz.test", NULL}; *name != NULL; name++)
		assert_null(conf_domain_find(conf, span_str(*name)));
	for (size_t i = 0; i < 3; i++)
		assert_ptr_equal(conf_domain_find(conf, conf_domain(conf, i)->name), conf_domain(conf, i));
	assert_null(conf_domain(conf, 3));
	/* Listeners stay in the order of the file. */
	assert_int_equal(conf_listener_count(conf), 2);
	assert_span_equal(conf_listener(conf, 0)->service, "smtp");
	assert_span_equal(conf_listener(conf, 1)->service, "imaps");
	assert_null(conf_listener(conf, 2));
	assert_null(conf_listener_find(conf, SPAN_LIT("imap"), SPAN_LIT("[::1]:993")));
	assert_null(conf_listener_find(conf, SPAN_LIT("imaps"), SPAN_LIT("[::1]:994")));
	assert_null(conf_domain_find(none, SPAN_LIT("a.test")));
	assert_int_equal(conf_listener_count(none) + conf_domain_count(none), 0);
	conf_free(&conf);
	conf_free(&none);
}

static void assert_same(const struct conf *a, const struct conf *b, const struct conf_where *in_a, const struct conf_where *in_b)
{
	for (int i = 0; i < CONF_COUNT; i++) {
		enum conf_setting s = (enum conf_setting)i;

		assert_true(span_eq(conf_text(a, s, in_a), conf_text(b, s, in_b)));
		assert_true(conf_u64(a, s, in_a) == conf_u64(b, s, in_b));
		assert_true(span_eq(conf_origin(a, s, in_a), conf_origin(b, s, in_b)));
	}
}

/* Daemons read what conf_dump wrote: it is the same configuration, origins included, and dumps as the same text. */
static void the_flattened_text_gives_the_same(void **state)
{
	struct conf *conf = parse(text), *again;
	struct buf first, second;
	struct err err;
	int fd = memfd_create("conf", 0);

	(void)state;
	buf_init(&first, 100000);
	buf_init(&second, 100000);
	conf_dump(conf, &first);
	assert_int_equal(write(fd, buf_span(&first).ptr, buf_len(&first)), buf_len(&first));
	/* Its offset is at the end, and stays there: one descriptor serves all daemons. */
	assert_int_equal(conf_load_fd(fd, &again, &err), 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), buf_len(&first));
	conf_dump(again, &second);
	assert_true(span_eq(buf_span(&first), buf_span(&second)));
	assert_same(conf, again, NULL, NULL);
	assert_int_equal(conf_domain_count(again), 3);
	for (size_t i = 0; i < 3; i++)
		assert_same(conf, again, &(struct conf_where){.domain = conf_domain(conf, i)}, &(struct conf_where){.domain = conf_domain(again, i)});
	assert_int_equal(conf_listener_count(again), 2);
	for (size_t i = 0; i < 2; i++) {
		assert_same(conf, again, &(struct conf_where){.listener = conf_listener(conf, i)},
		    &(struct conf_where){.listener = conf_listener(again, i)});
		assert_true(span_eq(conf_listener(conf, i)->address, conf_listener(again, i)->address));
		assert_int_equal(conf_listener(conf, i)->port, conf_listener(again, i)->port);
	}
	assert_span_equal(conf_text(again, CONF_postmaster, NULL), "a \"b\" \\ {c};#d");
	conf_free(&conf);
	conf_free(&again);
	buf_fini(&first);
	buf_fini(&second);
	close(fd);
	again = (struct conf *)(uintptr_t)1;
	assert_int_not_equal(conf_load_fd(fd, &again, &err), 0);
	assert_null(again);
}

static void more_blocks_than_there_can_be(void **state)
{
	struct conf *conf;
	struct buf big;
	struct err err;

	(void)state;
	buf_init(&big, 1 << 20);
	buf_add_str(&big, "config-version 1\n");
	for (unsigned i = 0; i < 500; i++)
		buf_printf(&big, "domain d%u.test { }\n", i);
	assert_int_equal(conf_parse(buf_span(&big), "c", &conf, &err), 0);
	assert_int_equal(conf_domain_count(conf), 500);
	assert_span_equal(conf_domain_find(conf, SPAN_LIT("d499.test"))->name, "d499.test");
	conf_free(&conf);
	for (unsigned i = 500; i < 4097; i++)
		buf_printf(&big, "domain d%u.test { }\n", i);
	assert_int_not_equal(conf_parse(buf_span(&big), "c", &conf, &err), 0);
	assert_null(conf);
	buf_fini(&big);
}

/* Every default is a value of its setting, and every setting has its sentence. */
static void the_schema_is_sound(void **state)
{
	(void)state;
	for (int i = 0; i < CONF_COUNT; i++) {
		const struct conf_setting_info *info = conf_setting_info((enum conf_setting)i);
		char line[256];
		struct conf *conf;
		struct err err = {0};

		assert_int_equal(info->sentence[strlen(info->sentence) - 1], '.');
		assert_true(info->scopes != 0);
		if (info->default_text[0] == '\0' || !(info->scopes & CONF_SCOPE_GLOBAL))
			continue;
		snprintf(line, sizeof(line), "config-version 1\n%s \"%s\"", info->name, info->default_text);
		if (conf_parse(span_str(line), "c", &conf, &err) != 0)
			fail_msg("%s", err.text);
		conf_free(&conf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_are_found_by_scope),
	    cmocka_unit_test(values_know_where_they_came_from),
	    cmocka_unit_test(blocks_are_found),
	    cmocka_unit_test(the_flattened_text_gives_the_same),
	    cmocka_unit_test(more_blocks_than_there_can_be),
	    cmocka_unit_test(the_schema_is_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
