/* The configuration: its language, its scopes, and what is said about what is wrong. */
#include "tests/unit/test.h"

#include "conf/conf.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION "config-version 1\n"

static struct conf *parsed(const char *text)
{
	struct conf *conf;
	struct err err;

	if (conf_parse(span_str(text), "t", &conf, &err) != 0)
		fail_msg("%s", err.text);
	return conf;
}

static void assert_refused(const char *text, const char *why)
{
	struct conf *conf;
	struct err err;

	if (conf_parse(span_str(text), "t", &conf, &err) == 0)
		fail_msg("taken: %s", text);
	assert_null(conf);
	assert_string_equal(err.text, why);
}

static void values_are_read_by_their_type(void **state)
{
	struct conf *conf = parsed(VERSION "hostname mx.example.org # the name\n"
					   "message-size 10M; recipients 7\n"
					   "smtp-timeout 90s\nqueue-lifetime 1w\n"
					   "plus-addressing off\nlog \"file:/var/log/my \\\"mail\\\"; {1}\"\n"
					   "unlimited-from 192.0.2.0/24 2001:db8::/32 127.0.0.1\n");

	(void)state;
	assert_span_equal(conf_text(conf, CONF_hostname, NULL), "mx.example.org");
	assert_true(conf_u64(conf, CONF_message_size, NULL) == 10 << 20);
	assert_true(conf_u64(conf, CONF_recipients, NULL) == 7);
	assert_true(conf_ms(conf, CONF_smtp_timeout, NULL) == 90000);
	assert_true(conf_ms(conf, CONF_queue_lifetime, NULL) == INT64_C(604800000));
	assert_true(conf_ms(conf, CONF_imap_timeout, NULL) == INT64_C(1800000)); /* the default */
	assert_false(conf_bool(conf, CONF_plus_addressing, NULL));
	assert_span_equal(conf_text(conf, CONF_log, NULL), "file:/var/log/my \"mail\"; {1}");
	assert_true(conf_in_networks(conf, CONF_unlimited_from, NULL, SPAN_LIT("192.0.2.255")));
	assert_true(conf_in_networks(conf, CONF_unlimited_from, NULL, SPAN_LIT("2001:db8:1::1")));
	assert_false(conf_in_networks(conf, CONF_unlimited_from, NULL, SPAN_LIT("192.0.3.0")));
	assert_false(conf_in_networks(conf, CONF_unlimited_from, NULL, SPAN_LIT("127.0.0.2")));
	conf_free(&conf);
}

static void the_nearest_scope_counts(void **state)
{
	struct conf *conf = parsed(VERSION "quota 1G\nrecipients 10\n"
					   "domain Example.ORG { quota 2G; catch-all bob@example.org }\n"
					   "domain example.net { }\n"
					   "listen smtp on [::1]:25 { recipients 20 }\n");
	struct conf_where org = {.domain = conf_domain_find(conf, SPAN_LIT("example.org"))};
	struct conf_where net = {.domain = conf_domain_find(conf, SPAN_LIT("example.net"))};
	struct conf_where mx = {.listener = conf_listener_find(conf, SPAN_LIT("smtp"), SPAN_LIT("[::1]:25"))};

	(void)state;
	assert_non_null(org.domain);
	assert_true(conf_u64(conf, CONF_quota, &org) == UINT64_C(2) << 30);
	assert_true(conf_u64(conf, CONF_quota, &net) == UINT64_C(1) << 30);
	assert_span_equal(conf_text(conf, CONF_catch_all, &org), "bob@example.org");
	assert_span_equal(conf_text(conf, CONF_catch_all, &net), "");
	assert_true(conf_u64(conf, CONF_recipients, &mx) == 20);
	assert_true(conf_u64(conf, CONF_recipients, NULL) == 10);
	assert_null(conf_domain_find(conf, SPAN_LIT("example.com")));
	assert_int_equal(conf_listener_count(conf), 1);
	assert_int_equal(mx.listener->port, 25);
	assert_span_equal(mx.listener->host, "::1");
	conf_free(&conf);
}

static void what_is_wrong_is_said_with_its_place(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
	    {"hostname x\n", "t:1:1: the first line must be: config-version 1"},
	    {"config-version 2\n", "t:1:1: this is Mailwain 0.x: it reads config-version 1"},
	    {VERSION "  hostnam x\n", "t:2:3: unknown setting 'hostnam'; did you mean 'hostname'?"},
	    {VERSION "zzzzzzzz x\n", "t:2:1: unknown setting 'zzzzzzzz'"},
	    {VERSION "quota 1G\nquota 2G\n", "t:3:1: quota is set twice; first at t:2"},
	    {VERSION "hostname\n", "t:2:1: hostname needs a value"},
	    {VERSION "hostname a b\n", "t:2:12: hostname takes one value; quote it if it has blanks"},
	    {VERSION "catch-all bob@example.org\n", "t:2:1: catch-all does not belong here but in a domain block"},
	    {VERSION "domain example.org { hostname x }\n", "t:2:22: hostname does not belong here but at the top level"},
	    {VERSION "hostname \"x\n", "t:2:10: the quote is not closed on this line"},
	    {VERSION "domain example.org {\n", "t:2:1: the block that begins here is not closed with }"},
	    {VERSION "domain example.org { }\ndomain EXAMPLE.org { }\n", "t:3:1: there is a block for this already, at t:2"},
	    {VERSION "domain example.org\n", "t:2:1: domain needs a block: { }"},
	    {VERSION "domain a_b.org { }\n", "t:2:8: 'a_b.org' is not a domain name"},
	    {VERSION "hostname x { }\n", "t:2:12: only domain and listen have a block"},
	    {VERSION "}\n", "t:2:1: a brace without domain or listen"},
	    {VERSION "listen smtp on 127.0.0.1 { }\n", "t:2:16: the address needs a port: 0.0.0.0:25 or [::]:25"},
	    {VERSION "listen smtp on localhost:25 { }\n", "t:2:16: 'localhost' is not an IP address"},
	    {VERSION "listen pop3 on 127.0.0.1:110 { }\n", "t:2:8: unknown service 'pop3'; there are smtp, imap, imaps and lmtp"},
	    {VERSION "include \"x\"\n", "t:2:1: write: include \"conf.d/*.conf\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_refused(rows[i].text, rows[i].why);
}

static void a_value_that_cannot_be_is_refused(void **state)
{
	(void)state;
	assert_refused(VERSION "log-level wran\n", "t:2:1: log-level: 'wran' is none of: error | warn | info | debug");
	assert_refused(VERSION "log-level \"|\"\n", "t:2:1: log-level: '|' is none of: error | warn | info | debug");
	assert_refused(VERSION "durability strct\n", "t:2:1: durability: 'strct' is none of: normal | strict");
	assert_refused(VERSION "recipients 1001\n", "t:2:1: recipients: must be from 1 to 1000");
	assert_refused(VERSION "delivery-workers 0\n", "t:2:1: delivery-workers: must be from 1 to 10000");
	assert_refused(VERSION "recipients 5K\n", "t:2:1: recipients: '5K' is not a number");
	assert_refused(VERSION "message-size 4G\n", "t:2:1: message-size: must be from 1K to 4095M");
	assert_refused(VERSION "message-size 5m\n", "t:2:1: message-size: '5m' is not a size such as 500K, 10M or 5G");
	assert_refused(VERSION "smtp-timeout 5\n", "t:2:1: smtp-timeout: '5' is not a time such as 30s, 5m, 4h or 5d");
	assert_refused(VERSION "plus-addressing maybe\n", "t:2:1: plus-addressing: 'maybe' is neither yes nor no");
	assert_refused(VERSION "unlimited-from 192.0.2.0/33\n",
	    "t:2:1: unlimited-from: '192.0.2.0/33' is not an address or a network such as 192.0.2.0/24");
}

/* What daemons are handed gives the same, with the places of the file that was written by hand. */
static void the_flat_text_gives_the_same(void **state)
{
	struct conf *conf = parsed(VERSION "hostname \"a \\\\ \\\" b\"\ntls certificate /c key /k\n"
					   "domain example.org { quota 5G  plus-addressing no }\nlisten imap on 0.0.0.0:143 { }\n");
	struct conf *again;
	struct buf first, second;

	(void)state;
	buf_init(&first, 10000);
	buf_init(&second, 10000);
	conf_dump(conf, &first);
	again = parsed(buf_cstr(&first));
	conf_dump(again, &second);
	assert_string_equal(buf_cstr(&first), buf_cstr(&second));
	assert_span_equal(conf_text(again, CONF_hostname, NULL), "a \\ \" b");
	assert_span_equal(conf_text(again, CONF_tls_key, NULL), "/k");
	assert_non_null(strstr(buf_cstr(&first), "#@ t:3\ntls-key \"/k\"\n"));
	buf_fini(&first);
	buf_fini(&second);
	conf_free(&conf);
	conf_free(&again);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void assert_file_refused(const char *why)
{
	struct conf *conf;
	struct err err;

	assert_int_not_equal(conf_load("main.conf", &conf, &err), 0);
	assert_string_equal(err.text, why);
}

static void files_include_files(void **state)
{
	char path[] = "/tmp/conf-test-XXXXXX";
	struct conf *conf;
	struct err err;

	(void)state;
	assert_non_null(mkdtemp(path));
	assert_int_equal(chdir(path), 0);
	assert_int_equal(mkdir("d", 0700), 0);
	write_file("main.conf", VERSION "include d/*.conf\ninclude none/*.conf\nhostname a\n");
	write_file("d/1.conf", "quota 1G\ntls-key key.pem\ninclude more\n");
	write_file("d/2.conf", "recipients 5\n");
	write_file("d/more", "domain example.org { }\n");
	assert_int_equal(conf_load("main.conf", &conf, &err), 0);
	assert_true(conf_u64(conf, CONF_recipients, NULL) == 5);
	assert_span_equal(conf_text(conf, CONF_tls_key, NULL), "./d/key.pem");
	assert_int_equal(conf_domain_count(conf), 1);
	conf_free(&conf);
	write_file("d/2.conf", "\n recipients x\n");
	assert_file_refused("./d/2.conf:2:2: recipients: 'x' is not a number");
	write_file("d/2.conf", "quota 2G\n");
	assert_file_refused("./d/2.conf:1:1: quota is set twice; first at ./d/1.conf:1");
	write_file("d/2.conf", "include nothing\n");
	assert_file_refused("./d/2.conf:1:9: ./d/nothing does not exist");
	write_file("d/2.conf", "include 2.conf\n");
	assert_file_refused("./d/2.conf:1:9: includes go deeper than 8 files");
	assert_int_equal(chdir("/"), 0);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Every default is a value that could be written. */
static void defaults_are_in_their_range(void **state)
{
	(void)state;
	for (size_t i = 0; i < CONF_COUNT; i++) {
		const struct conf_setting_info *s = conf_setting_info((enum conf_setting)i);
		char text[400];
		struct conf *conf;
		struct err err;

		if (s->default_text[0] == '\0')
			continue;
		assert_true(s->scopes & CONF_SCOPE_GLOBAL);
		snprintf(text, sizeof(text), VERSION "%s %s\n", s->name, s->default_text);
		if (conf_parse(span_str(text), "t", &conf, &err) != 0)
			fail_msg("%s", err.text);
		conf_free(&conf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_are_read_by_their_type),
	    cmocka_unit_test(the_nearest_scope_counts),
	    cmocka_unit_test(what_is_wrong_is_said_with_its_place),
	    cmocka_unit_test(a_value_that_cannot_be_is_refused),
	    cmocka_unit_test(the_flat_text_gives_the_same),
	    cmocka_unit_test(files_include_files),
	    cmocka_unit_test(defaults_are_in_their_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
