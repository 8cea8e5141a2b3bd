/* The configuration from files: what they include, and the place of what is wrong in them. */
#include "tests/unit/test.h"

#include "conf/conf.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION "config-version 1\n"

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
	/* What conf_dump writes for daemons means nothing in a file. */
	write_file("main.conf", VERSION "#@ elsewhere:9\nhostname a\n");
	assert_int_equal(conf_load("main.conf", &conf, &err), 0);
	assert_span_equal(conf_origin(conf, CONF_hostname, NULL), "main.conf:3");
	conf_free(&conf);
	assert_int_equal(chdir("/"), 0);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(files_include_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
