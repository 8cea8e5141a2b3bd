/* The language of mailwain.conf(5): every kind of mistake is refused with file, line and column. */
#include "tests/unit/test.h"

#include "conf/conf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define V "config-version 1\n"

/* Parses and gives the configuration, which must be without fault; the caller frees it. */
static struct conf *good(const char *text)
{
	struct conf *conf = NULL;
	struct err err = {0};

	if (conf_parse(span_str(text), "c", &conf, &err) != 0)
		fail_msg("%s\n%s", text, err.text);
	return conf;
}

static struct span text_of(const struct conf *conf, enum conf_setting setting)
{
	return conf_text(conf, setting, NULL);
}

struct mistake {
	const char *text;
	const char *error; /* all of it */
};

static void check_mistakes(const struct mistake *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct conf *conf = (struct conf *)(uintptr_t)1;
		struct err err = {0};

		if (conf_parse(span_str(rows[i].text), "c", &conf, &err) == 0)
			fail_msg("accepted: %s", rows[i].text);
		assert_null(conf);
		if (strcmp(err.text, rows[i].error) != 0)
			fail_msg("%s\nis told as   %s\ninstead of   %s", rows[i].text, err.text, rows[i].error);
	}
}
#define CHECK_MISTAKES(rows) check_mistakes(rows, sizeof(rows) / sizeof(rows[0]))

static void the_version_comes_first(void **state)
{
	static const struct mistake rows[] = {
	    {"hostname a.test\n", "c:1:1: the first line must be: config-version 1"},
	    {"domain a.test { }\n" V, "c:1:1: the first line must be: config-version 1"},
	    {"# only this\n", "c:2:1: the first line must be: config-version 1"},
	    {"", "c:1:1: the first line must be: config-version 1"},
	    {"config-version 2\n", "c:1:1: this is Mailwain 0.x: it reads config-version 1"},
	    {"config-version\n", "c:1:1: this is Mailwain 0.x: it reads config-version 1"},
	    {"config-version 1 2\n", "c:1:1: this is Mailwain 0.x: it reads config-version 1"},
	};
	struct conf *conf = good("# a comment, and empty lines\n\n;\n" V);

	(void)state;
	conf_free(&conf);
	CHECK_MISTAKES(rows);
}

static void statements_end_with_line_or_semicolon(void **state)
{
	struct conf *conf = good(V "  hostname a.test; log-level debug # a comment\n\tlog-format json;;\r\nrecipients\t\t 7");

	(void)state;
	assert_span_equal(text_of(conf, CONF_hostname), "a.test");
	assert_span_equal(text_of(conf, CONF_log_level), "debug");
	assert_span_equal(text_of(conf, CONF_log_format), "json");
	assert_int_equal(conf_u64(conf, CONF_recipients, NULL), 7);
	conf_free(&conf);
}

static void quotes_hold_anything_but_a_line_end(void **state)
{
	static const struct mistake rows[] = {
	    {V "hostname \"a.test\nlog-level debug", "c:2:10: the quote is not closed on this line"},
	    {V "hostname \"a.test", "c:2:10: the quote is not closed on this line"},
	    {V "hostname \"a\\\n", "c:2:10: the quote is not closed on this line"},
	    {V "hostname \"\\", "c:2:10: the quote is not closed on this line"},
	    {V "hostname \"a\xff\"", "c:2:1: hostname: the value is not UTF-8 text"},
	};
	struct conf *conf = good(V "hostname \" a;{}#\\\"\\\\\\b \"\nlog \"\"\npostmaster a#b\n");

	(void)state;
	assert_span_equal(text_of(conf, CONF_hostname), " a;{}#\"\\b ");
	assert_span_equal(text_of(conf, CONF_log), ""); /* set, to nothing */
	assert_span_equal(conf_origin(conf, CONF_log, NULL), "c:3");
	assert_span_equal(text_of(conf, CONF_postmaster), "a#b"); /* a comment begins where a word could */
	conf_free(&conf);
	CHECK_MISTAKES(rows);
}

/* A NUL is neither a blank nor text. */
static void a_nul_is_refused(void **state)
{
	static const char *const rows[][2] = {{"hostname a.te\001st\n", "hostname: the value is not UTF-8 text"},
	    {"hostname \"a.te\001st\"\n", "hostname: the value is not UTF-8 text"}, {"hostname\001a.test\n", "unknown setting"},
	    {"unlimited-from 10.0.0.1\00110.0.0.2\n", "unlimited-from: the value is not UTF-8 text"},
	    {"domain a\001b { }\n", "is not a domain name"},
	    {"listen imap on [::1\001]:143 { }\n", "is not an IP address"}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[128];
		size_t len = (size_t)snprintf(text, sizeof(text), "%s%s", V, rows[i][0]);
		struct conf *conf;
		struct err err;

		for (char *c = text; (c = strchr(c, '\001')) != NULL;)
			*c = '\0';
		if (conf_parse(span_of(text, len), "c", &conf, &err) == 0)
			fail_msg("accepted: %s", rows[i][0]);
		if (strstr(err.text, rows[i][1]) == NULL)
			fail_msg("%s", err.text);
	}
}

static void names_that_are_none(void **state)
{
	static const struct mistake rows[] = {
	    {V "mesage-size 1M\n", "c:2:1: unknown setting 'mesage-size'; did you mean 'message-size'?"},
	    {V "\n  quotas 5G", "c:3:3: unknown setting 'quotas'; did you mean 'quota'?"},
	    {V "log_level info", "c:2:1: unknown setting 'log_level'; did you mean 'log-level'?"},
	    {V "hostname a; \"log level\" x", "c:2:13: unknown setting 'log level'; did you mean 'log-level'?"},
	    {V "no-such-thing-at-all x", "c:2:1: unknown setting 'no-such-thing-at-all'"},
	    {V "Hostname x", "c:2:1: unknown setting 'Hostname'; did you mean 'hostname'?"},
	    {V "domain a.test {\n\tcatchall x\n}", "c:3:2: unknown setting 'catchall'; did you mean 'catch-all'?"},
	    {V "domain a.test {\n\tinclude x\n}", "c:3:2: unknown setting 'include'"},
	    {V "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa x",
		"c:2:1: unknown setting 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"},
	};

	(void)state;
	CHECK_MISTAKES(rows);
}

static void settings_where_they_may_not_stand(void **state)
{
	static const struct mistake rows[] = {
	    {V "catch-all a@b.test", "c:2:1: catch-all does not belong here but in a domain block"},
	    {V "domain a.test { hostname x }", "c:2:17: hostname does not belong here but at the top level"},
	    {V "listen smtp on 127.0.0.1:25 {\n\tquota 5G }", "c:3:2: quota does not belong here but at the top level or in a domain block"},
	    {V "domain a.test { message-size 1M }", "c:2:17: message-size does not belong here but at the top level or in a listen block"},
	};

	(void)state;
	CHECK_MISTAKES(rows);
}

static void values_that_are_missing_or_too_many(void **state)
{
	static const struct mistake rows[] = {
	    {V "hostname", "c:2:1: hostname needs a value"},
	    {V "hostname # x\n", "c:2:1: hostname needs a value"},
	    {V "hostname ; x\n", "c:2:1: hostname needs a value"},
	    {V "hostname a  b\n", "c:2:13: hostname takes one value; quote it if it has blanks"},
	    {V "tls certificate a", "c:2:1: write: tls certificate FILE key FILE"},
	    {V "tls key a certificate b", "c:2:1: write: tls certificate FILE key FILE"},
	    {V "tls", "c:2:1: write: tls certificate FILE key FILE"},
	    {V "include", "c:2:1: write: include \"conf.d/*.conf\""},
	    {V "include a", "c:2:1: write: include \"conf.d/*.conf\""}, /* text in memory has no directory */
	};
	struct conf *conf = good(V "tls certificate /c key /k\nunlimited-from 10.0.0.1   ::1\n");

	(void)state;
	assert_span_equal(text_of(conf, CONF_tls_certificate), "/c");
	assert_span_equal(text_of(conf, CONF_tls_key), "/k");
	assert_true(conf_in_networks(conf, CONF_unlimited_from, NULL, SPAN_LIT("::1")));
	conf_free(&conf);
	CHECK_MISTAKES(rows);
}

static void more_words_than_a_statement_has(void **state)
{
	char text[1000] = V "unlimited-from";
	struct conf *conf;

	(void)state;
	for (int i = 0; i < 63; i++)
		strcat(text, " ::");
	conf = good(text);
	conf_free(&conf);
	strcat(text, " ::");
	check_mistakes(&(struct mistake){text, "c:2:205: more than 64 words in one statement"}, 1);
}

static void nothing_is_set_twice(void **state)
{
	static const struct mistake rows[] = {
	    {V "hostname a\nlog info\nhostname a\n", "c:4:1: hostname is set twice; first at c:2"},
	    {V "tls-key a\ntls certificate b key c\n", "c:3:1: tls-key is set twice; first at c:2"},
	    {V "domain a.test {\n\tquota 1G\n\tquota 1G\n}", "c:4:2: quota is set twice; first at c:3"},
	    {V "domain a.test { }\ndomain b.test { }\ndomain A.Test { }", "c:4:1: there is a block for this already, at c:2"},
	    {V "listen smtp on [::1]:25 { }\nlisten imap on [::1]:25 { }", "c:3:1: there is a block for this already, at c:2"},
	};
	/* Other scopes are other places. */
	struct conf *conf = good(V "quota 1G\ndomain a.test { quota 2G }\ndomain b.test { quota 3G }\n");

	(void)state;
	assert_int_equal(conf_domain_count(conf), 2);
	conf_free(&conf);
	CHECK_MISTAKES(rows);
}

static void blocks_that_are_none(void **state)
{
	static const struct mistake rows[] = {
	    {V "{ }", "c:2:1: a brace without domain, listen or transport"},
	    {V "}", "c:2:1: a brace without domain, listen or transport"},
	    {V "hostname a { }", "c:2:12: only domain, listen and transport have a block"},
	    {V "domain a.test", "c:2:1: domain needs a block: { }"},
	    {V "domain a.test\n{ }", "c:2:1: domain needs a block: { }"},
	    {V "listen smtp on 127.0.0.1:25", "c:2:1: listen needs a block: { }"},
	    {V "domain a.test {\n  quota 5G\n", "c:2:1: the block that begins here is not closed with }"},
	    {V "domain a.test {\n{ } }", "c:3:1: a block inside a block"},
	    {V "domain a.test { domain b.test { } }", "c:2:31: only domain, listen and transport have a block"},
	    {V "domain { }", "c:2:1: write: domain NAME { }"},
	    {V "domain a b { }", "c:2:1: write: domain NAME { }"},
	    {V "domain \"\" { }", "c:2:1: write: domain NAME { }"},
	    {V "domain a_b.test { }", "c:2:8: 'a_b.test' is not a domain name"},
	    {V "domain \"a b\" { }", "c:2:8: 'a b' is not a domain name"},
	};

	(void)state;
	CHECK_MISTAKES(rows);
}

/* mailwain.conf(5): names outside ASCII are written as A-labels. */
static void domains_are_a_labels(void **state)
{
	static const struct mistake rows[] = {{V "domain b\xc3\xbc" "cher.test { }", "c:2:8: 'b\xc3\xbc" "cher.test' is not a domain name; write it as an A-label: xn--..."}};
	struct conf *conf = good(V "domain XN--bcher-KVA.Test { }");
	char text[400] = V "domain ", name[255];

	(void)state;
	assert_span_equal(conf_domain(conf, 0)->name, "xn--bcher-kva.test");
	conf_free(&conf);
	CHECK_MISTAKES(rows);
	/* RFC 1035 section 2.3.4, as text: 253. */
	memset(name, 'a', sizeof(name));
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.253s { }", name);
	conf = good(text);
	conf_free(&conf);
	snprintf(text, sizeof(text), "%sdomain %.254s { }", V, name);
	check_mistakes(&(struct mistake){text, "c:2:1: write: domain NAME { }"}, 1);
}

static void listeners(void **state)
{
	static const struct mistake rows[] = {
	    {V "listen smtp 127.0.0.1:25 { }", "c:2:1: write: listen SERVICE on ADDRESS:PORT { }"},
	    {V "listen smtp at 127.0.0.1:25 { }", "c:2:1: write: listen SERVICE on ADDRESS:PORT { }"},
	    {V "listen smpt on 127.0.0.1:25 { }",
		"c:2:8: unknown service 'smpt'; there are smtp, submission, submissions, imap, imaps and lmtp"},
	    {V "listen smtp on 127.0.0.1 { }", "c:2:16: the address needs a port: 0.0.0.0:25 or [::]:25"},
	    {V "listen smtp on 127.0.0.1:0 { }", "c:2:16: the address needs a port: 0.0.0.0:25 or [::]:25"},
	    {V "listen smtp on 127.0.0.1:65536 { }", "c:2:16: the address needs a port: 0.0.0.0:25 or [::]:25"},
	    {V "listen smtp on 127.0.0.1: { }", "c:2:16: the address needs a port: 0.0.0.0:25 or [::]:25"},
	    {V "listen smtp on localhost:25 { }", "c:2:16: 'localhost' is not an IP address"},
	    {V "listen smtp on :25 { }", "c:2:16: '' is not an IP address"},
	    {V "listen smtp on [::g]:25 { }", "c:2:16: '::g' is not an IP address"},
	    {V "listen smtp on 127.0.0.256:25 { }", "c:2:16: '127.0.0.256' is not an IP address"},
	};
	struct conf *conf = good(V "listen smtp on 127.0.0.1:65535 { }\nlisten imaps on [2001:db8::1]:993 { imap-timeout 5m }\n");
	const struct conf_listener *second = conf_listener(conf, 1);

	(void)state;
	assert_int_equal(conf_listener_count(conf), 2);
	assert_int_equal(conf_listener(conf, 0)->port, 65535);
	assert_span_equal(second->service, "imaps");
	assert_span_equal(second->address, "[2001:db8::1]:993");
	assert_span_equal(second->host, "2001:db8::1");
	assert_int_equal(second->port, 993);
	conf_free(&conf);
	CHECK_MISTAKES(rows);
}

/* Within a block on one line the next name ends a statement, however many blanks stand before it; nowhere else. */
static void blocks_on_one_line(void **state)
{
	static const struct mistake rows[] = {
	    {V "domain a.test { catch-all x quotas 5G }", "c:2:29: unknown setting 'quotas'; did you mean 'quota'?"},
	    {V "domain a.test { catch-all x  y }", "c:2:30: unknown setting 'y'"},
	    {V "domain a.test {\n catch-all x  quota 5G\n}", "c:3:15: catch-all takes one value; quote it if it has blanks"},
	};
	static const char *const forms[] = {V "domain a.test { catch-all x; quota 5G }", V "domain a.test { catch-all x  quota 5G }",
	    V "domain a.test { catch-all x quota 5G }", V "domain a.test { catch-all x\tquota 5G }", V "domain a.test {catch-all  x  quota  5G}", V "domain a.test {\n\tcatch-all x\n\tquota 5G\n}\n",
	    V "domain a.test { # comment }\n catch-all x; quota 5G }"};

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct conf *conf = good(forms[i]);
		struct conf_where where = {.domain = conf_domain(conf, 0)};

		assert_span_equal(conf_text(conf, CONF_catch_all, &where), "x");
		assert_int_equal(conf_u64(conf, CONF_quota, &where), UINT64_C(5) << 30);
		conf_free(&conf);
	}
	CHECK_MISTAKES(rows);
}

/* A list takes what comes up to the name of a setting. */
static void lists_in_a_block_on_one_line(void **state)
{
	struct conf *conf = good(V "listen smtp on 127.0.0.1:25 { unlimited-from 10.0.0.0/8 192.0.2.1 message-size 1M }");
	struct conf_where where = {.listener = conf_listener(conf, 0)};

	(void)state;
	assert_true(conf_in_networks(conf, CONF_unlimited_from, &where, SPAN_LIT("192.0.2.1")));
	assert_int_equal(conf_u64(conf, CONF_message_size, &where), 1 << 20);
	conf_free(&conf);
}

/* ---- files ---- */

static char directory[64];

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/conf-test-XXXXXX");
	return mkdtemp(directory) == NULL || chdir(directory) != 0 || mkdir("conf.d", 0700) != 0 || mkdir("conf.d/deep", 0700) != 0;
}

static int remove_directory(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return chdir("/") != 0 || system(command) != 0;
}

/* Loads `main` of the directory; the error without the directory's name, "" for none. */
static const char *load(struct conf **conf)
{
	static char text[ERR_TEXT_MAX];
	struct err err = {0};
	char path[128], *at;

	snprintf(path, sizeof(path), "%s/main", directory);
	if (conf_load(path, conf, &err) == 0)
		return "";
	assert_null(*conf);
	snprintf(text, sizeof(text), "%s", err.text);
	while ((at = strstr(text, directory)) != NULL)
		memmove(at, at + strlen(directory) + 1, strlen(at + strlen(directory) + 1) + 1);
	return text;
}

static void includes_are_read_in_the_order_of_their_names(void **state)
{
	struct conf *conf;
	struct conf_where where = {0};
	char want[128];

	(void)state;
	write_file("main", V "include \"conf.d/*.conf\"\ninclude \"nothing.d/*.conf\"\nlog-level debug\n");
	write_file("conf.d/20.conf", "domain b.test { quota 2G }\n");
	write_file("conf.d/10.conf", "domain a.test { quota 1G }\ninclude deep/more\ntls-key deep/key\n");
	write_file("conf.d/deep/more", V "tls-certificate cert.pem\ndata-directory /data\n");
	write_file("conf.d/30.other", "not looked at");
	assert_string_equal(load(&conf), "");
	assert_int_equal(conf_domain_count(conf), 2);
	where.domain = conf_domain_find(conf, SPAN_LIT("b.test"));
	where.listener = NULL;
	assert_int_equal(conf_u64(conf, CONF_quota, &where), UINT64_C(2) << 30);
	snprintf(want, sizeof(want), "%s/conf.d/20.conf:1", directory);
	assert_span_equal(conf_origin(conf, CONF_quota, &where), want);
	/* A path begins at the directory of the file it stands in. */
	snprintf(want, sizeof(want), "%s/conf.d/deep/cert.pem", directory);
	assert_span_equal(text_of(conf, CONF_tls_certificate), want);
	snprintf(want, sizeof(want), "%s/conf.d/deep/key", directory);
	assert_span_equal(text_of(conf, CONF_tls_key), want);
	assert_span_equal(text_of(conf, CONF_data_directory), "/data");
	conf_free(&conf);
	/* Of two that set the same, the one whose name comes later is at fault. */
	write_file("conf.d/20.conf", "log stderr\n");
	write_file("conf.d/10.conf", "log syslog\n");
	assert_string_equal(load(&conf), "conf.d/20.conf:1:1: log is set twice; first at conf.d/10.conf:1");
	write_file("conf.d/10.conf", "log-level info\n");
	assert_string_equal(load(&conf), "main:4:1: log-level is set twice; first at conf.d/10.conf:1");
	snprintf(want, sizeof(want), "%sinclude \"%s/conf.d/20.conf\"\n", V, directory);
	write_file("main", want);
	assert_string_equal(load(&conf), "");
	assert_span_equal(text_of(conf, CONF_log), "stderr");
	conf_free(&conf);
}

static void includes_that_go_wrong(void **state)
{
	struct conf *conf;
	char *big;

	(void)state;
	write_file("main", V "\ninclude missing.conf\n");
	assert_string_equal(load(&conf), "main:3:9: missing.conf does not exist");
	write_file("main", V "include main\n");
	assert_string_equal(load(&conf), "main:2:9: includes go deeper than 8 files");
	write_file("main", V "include conf.d\n");
	assert_string_equal(load(&conf), "conf.d: Is a directory");
	write_file("main", V "include a b\n");
	assert_string_equal(load(&conf), "main:2:1: write: include \"conf.d/*.conf\"");
	write_file("main", V "include conf.d/10.conf\n");
	write_file("conf.d/10.conf", "\n\n\n   hostnam x\n");
	assert_string_equal(load(&conf), "conf.d/10.conf:4:4: unknown setting 'hostnam'; did you mean 'hostname'?");
	assert_int_equal(unlink("main"), 0);
	assert_string_equal(load(&conf), "main: No such file or directory");
	/* A file has at most a megabyte. */
	big = malloc(1024 * 1024 + 2);
	assert_non_null(big);
	memset(big, '\n', 1024 * 1024 + 1);
	memcpy(big, V, strlen(V));
	big[1024 * 1024 + 1] = '\0';
	write_file("main", big);
	assert_string_equal(load(&conf), "main: larger than 1048576 bytes");
	big[1024 * 1024] = '\0';
	write_file("main", big);
	assert_string_equal(load(&conf), "");
	conf_free(&conf);
	free(big);
}

/* Eight files deep is allowed. */
static void includes_within_includes(void **state)
{
	char name[16], text[64];
	struct conf *conf;

	(void)state;
	for (int i = 1; i < 9; i++) {
		snprintf(name, sizeof(name), "%d", i);
		snprintf(text, sizeof(text), i < 8 ? "include %d\n" : "hostname x\n", i + 1);
		write_file(name, text);
	}
	write_file("main", V "include 2\n"); /* main, 2, ... 8: eight */
	assert_string_equal(load(&conf), "");
	assert_span_equal(text_of(conf, CONF_hostname), "x");
	conf_free(&conf);
	write_file("main", V "include 1\n");
	assert_string_equal(load(&conf), "7:1:9: includes go deeper than 8 files");
}

static void a_value_that_cannot_be_is_refused(void **state)
{
	static const struct mistake rows[] = {
	    {V "log-level wran\n", "c:2:1: log-level: 'wran' is none of: error | warn | info | debug"},
	    {V "log-level \"|\"\n", "c:2:1: log-level: '|' is none of: error | warn | info | debug"},
	    {V "durability strct\n", "c:2:1: durability: 'strct' is none of: normal | strict"},
	    {V "recipients 1001\n", "c:2:1: recipients: must be from 1 to 1000"},
	    {V "delivery-workers 0\n", "c:2:1: delivery-workers: must be from 1 to 10000"},
	    {V "recipients 5K\n", "c:2:1: recipients: '5K' is not a number"},
	    {V "message-size 4G\n", "c:2:1: message-size: must be from 1K to 4095M"},
	    {V "message-size 5m\n", "c:2:1: message-size: '5m' is not a size such as 500K, 10M or 5G"},
	    {V "smtp-timeout 5\n", "c:2:1: smtp-timeout: '5' is not a time such as 30s, 5m, 4h or 5d"},
	    {V "plus-addressing maybe\n", "c:2:1: plus-addressing: 'maybe' is neither yes nor no"},
	    {V "unlimited-from 192.0.2.0/33\n", "c:2:1: unlimited-from: '192.0.2.0/33' is not an address or a network such as 192.0.2.0/24"},
	    {V "header-size 1023\n", "c:2:1: header-size: must be at least 1K"},
	    {V "greeting-delay 61s\n", "c:2:1: greeting-delay: must be at most 1m"},
	    {V "stop-timeout 0s\n", "c:2:1: stop-timeout: must be from 1s to 1h"},
	};

	(void)state;
	CHECK_MISTAKES(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_value_that_cannot_be_is_refused),
	    cmocka_unit_test(the_version_comes_first),
	    cmocka_unit_test(statements_end_with_line_or_semicolon),
	    cmocka_unit_test(quotes_hold_anything_but_a_line_end),
	    cmocka_unit_test(a_nul_is_refused),
	    cmocka_unit_test(names_that_are_none),
	    cmocka_unit_test(settings_where_they_may_not_stand),
	    cmocka_unit_test(values_that_are_missing_or_too_many),
	    cmocka_unit_test(more_words_than_a_statement_has),
	    cmocka_unit_test(nothing_is_set_twice),
	    cmocka_unit_test(blocks_that_are_none),
	    cmocka_unit_test(domains_are_a_labels),
	    cmocka_unit_test(listeners),
	    cmocka_unit_test(blocks_on_one_line),
	    cmocka_unit_test(lists_in_a_block_on_one_line),
	    cmocka_unit_test_setup_teardown(includes_are_read_in_the_order_of_their_names, make_directory, remove_directory),
	    cmocka_unit_test_setup_teardown(includes_that_go_wrong, make_directory, remove_directory),
	    cmocka_unit_test_setup_teardown(includes_within_includes, make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
