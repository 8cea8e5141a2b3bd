#include "auth/export.h"

#include "auth/address.h"
#include "auth/app.h"
#include "auth/hash.h"
#include "auth/standing.h"
#include "base/log.h"
#include "net/control.h"
#include "sasl/sasl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

/* ---- export ---- */

static int export_account(void *arg, const struct account *a)
{
	struct buf *out = arg;

	buf_printf(out, "account %s id=%llu", a->address, (unsigned long long)a->id);
	if (a->quota != UINT64_MAX)
		buf_printf(out, " quota=%llu", (unsigned long long)a->quota);
	if (a->disabled)
		buf_add_str(out, " disabled");
	if (a->system)
		buf_add_str(out, " system");
	if (a->senders[0]) {
		buf_add_str(out, " senders=");
		for (const char *c = a->senders; *c != '\0'; c++)
			buf_add_char(out, *c == ' ' ? ',' : *c);
	}
	if (a->credentials.hash[0])
		buf_printf(out, " hash=%s", a->credentials.hash);
	if (a->credentials.scram_sha_1[0])
		buf_printf(out, " scram=%s", a->credentials.scram_sha_1);
	if (a->credentials.scram_sha_256[0])
		buf_printf(out, " scram=%s", a->credentials.scram_sha_256);
	if (a->name[0])
		buf_printf(out, " name=%s", a->name); /* last: it may hold blanks */
	buf_add_char(out, '\n');
	return 0;
}

/* When and from where it was last used is no part of what the directory says. */
struct export_apps {
	struct directory *directory;
	struct buf *out;
	const char *address;
};

static int export_app(void *arg, const struct app_password *app)
{
	struct export_apps *e = arg;

	buf_printf(e->out, "app-password %s protocols=", e->address);
	app_protocols_format(app->protocols, e->out);
	buf_printf(e->out, " created=%lld hash=", (long long)app->created);
	app_hash_format(app, e->out);
	buf_printf(e->out, " name=%s\n", app->label); /* last: it may hold blanks */
	return 0;
}

static int export_apps(void *arg, const struct account *account)
{
	struct export_apps *e = arg;

	e->address = account->address;
	return directory_app_each(e->directory, account->id, export_app, e);
}

static int export_alias(void *arg, struct span address, struct span targets)
{
	struct buf *out = arg;

	buf_printf(out, "alias %.*s", SPAN_ARG(address));
	while (targets.len > 0) {
		size_t end = span_find(targets, '\0');

		buf_printf(out, " %.*s", SPAN_ARG(span_sub(targets, 0, end)));
		targets = span_from(targets, end + 1);
	}
	buf_add_char(out, '\n');
	return 0;
}

static int export_domain(void *arg, struct span name)
{
	buf_printf(arg, "domain %.*s\n", SPAN_ARG(name));
	return 0;
}

static int first_of(int before, int now)
{
	return before != 0 ? before : now;
}

/* All that can be read; not 0: it is not all. */
static int export_all(struct directory *d, struct buf *out)
{
	struct export_apps apps = {.directory = d, .out = out};
	int r;

	buf_add_str(out, "# mailwain directory 1\n");
	r = directory_domain_each(d, export_domain, out);
	r = first_of(r, directory_account_each(d, export_account, out));
	r = first_of(r, directory_account_each(d, export_apps, &apps));
	r = first_of(r, directory_alias_each(d, export_alias, out));
	return r == 0 && directory_is_damaged(d) ? E_CORRUPT : r;
}

void directory_export(struct request *q)
{
	struct buf out;
	int r;

	buf_init(&out, CONTROL_INPUT_MAX);
	r = export_all(q->auth->directory, &out);
	control_reply_text(q->reply, buf_span(&out));
	if (buf_failed(&out))
		control_reply_done(q->reply, EX_SOFTWARE, "the directory is larger than %d bytes", CONTROL_INPUT_MAX);
	else
		request_listed(q, r, "");
	buf_fini(&out);
}

/* ---- import ---- */

static struct span next_word(struct span *line)
{
	struct span rest = span_trim(*line);
	size_t end = span_find(rest, ' ');

	*line = span_from(rest, end);
	return span_sub(rest, 0, end);
}

/* A hash that a login could be checked against, or keys of SCRAM: 0. E_SYNTAX: neither; E_TOOBIG: it could, but at what cost. */
static int take_credential(struct span word, struct credentials *out)
{
	struct scram_keys keys;
	int r;

	if (span_startswith(word, SPAN_LIT("hash=")) && word.len <= DIRECTORY_HASH_MAX && hash_is_known(span_from(word, 5))) {
		struct hash_cost cost;

		span_copy(span_from(word, 5), out->hash, sizeof(out->hash));
		cost = hash_cost(out->hash, HASH_PASSWORD_USUAL);
		return hash_is_bearable(&cost) ? 0 : E_TOOBIG;
	}
	if (!span_startswith(word, SPAN_LIT("scram=")))
		return E_SYNTAX;
	r = scram_parse(span_from(word, 6), &keys);
	if (r == 0)
		scram_format(&keys, keys.size == 20 ? out->scram_sha_1 : out->scram_sha_256);
	return r;
}

static int take_senders(struct span list, struct account *account, struct err *err)
{
	struct span words[DIRECTORY_SENDERS_MAX / 4];
	size_t count = 0;

	while (list.len > 0 && count < sizeof(words) / sizeof(words[0])) {
		size_t end = span_find(list, ',');

		words[count++] = span_sub(list, 0, end);
		list = span_from(list, end + 1);
	}
	return list.len > 0 ? err_set(err, E_TOOBIG, "there are too many senders") : senders_set(account, words, count, err);
}

/* One word of an account's line. */
static int take_word(struct span word, struct account *account, struct err *err)
{
	int r;

	if (span_startswith(word, SPAN_LIT("id=")) && span_u64(span_from(word, 3), INT64_MAX, &account->id) && account->id > 0)
		return 0;
	if (span_startswith(word, SPAN_LIT("quota=")) && conf_parse_size(span_from(word, 6), &account->quota))
		return 0;
	if (span_startswith(word, SPAN_LIT("senders=")))
		return take_senders(span_from(word, 8), account, err);
	if (span_eq(word, SPAN_LIT("disabled"))) {
		account->disabled = true;
		return 0;
	}
	if (span_eq(word, SPAN_LIT("system"))) {
		account->system = true;
		return 0;
	}
	r = take_credential(word, &account->credentials);
	if (r == E_NOMEM)
		return err_set(err, r, "out of memory");
	if (r == E_TOOBIG)
		return err_set(err, r, "the hash of %s costs a log-in more than %.1f s or %d MiB, at today's hash in %.1f s; leave it out and give the account a new password",
		    account->address, HASH_MS_MAX / 1000.0, HASH_MIB_MAX, HASH_MS_TODAYS / 1000.0);
	return r == 0 ? 0 : err_set(err, E_SYNTAX, "'%.*s' is not understood", SPAN_ARG(span_sub(word, 0, 60)));
}

static int import_account(struct auth *auth, struct span line, struct err *err)
{
	struct account account = {.quota = UINT64_MAX}, before;
	int r = address_canonical(next_word(&line), account.address, err);
	bool known = r == 0 && directory_account_get(auth->directory, span_str(account.address), &before) == 0;

	if (r == 0)
		r = address_check(account.address, err);
	while (r == 0 && span_trim(line).len > 0) {
		struct span all = span_trim(line), word = next_word(&line);

		if (span_startswith(all, SPAN_LIT("name="))) {
			if (!account_set_name(&account, span_from(all, 5)))
				r = err_set(err, E_SYNTAX, "the name has control characters, or more than %d octets", DIRECTORY_NAME_MAX);
			break;
		}
		r = take_word(word, &account, err);
	}
	if (r == 0 && known) {
		account.id = before.id;
		account.created = before.created;
		return directory_account_put(auth->directory, &account, err);
	}
	return r == 0 ? directory_account_add(auth->directory, &account, err) : r;
}

static int import_app(struct auth *auth, struct span line, struct err *err)
{
	struct app_password app = {0}, before;
	char address[DIRECTORY_ADDRESS_MAX + 1];
	struct account account;
	uint64_t created = 0;
	bool hashed = false;
	int r = address_canonical(next_word(&line), address, err);

	if (r == 0 && directory_account_get(auth->directory, span_str(address), &account) != 0)
		r = err_set(err, E_SYNTAX, "there is no account %s for it", address);
	while (r == 0 && span_trim(line).len > 0) {
		struct span all = span_trim(line), word = next_word(&line);

		if (span_startswith(all, SPAN_LIT("name=")) && app_label_check(span_from(all, 5))) {
			span_copy(span_from(all, 5), app.label, sizeof(app.label));
			break;
		} else if (span_startswith(word, SPAN_LIT("protocols=")) && word.len > 10 && app_protocols_parse(span_from(word, 10), &app.protocols))
			continue;
		else if (span_startswith(word, SPAN_LIT("created=")) && span_u64(span_from(word, 8), INT64_MAX, &created))
			continue;
		else if (span_startswith(word, SPAN_LIT("hash=")) && app_hash_parse(span_from(word, 5), &app))
			hashed = true;
		else
			r = err_set(err, E_SYNTAX, "'%.*s' is not understood", SPAN_ARG(span_sub(word, 0, 60)));
	}
	if (r == 0 && (!hashed || app.protocols == 0 || app.label[0] == '\0'))
		r = err_set(err, E_SYNTAX, "an app password has protocols=, hash= and name=");
	if (r != 0)
		return r;
	app.created = (int64_t)created;
	if (directory_app_get(auth->directory, account.id, span_str(app.label), &before) == 0) {
		app.used = before.used;
		memcpy(app.from, before.from, sizeof(app.from));
	}
	return directory_app_put(auth->directory, account.id, &app, true, err);
}

static int import_alias(struct auth *auth, struct span line, struct err *err)
{
	char address[DIRECTORY_ADDRESS_MAX + 1];
	struct span targets[DIRECTORY_TARGETS_MAX];
	struct buf packed;
	size_t count = 0;
	int r = address_canonical(next_word(&line), address, err);

	if (r == 0)
		r = address_check(address, err);
	while (r == 0 && span_trim(line).len > 0 && count < DIRECTORY_TARGETS_MAX)
		targets[count++] = next_word(&line);
	if (r == 0 && count == 0)
		r = err_set(err, E_SYNTAX, "an alias needs a target");
	if (r == 0 && span_trim(line).len > 0)
		r = err_set(err, E_TOOBIG, "an alias has at most %d targets", DIRECTORY_TARGETS_MAX);
	buf_init(&packed, DIRECTORY_ALIAS_MAX);
	if (r == 0)
		r = addresses_canonical(targets, count, &packed, err);
	if (r == 0)
		r = directory_alias_put(auth->directory, span_str(address), buf_span(&packed), true, err);
	buf_fini(&packed);
	return r;
}

static int import_line(struct auth *auth, struct span line, struct err *err)
{
	char name[DIRECTORY_ADDRESS_MAX + 1];
	struct span kind = next_word(&line);
	int r;

	if (kind.len == 0 || kind.ptr[0] == '#')
		return 0;
	if (span_eq(kind, SPAN_LIT("account")))
		return import_account(auth, line, err);
	if (span_eq(kind, SPAN_LIT("app-password")))
		return import_app(auth, line, err);
	if (span_eq(kind, SPAN_LIT("alias")))
		return import_alias(auth, line, err);
	if (!span_eq(kind, SPAN_LIT("domain")))
		return err_set(err, E_SYNTAX, "a line begins with domain, account, app-password or alias");
	r = domain_canonical(next_word(&line), name, err);
	if (r == 0 && directory_domain_has(auth->directory, span_str(name)) != 1)
		r = directory_domain_add(auth->directory, span_str(name), err);
	return r;
}

/* With --replace: everything the text does not name goes. Ids of accounts that it names stay. */
struct sweep {
	struct directory *directory;
	struct buf lines; /* "account ADDRESS", "app-password ADDRESS LABEL", "alias ADDRESS", "domain NAME" of the text, canonical, each ended by NUL */
	const char *address; /* whose app passwords are looked at */
	const char **named; /* they, sorted */
	size_t count, removed;
	struct buf gone; /* the same of what the text does not name */
};

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct span label_of(struct span line)
{
	for (; span_trim(line).len > 0; next_word(&line))
		if (span_startswith(span_trim(line), SPAN_LIT("name=")))
			return span_from(span_trim(line), 5);
	return span_str("");
}

/* What is malformed is left to import_line, which refuses it. */
static void sweep_read(struct sweep *s, struct span line)
{
	char key[DIRECTORY_ADDRESS_MAX + 1];
	struct span kind = next_word(&line), name = next_word(&line);
	int r = span_eq(kind, SPAN_LIT("domain")) ? domain_canonical(name, key, NULL) : address_canonical(name, key, NULL);

	if (r != 0)
		return;
	buf_printf(&s->lines, "%.*s %s", SPAN_ARG(kind), key);
	if (span_eq(kind, SPAN_LIT("app-password")))
		buf_printf(&s->lines, " %.*s", SPAN_ARG(label_of(line)));
	buf_add_char(&s->lines, '\0');
	s->count++;
}

static int sweep_sort(struct sweep *s, struct err *err)
{
	const char *at = buf_span(&s->lines).ptr;

	s->named = reallocarray(NULL, s->count + 1, sizeof(*s->named));
	if (s->named == NULL || buf_failed(&s->lines))
		return err_set(err, E_NOMEM, "no memory for the names in the text");
	for (size_t i = 0; i < s->count; i++, at += strlen(at) + 1)
		s->named[i] = at;
	qsort(s->named, s->count, sizeof(*s->named), compare_lines);
	return 0;
}

static void sweep_look(struct sweep *s, const char *kind, struct span key)
{
	char text[DIRECTORY_ADDRESS_MAX + DIRECTORY_LABEL_MAX + 16];
	const char *line = text;

	snprintf(text, sizeof(text), "%s %.*s", kind, SPAN_ARG(key));
	if (bsearch(&line, s->named, s->count, sizeof(*s->named), compare_lines) == NULL)
		buf_add(&s->gone, line, strlen(line) + 1);
}

static int sweep_account(void *arg, const struct account *account)
{
	sweep_look(arg, "account", span_str(account->address));
	return 0;
}

static int sweep_app(void *arg, const struct app_password *app)
{
	struct sweep *s = arg;
	char key[DIRECTORY_ADDRESS_MAX + DIRECTORY_LABEL_MAX + 2];
	int n = snprintf(key, sizeof(key), "%s %s", s->address, app->label);

	sweep_look(s, "app-password", span_of(key, (size_t)n));
	return 0;
}

static int sweep_apps(void *arg, const struct account *account)
{
	struct sweep *s = arg;

	s->address = account->address;
	return directory_app_each(s->directory, account->id, sweep_app, s);
}

static int sweep_alias(void *arg, struct span address, struct span targets)
{
	(void)targets;
	sweep_look(arg, "alias", address);
	return 0;
}

static int sweep_domain(void *arg, struct span name)
{
	sweep_look(arg, "domain", name);
	return 0;
}

static int remove_app(struct directory *d, struct span key, struct err *err)
{
	struct account account;
	struct span address = next_word(&key);

	if (directory_account_get(d, address, &account) != 0)
		return err_set(err, E_IO, "the directory cannot be read for %.*s", SPAN_ARG(address));
	return directory_app_remove(d, account.id, span_trim(key), err);
}

static int sweep_remove(struct directory *d, struct span line, struct err *err)
{
	struct span kind = next_word(&line), key = span_trim(line);

	if (span_eq(kind, SPAN_LIT("app-password")))
		return remove_app(d, key, err);

	return span_eq(kind, SPAN_LIT("account")) ? directory_account_remove(d, key, err)
	       : span_eq(kind, SPAN_LIT("alias")) ? directory_alias_remove(d, key, err)
						  : directory_domain_remove(d, key, err);
}

/* First all is looked at, then removed: a walk does not stand what is removed under it. */
static int sweep_all(struct directory *d, struct sweep *s, struct err *err)
{
	struct span rest;
	int r = sweep_sort(s, err);

	if (r != 0)
		return r;
	directory_account_each(d, sweep_apps, s); /* before the accounts, with which they go */
	directory_account_each(d, sweep_account, s);
	directory_alias_each(d, sweep_alias, s);
	directory_domain_each(d, sweep_domain, s);
	if (buf_failed(&s->gone))
		return err_set(err, E_NOMEM, "no memory for what is to be removed");
	for (rest = buf_span(&s->gone); rest.len > 0 && r == 0;) {
		size_t end = span_find(rest, '\0');

		r = sweep_remove(d, span_sub(rest, 0, end), err);
		rest = span_from(rest, end + 1);
		s->removed++;
	}
	return r;
}

static int import_sweep(struct directory *d, struct span text, size_t *removed, struct err *err)
{
	struct sweep s = {.directory = d};
	int r;

	buf_init(&s.lines, 2 * (size_t)CONTROL_INPUT_MAX);
	buf_init(&s.gone, CONTROL_INPUT_MAX);
	while (text.len > 0) {
		size_t end = span_find(text, '\n');

		sweep_read(&s, span_sub(text, 0, end));
		text = span_from(text, end + 1);
	}
	r = sweep_all(d, &s, err);
	*removed = s.removed;
	free(s.named);
	buf_fini(&s.lines);
	buf_fini(&s.gone);
	return r;
}

static int count_one(void *arg, const struct account *account)
{
	(void)account;
	++*(unsigned *)arg;
	return 0;
}

/* A file that an export left empty, for instance: nobody means that. Gives the number of accounts that would go. */
static unsigned would_remove_all(struct auth *auth, struct span text)
{
	unsigned count = 0;

	while (text.len > 0) {
		size_t end = span_find(text, '\n');
		struct span line = span_sub(text, 0, end);

		if (span_eq(next_word(&line), SPAN_LIT("account")))
			return 0;
		text = span_from(text, end + 1);
	}
	directory_account_each(auth->directory, count_one, &count);
	return count;
}

void directory_import(struct auth *auth, struct control_reply *reply, struct span text, bool replace, bool all)
{
	unsigned lost = replace && !all ? would_remove_all(auth, text) : 0;
	struct standings standings;
	struct err err = {0};
	unsigned number = 0, done = EX_OK;
	const char *but = "";
	size_t removed = 0;
	int r;

	if (lost > 0) {
		control_reply_done(reply, EX_DATAERR, "the text names no account: all %u would be removed; if that is meant give --all", lost);
		return;
	}
	r = standings_take(auth, &standings) == E_NOMEM ? err_set(&err, E_NOMEM, "no memory to compare the accounts") : directory_begin(auth->directory, &err);
	if (r == 0 && replace)
		r = import_sweep(auth->directory, text, &removed, &err);
	while (r == 0 && text.len > 0) {
		size_t end = span_find(text, '\n');

		number++;
		r = import_line(auth, span_sub(text, 0, end), &err);
		text = span_from(text, end + 1);
	}
	if (r == 0)
		r = directory_commit(auth->directory, &err);
	if (r != 0) {
		standings_fini(&standings);
		directory_abort(auth->directory);
		if (number > 0)
			control_reply_done(reply, err_is_temp(r) ? EX_TEMPFAIL : EX_DATAERR, "line %u: %s; nothing was changed", number, err.text);
		else
			control_reply_done(reply, EX_TEMPFAIL, "%s; nothing was changed", err.text);
		return;
	}
	log_event(EV_auth_directory_changed, daemon_log(auth->daemon), F_STR("change", "import"), F_U64("lines", number),
	    F_U64("removed", removed));
	auth_changed(auth);
	if (!standings_end(&standings)) {
		done = EX_TEMPFAIL;
		but = REQUEST_UNTOLD;
	}
	if (replace)
		control_reply_done(reply, done, "%u lines imported, %zu entries removed%s", number, removed, but);
	else
		control_reply_done(reply, done, "%u lines imported%s", number, but);
}
