/* mailwain-config: is the configuration right, and what does it come to? Reads the files itself; no daemon is asked. */
#include "base/clock.h"
#include "conf/conf.h"
#include "control/local.h"
#include "control/paths.h"
#include "control/table.h"
#include "master/alias_files.h"
#include "tls/certificate.h"
#include "tls/key.h"
#include "tls/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { SHOW_MAX = 4 * 1024 * 1024, WHERE_MAX = 300 };

static const char usage_text[] =
    "usage: mailwain [--root DIR] config VERB\n"
    "  check\n      Reads the configuration and the files it names, and tells the first error with its place.\n"
    "  show\n      Prints every setting that was given, includes taken in, with the place it comes from.\n"
    "  explain SETTING [--domain NAME | --listen ADDRESS:PORT | --transport PATTERN] [--json]\n"
    "      Tells a setting's value, where it comes from, its default and its meaning.\n"
    "  diff [--json]\n      Shows what differs from the defaults.\n";

struct request {
	struct instance instance;
	struct conf *conf;
	struct local_words words;
};

enum { OPTION_DOMAIN, OPTION_LISTEN, OPTION_TRANSPORT };

/* ---- check ---- */

/* -1: not opened, and *r says what is wrong, but for what root alone may do. */
static int open_path(const char *path, int flags, const char *name, struct span origin, int *r, struct err *err)
{
	int fd = open(path, flags | O_CLOEXEC), number = errno;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		fd = -1;
		number = EISDIR;
	}
	if (fd >= 0)
		return fd;
	if (number == EACCES && geteuid() != 0)
		fprintf(stderr, "mailwain: %s is not checked: only root may open %s\n", name, path);
	else
		*r = err_set_errno(err, number, "%.*s: %s %s", SPAN_ARG(origin), name, path);
	return -1;
}

/* An open file of the setting; -1: not set, or as above. */
static int open_file(const struct conf *conf, enum conf_setting setting, const struct conf_where *where, int *r, struct err *err)
{
	char path[4096];

	if (!conf_is_set(conf, setting, where) || *r != 0)
		return -1;
	span_copy(conf_text(conf, setting, where), path, sizeof(path));
	return open_path(path, O_RDONLY, conf_setting_info(setting)->name, conf_origin(conf, setting, where), r, err);
}

/* What keys will say of them at a reload. */
static int check_pair(int certificate_fd, int key_fd, struct err *err)
{
	struct tls_certificate certificate;
	struct tls_key *key = NULL;
	char warning[TLS_WARNING_MAX];
	int r = tls_certificate_read(certificate_fd, &certificate, err);

	if (r == 0 && key_fd >= 0)
		r = tls_key_read(key_fd, &key, err);
	if (r == 0 && key_fd >= 0)
		r = tls_certificate_check_key(&certificate, key, err);
	if (r == 0)
		r = tls_certificate_check_dates(&certificate, clock_wall(), err);
	if (r == 0 && tls_certificate_warning(&certificate, clock_wall(), warning))
		fprintf(stderr, "mailwain: warning: %s\n", warning);
	tls_key_free(&key);
	return r;
}

static int check_tls(const struct conf *conf, const struct conf_where *where, struct err *err)
{
	struct err why = {0};
	int r = 0;
	int certificate = open_file(conf, CONF_tls_certificate, where, &r, err), key = open_file(conf, CONF_tls_key, where, &r, err);

	if (r == 0 && certificate >= 0 && check_pair(certificate, key, &why) != 0)
		r = err_set(err, E_SYNTAX, "%.*s: %s", SPAN_ARG(conf_origin(conf, CONF_tls_key, where)), why.text);
	if (certificate >= 0)
		close(certificate);
	if (key >= 0)
		close(key);
	return r;
}

static int check_authorities(const struct conf *conf, struct err *err)
{
	const struct conf_where nowhere = {0};
	struct err why = {0};
	int r = 0, fd = open_file(conf, CONF_tls_client_authorities, &nowhere, &r, err);
	int lists = open_file(conf, CONF_tls_client_revocations, &nowhere, &r, err);
	int64_t ends = INT64_MAX;
	char date[TLS_DATE_MAX];

	if (r == 0 && fd >= 0 && tls_authorities_check(fd, lists, &ends, &why) != 0)
		r = err_set(err, E_SYNTAX, "%.*s: %s", SPAN_ARG(conf_origin(conf, CONF_tls_client_authorities, &nowhere)), why.text);
	if (r == 0 && ends < clock_wall())
		fprintf(stderr, "mailwain: warning: a list of tls-client-revocations is out of date since %s\n", tls_date(ends, date));
	if (fd >= 0)
		close(fd);
	if (lists >= 0)
		close(lists);
	return r;
}

/* What somebody logs in with at a smarthost: something in its first line. */
static int check_secret(const struct conf *conf, enum conf_setting setting, const struct conf_where *where, struct err *err)
{
	char first = '\n';
	int r = 0, fd = open_file(conf, setting, where, &r, err);

	if (fd >= 0 && (read(fd, &first, 1) != 1 || first == '\n' || first == '\r'))
		r = err_set(err, E_SYNTAX, "%.*s: %s: the file's first line is empty", SPAN_ARG(conf_origin(conf, setting, where)), conf_setting_info(setting)->name);
	explicit_bzero(&first, 1);
	if (fd >= 0)
		close(fd);
	return r;
}

/* Whom relay and fetch believe; without a file of one's own, the system's. */
static int check_believed(const struct conf *conf, enum conf_setting setting, struct err *err)
{
	struct err why = {0};
	int r = 0, fd = open_file(conf, setting, &(struct conf_where){0}, &r, err);

	if (fd >= 0 && tls_store_check(fd, conf_setting_info(setting)->name, &why) != 0)
		r = err_set(err, why.code, "%.*s: %s", SPAN_ARG(conf_origin(conf, setting, NULL)), why.text);
	if (fd >= 0)
		close(fd);
	return r;
}

/* What is in them their daemons say. */
static int check_files(const struct conf *conf, struct err *err)
{
	static const enum conf_setting files[] = {CONF_resolver_trust_anchor, CONF_oauth_client_secret};
	int r = 0;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && r == 0; i++) {
		int fd = open_file(conf, files[i], &(struct conf_where){0}, &r, err);

		if (fd >= 0)
			close(fd);
	}
	return r;
}

/* Name servers of the machine are taken over at each start and reload. */
static int check_resolver(const struct conf *conf, struct err *err)
{
	int r = 0, fd = -1;

	if (span_eq(conf_text(conf, CONF_resolver, NULL), SPAN_LIT("system")))
		fd = open_path("/etc/resolv.conf", O_RDONLY, "resolver system", conf_origin(conf, CONF_resolver, NULL), &r, err);
	if (fd >= 0)
		close(fd);
	return r;
}

/* A file that is not there yet is made by the start: its directory must be. */
static int check_log(const struct conf *conf, struct err *err)
{
	struct span target = conf_text(conf, CONF_log, NULL), origin = conf_origin(conf, CONF_log, NULL);
	char path[4096], *slash;
	struct stat st;
	int r = 0, fd = -1;

	if (!span_startswith(target, SPAN_LIT("file:")))
		return 0;
	span_copy(span_from(target, strlen("file:")), path, sizeof(path));
	slash = strrchr(path, '/'); /* it has one: conf_check */
	if (lstat(path, &st) != 0) {
		slash[slash == path] = '\0';
		if (access(path, F_OK) != 0 && errno != EACCES)
			r = err_set_errno(err, errno, "%.*s: log %s", SPAN_ARG(origin), path);
	} else if (!S_ISFIFO(st.st_mode)) {
		fd = open_path(path, O_WRONLY | O_APPEND | O_NOFOLLOW, "log", origin, &r, err);
	}
	if (fd >= 0)
		close(fd);
	return r;
}

static int check_logins(const struct conf *conf, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < conf_transport_count(conf) && r == 0; i++) {
		const struct conf_where where = {.transport = conf_transport(conf, i)};

		r = check_secret(conf, CONF_password_file, &where, err);
		if (r == 0)
			r = check_secret(conf, CONF_token_file, &where, err);
	}
	return r;
}

static int check_group(const struct conf *conf, struct err *err)
{
	struct span name = conf_text(conf, CONF_control_group, NULL);
	char text[64];

	snprintf(text, sizeof(text), "%.*s", SPAN_ARG(name));
	if (name.len == 0 || getgrnam(text) != NULL)
		return 0;
	return err_set(err, E_NOTFOUND, "%.*s: control-group: there is no group %s; groupadd(8) makes one",
	    SPAN_ARG(conf_origin(conf, CONF_control_group, NULL)), text);
}

/* Only when there is something for it to run. */
static int check_aliases_user(const struct conf *conf, struct err *err)
{
	char text[64];

	span_copy(conf_text(conf, CONF_aliases_user, NULL), text, sizeof(text));
	if (span_eq(conf_text(conf, CONF_aliases_allow, NULL), SPAN_LIT("none")) || getpwnam(text) != NULL)
		return 0;
	return err_set(err, E_NOTFOUND, "%.*s: aliases-user: there is no user %s", SPAN_ARG(conf_origin(conf, CONF_aliases_user, NULL)), text);
}

static int check_aliases(const struct conf *conf, struct err *err)
{
	struct alias_files files;
	char path[ALIAS_PATH_MAX];
	int r;

	if (!conf_is_set(conf, CONF_aliases, NULL))
		return 0;
	span_copy(conf_text(conf, CONF_aliases, NULL), path, sizeof(path));
	r = alias_files_read(path, &files, err);
	for (size_t i = 0; i < files.count && r == 0; i++)
		if (files.sources[i].err.code != 0)
			fprintf(stderr, "mailwain: warning: %s\n", files.sources[i].err.text);
	alias_files_free(&files);
	return r;
}

static int check(void *request)
{
	struct request *q = request;
	struct err err = {0};
	int r = conf_check(q->conf, q->instance.conf, &err);

	if (r == 0)
		r = check_tls(q->conf, &(struct conf_where){0}, &err);
	for (size_t i = 0; i < conf_domain_count(q->conf) && r == 0; i++)
		r = check_tls(q->conf, &(struct conf_where){.domain = conf_domain(q->conf, i)}, &err);
	if (r == 0)
		r = check_authorities(q->conf, &err);
	if (r == 0)
		r = check_believed(q->conf, CONF_relay_authorities, &err);
	if (r == 0)
		r = check_believed(q->conf, CONF_fetch_authorities, &err);
	if (r == 0)
		r = check_logins(q->conf, &err);
	if (r == 0)
		r = check_files(q->conf, &err);
	if (r == 0)
		r = check_resolver(q->conf, &err);
	if (r == 0)
		r = check_log(q->conf, &err);
	if (r == 0)
		r = check_aliases(q->conf, &err);
	if (r == 0)
		r = check_aliases_user(q->conf, &err);
	if (r == 0)
		r = check_group(q->conf, &err);
	if (r != 0)
		return local_fail(EX_CONFIG, err.text);
	printf("%s is right\n", q->instance.conf);
	return EX_OK;
}

/* ---- show ---- */

static int show(void *request)
{
	struct request *q = request;
	struct buf text;
	int r = EX_OK;

	buf_init(&text, SHOW_MAX);
	conf_dump(q->conf, &text);
	if (buf_failed(&text) || fwrite(buf_span(&text).ptr, 1, buf_len(&text), stdout) != buf_len(&text))
		r = EX_IOERR;
	buf_fini(&text);
	return r;
}

/* ---- scopes ---- */

static void where_text(const struct conf_where *where, char out[WHERE_MAX])
{
	out[0] = '\0';
	if (where->domain != NULL)
		snprintf(out, WHERE_MAX, "domain %.*s", SPAN_ARG(where->domain->name));
	else if (where->listener != NULL)
		snprintf(out, WHERE_MAX, "listen %.*s on %.*s", SPAN_ARG(where->listener->service), SPAN_ARG(where->listener->address));
	else if (where->transport != NULL)
		snprintf(out, WHERE_MAX, "transport %.*s", SPAN_ARG(where->transport->pattern));
}

static bool is_top(const struct conf_where *where)
{
	return where->domain == NULL && where->listener == NULL && where->transport == NULL;
}

/* Set in this scope itself, not taken over from the top level. */
static bool is_set_in(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	struct span above = is_top(where) ? SPAN_LIT("default") : conf_origin(conf, setting, NULL);

	return !span_eq(conf_origin(conf, setting, where), above);
}

/* Calls fn for the top level, then each block. */
static void each_scope(struct request *q, void (*fn)(struct request *q, const struct conf_where *where, void *arg), void *arg)
{
	fn(q, &(struct conf_where){0}, arg);
	for (size_t i = 0; i < conf_domain_count(q->conf); i++)
		fn(q, &(struct conf_where){.domain = conf_domain(q->conf, i)}, arg);
	for (size_t i = 0; i < conf_listener_count(q->conf); i++)
		fn(q, &(struct conf_where){.listener = conf_listener(q->conf, i)}, arg);
	for (size_t i = 0; i < conf_transport_count(q->conf); i++)
		fn(q, &(struct conf_where){.transport = conf_transport(q->conf, i)}, arg);
}

static json_t *json_text(struct span s)
{
	return json_stringn(s.len > 0 ? s.ptr : "", s.len);
}

static json_t *row_of(struct request *q, enum conf_setting setting, const struct conf_where *where)
{
	const struct conf_setting_info *info = conf_setting_info(setting);
	char in[WHERE_MAX];

	where_text(where, in);
	return json_pack("{s:s, s:s, s:o, s:s, s:o}", "setting", info->name, "in", in, "value",
	    json_text(conf_text(q->conf, setting, where)), "default", info->default_text, "origin",
	    json_text(conf_origin(q->conf, setting, where)));
}

static void print_json(json_t *row)
{
	char *text = row != NULL ? json_dumps(row, JSON_COMPACT) : NULL;

	if (text != NULL)
		puts(text);
	free(text);
}

/* ---- diff ---- */

struct difference {
	struct table *table;
	struct conf *defaults;
};

static bool differs(const struct conf *conf, const struct conf *defaults, enum conf_setting setting, const struct conf_where *where)
{
	switch (conf_setting_info(setting)->type) {
	case CONF_TYPE_NUMBER:
	case CONF_TYPE_SIZE:
	case CONF_TYPE_TIME:
	case CONF_TYPE_BOOL:
		return conf_u64(conf, setting, where) != conf_u64(defaults, setting, NULL);
	default:
		return !span_eq(conf_text(conf, setting, where), conf_text(defaults, setting, NULL));
	}
}

static void diff_scope(struct request *q, const struct conf_where *where, void *arg)
{
	struct difference *d = arg;

	for (size_t i = 0; i < CONF_COUNT; i++) {
		enum conf_setting setting = (enum conf_setting)i;
		json_t *row;
		char *text;

		if (!is_set_in(q->conf, setting, where) || !differs(q->conf, d->defaults, setting, where))
			continue;
		row = row_of(q, setting, where);
		text = row != NULL ? json_dumps(row, JSON_COMPACT) : NULL;
		if (text != NULL && q->words.json)
			puts(text);
		else if (text != NULL)
			table_add(d->table, span_str(text));
		free(text);
		json_decref(row);
	}
}

static int diff(void *request)
{
	struct request *q = request;
	struct difference d = {.table = table_new()};
	struct err err;
	int r = EX_OSERR;

	if (d.table != NULL && conf_parse(SPAN_LIT("config-version 1\n"), "defaults", &d.defaults, &err) == 0) {
		each_scope(q, diff_scope, &d);
		table_print(d.table, stdout);
		r = EX_OK;
	}
	conf_free(&d.defaults);
	table_free(&d.table);
	return r;
}

/* ---- explain ---- */

static void print_place(struct request *q, enum conf_setting setting, const struct conf_where *where)
{
	struct span value = conf_text(q->conf, setting, where), origin = conf_origin(q->conf, setting, where);

	if (span_eq(origin, SPAN_LIT("default")))
		printf("%s%.*s, which is the default\n", value.len > 0 ? "" : "not set", SPAN_ARG(value));
	else
		printf("%.*s, from %.*s\n", SPAN_ARG(value), SPAN_ARG(origin));
}

static void print_kind(enum conf_setting setting)
{
	static const char *const types[] = {"A text", NULL, "A number", "A size such as 500K, 10M or 5G", "A time such as 30s, 5m, 4h or 5d", "yes or no",
	    "Addresses and networks with blanks between them", "A path", "Items with blanks between them"};
	const struct conf_setting_info *info = conf_setting_info(setting);
	size_t dash = strcspn(info->values, "-");
	char places[CONF_PLACES];

	if (info->type == CONF_TYPE_WORD)
		printf("One of: %s", info->values);
	else
		fputs(types[info->type], stdout);
	if (info->type == CONF_TYPE_LIST && info->values[0] != '\0')
		printf(", of: %s", info->values);
	else if (info->type != CONF_TYPE_WORD && info->values[0] != '\0') {
		if (dash > 0)
			printf(", at least %.*s", (int)dash, info->values);
		if (info->values[dash + 1] != '\0')
			printf(", at most %s", info->values + dash + 1);
	}
	conf_places(info->scopes, places);
	printf("; stands %s.\n", places);
}

static void explain_block(struct request *q, const struct conf_where *where, void *arg)
{
	enum conf_setting setting = *(enum conf_setting *)arg;
	char in[WHERE_MAX];

	if (is_top(where) || !is_set_in(q->conf, setting, where))
		return;
	where_text(where, in);
	printf("    in %s: ", in);
	print_place(q, setting, where);
}

static void explain_as_text(struct request *q, enum conf_setting setting, const struct conf_where *where)
{
	const struct conf_setting_info *info = conf_setting_info(setting);

	printf("%s: ", info->name);
	print_place(q, setting, where);
	if (is_top(where))
		each_scope(q, explain_block, &setting);
	if (!span_eq(conf_origin(q->conf, setting, where), SPAN_LIT("default")))
		printf("    Default: %s\n", info->default_text[0] != '\0' ? info->default_text : "not set");
	printf("    %s\n    ", info->sentence);
	print_kind(setting);
}

static const struct conf_listener *find_listener(const struct conf *conf, struct span address)
{
	for (size_t i = 0; i < conf_listener_count(conf); i++)
		if (span_eq(conf_listener(conf, i)->address, address))
			return conf_listener(conf, i);
	return NULL;
}

/* The block that was asked for; the top level when none was. */
static int find_where(struct request *q, struct conf_where *where)
{
	static const char *const kinds[] = {[OPTION_DOMAIN] = "domain", [OPTION_LISTEN] = "listen ... on", [OPTION_TRANSPORT] = "transport"};
	size_t kind = 0;
	const char *name;

	while (kind < OPTION_TRANSPORT && q->words.options[kind] == NULL)
		kind++;
	name = q->words.options[kind];
	if (name != NULL && kind == OPTION_DOMAIN)
		where->domain = conf_domain_find(q->conf, span_str(name));
	else if (name != NULL && kind == OPTION_LISTEN)
		where->listener = find_listener(q->conf, span_str(name));
	else if (name != NULL)
		where->transport = conf_transport_find(q->conf, span_str(name));
	if (name == NULL || !is_top(where))
		return EX_OK;
	fprintf(stderr, "mailwain: the configuration has no block %s %s: what holds there is what stands at the top level\n", kinds[kind], name);
	return EX_DATAERR;
}

static int explain(void *request)
{
	struct request *q = request;
	struct conf_where where = {0};
	enum conf_setting setting;
	const char *near = NULL;
	json_t *row;

	if (!conf_setting_find(span_str(q->words.argument), &setting, &near)) {
		fprintf(stderr, "mailwain: there is no setting '%s'%s%s%s\n", q->words.argument, near != NULL ? "; did you mean '" : "",
		    near != NULL ? near : "", near != NULL ? "'?" : "; mailwain.conf(5) has all");
		return EX_DATAERR;
	}
	if (find_where(q, &where) != EX_OK)
		return EX_DATAERR;
	if (!q->words.json) {
		explain_as_text(q, setting, &where);
		return EX_OK;
	}
	row = row_of(q, setting, &where);
	if (row != NULL)
		json_object_set_new(row, "meaning", json_string(conf_setting_info(setting)->sentence));
	print_json(row);
	json_decref(row);
	return EX_OK;
}

/* ---- the command ---- */

static const struct local_verb verbs[] = {
    {"check", NULL, false, check},
    {"show", NULL, false, show},
    {"explain", "setting", true, explain},
    {"diff", NULL, true, diff},
    {0},
};

static const struct local_command command = {.noun = "config",
    .usage = usage_text,
    .verbs = verbs,
    .options = {[OPTION_DOMAIN] = "--domain", [OPTION_LISTEN] = "--listen", [OPTION_TRANSPORT] = "--transport"}};

int main(int argc, char **argv)
{
	struct request q = {0};
	struct err err = {0};
	int r;
	const struct local_verb *verb = local_parse(&command, argc, argv, &q.words, &r);

	if (verb == NULL)
		return r;
	if (instance_find(&q.instance, q.words.root, &err) != 0)
		return local_fail(EX_USAGE, err.text);
	if (conf_load(q.instance.conf, &q.conf, &err) != 0)
		return local_fail(EX_CONFIG, err.text);
	r = verb->run(&q);
	conf_free(&q.conf);
	return r;
}
