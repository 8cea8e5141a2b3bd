/* The control requests about accounts, aliases and domains. */
#include "auth/export.h"

#include "auth/address.h"
#include "auth/request.h"
#include "auth/system.h"
#include "base/json.h"
#include "base/log.h"
#include "net/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

unsigned request_exit(int code)
{
	switch (code) {
	case 0:
		return EX_OK;
	case E_SYNTAX:
	case E_LOOP:
		return EX_DATAERR;
	case E_NOTFOUND:
		return EX_NOUSER;
	case E_EXISTS:
		return EX_CANTCREAT;
	default:
		return err_is_temp(code) ? EX_TEMPFAIL : EX_DATAERR;
	}
}

void request_failed(struct request *q, int code, const struct err *err)
{
	control_reply_done(q->reply, request_exit(code), "%s", err->text);
}

void request_changed(struct request *q, const char *change, const char *object)
{
	auth_changed(q->auth);
	log_event(EV_auth_directory_changed, daemon_log(q->auth->daemon), F_STR("kind", q->kind), F_STR("change", change),
	    F_STR("object", object));
}

void request_kick(struct request *q)
{
	q->untold = !auth_kick(q->auth, q->account.id);
}

unsigned request_done_exit(const struct request *q)
{
	return q->untold ? EX_TEMPFAIL : EX_OK;
}

const char *request_done_but(const struct request *q)
{
	return q->untold ? REQUEST_UNTOLD : "";
}

void request_done(struct request *q, int code, const struct err *err, const char *what, const char *words, const char *object)
{
	if (code != 0) {
		request_failed(q, code, err);
		return;
	}
	request_changed(q, what, object);
	control_reply_done(q->reply, request_done_exit(q), "%s %s%s", object, words != NULL ? words : what, request_done_but(q));
}

void request_listed(struct request *q, int code, const char *none)
{
	if (code == E_CORRUPT)
		control_reply_done(q->reply, EX_DATAERR, "records are damaged: not all is here");
	else if (code != 0)
		control_reply_done(q->reply, request_exit(code), "not all could be read: %s", err_text(code));
	else
		control_reply_done(q->reply, EX_OK, "%s", q->rows > 0 ? "" : none);
}

struct span request_option(const struct request *q, const char *name)
{
	for (size_t i = 2; i + 1 < q->count; i++)
		if (span_eq(q->args[i], span_str(name)))
			return q->args[i + 1];
	return span_str("");
}

static bool has_flag(const struct request *q, const char *name)
{
	for (size_t i = 2; i < q->count; i++)
		if (span_eq(q->args[i], span_str(name)))
			return true;
	return false;
}

static void row_account(struct control_reply *reply, struct auth *auth, const struct account *a)
{
	struct buf row;

	buf_init(&row, 8192);
	buf_add_str(&row, "{\"address\":");
	json_add_string(&row, span_str(a->address));
	buf_printf(&row, ",\"id\":%llu,\"quota\":%llu,\"disabled\":%s,\"password\":%s,\"system\":%s,\"created\":%lld,\"name\":",
	    (unsigned long long)a->id, (unsigned long long)auth_quota(auth, a), a->disabled ? "true" : "false",
	    a->credentials.hash[0] ? "true" : "false", a->system ? "true" : "false", (long long)a->created);
	json_add_string(&row, span_str(a->name));
	buf_add_str(&row, ",\"senders\":");
	json_add_string(&row, span_str(a->senders));
	buf_add_char(&row, '}');
	control_reply_row(reply, buf_span(&row));
	buf_fini(&row);
}

/* ---- accounts ---- */

/* An account of this name would keep a user of the machine from the own mail. 0, E_EXISTS, or what system_find() says. */
static int check_machine_user(struct request *q, struct err *err)
{
	struct span address = span_str(q->account.address), name = span_sub(address, 0, span_find(address, '@'));
	struct system_user user;
	int r = system_is_domain(q->auth, span_from(address, name.len + 1)) ? system_find(q->auth->system, name, &user) : E_NOTFOUND;

	if (r == E_NOTFOUND)
		return 0;
	if (r == 0)
		return err_set(err, E_EXISTS, "%s is a user of this machine, who logs in with the password there%s", q->account.address,
		    system_has_mailbox(q->auth, &user) ? " and has an account from the first mail or login on" : "; system-first-uid says that it has no mailbox");
	return r == E_AGAIN ? r : err_set(err, r, "it cannot be known now whether %s is a user of this machine: %s", q->account.address, err_text(r));
}

static void store_credentials(void *arg)
{
	struct request *q = arg;
	struct err err = {0};
	int r = q->add ? check_machine_user(q, &err) : 0;

	if (r == E_AGAIN && q->round++ < SYSTEM_ROUNDS_MAX && system_wait(q->auth->system, store_credentials, q) == 0)
		return;
	if (r == E_AGAIN)
		err_set(&err, E_UNAVAILABLE, "too much is asked of auth-pam");
	if (r == 0)
		r = q->add ? directory_account_add(q->auth->directory, &q->account, &err)
			   : directory_credentials_put(q->auth->directory, q->account.id, NULL, &q->account.credentials, &err);
	if (r == 0 && !q->add)
		request_kick(q);
	request_done(q, r, &err, q->add ? "added" : "password", q->add ? NULL : "has a new password", q->account.address);
	free(q);
}

static void on_hashed(void *arg, int code, const struct credentials *made)
{
	struct request *q = arg;
	struct err err = {0};

	if (code == 0) {
		q->account.credentials = *made;
		store_credentials(q);
		return;
	}
	err_set(&err, code, "the password could not be hashed: %s", err_text(code));
	request_failed(q, code, &err);
	free(q);
}

static void hash_then_store(struct request *q, bool add)
{
	struct request *later = malloc(sizeof(*later));

	if (later == NULL) {
		control_reply_done(q->reply, EX_TEMPFAIL, "out of memory");
		return;
	}
	*later = (struct request){.auth = q->auth, .reply = q->reply, .kind = q->kind, .account = q->account, .add = add};
	if (password_make(q->auth->passwords, q->secret, on_hashed, later) != 0) {
		control_reply_done(q->reply, EX_TEMPFAIL, "no memory to hash the password");
		free(later);
	}
}

static void account_add(struct request *q)
{
	struct span quota = request_option(q, "--quota"), name = request_option(q, "--name");
	const char *domain = strrchr(q->account.address, '@') + 1;
	enum directory_kind kind;
	struct account other;

	q->account.quota = UINT64_MAX;
	if (quota.len > 0 && !conf_parse_size(quota, &q->account.quota)) {
		control_reply_done(q->reply, EX_USAGE, "--quota takes a size such as 500M or 5G");
		return;
	}
	if (!account_set_name(&q->account, name)) {
		control_reply_done(q->reply, EX_USAGE, "--name takes up to %d octets without control characters", DIRECTORY_NAME_MAX);
		return;
	}
	kind = directory_find(q->auth->directory, span_str(q->account.address), &other, NULL);
	if (!auth_domain_is_ours(q->auth, span_str(domain)))
		control_reply_done(q->reply, EX_DATAERR, "%s is not a domain of this server; `mailwain domain add %s` makes it one",
		    domain, domain);
	else if (kind == DIRECTORY_ERROR)
		control_reply_done(q->reply, EX_TEMPFAIL, "the directory cannot be read");
	else if (kind != DIRECTORY_NONE)
		control_reply_done(q->reply, EX_CANTCREAT, "%s is there already, as an account or an alias", q->account.address);
	else if (q->secret.len == 0)
		control_reply_done(q->reply, EX_USAGE, "a password is needed");
	else
		hash_then_store(q, true);
}

static void account_senders(struct request *q)
{
	bool none = q->count == 4 && span_eq(q->args[3], SPAN_LIT("none"));
	struct err err = {0};
	int r;

	if (q->count < 4) {
		control_reply_done(q->reply, EX_USAGE, "name addresses or *@domain, or none");
		return;
	}
	r = senders_set(&q->account, q->args + 3, none ? 0 : q->count - 3, &err);
	if (r == 0)
		r = directory_account_put(q->auth->directory, &q->account, &err);
	request_done(q, r, &err, "senders", none ? "sends as itself alone" : "may send as these, too", q->account.address);
}

static void account_remove(struct request *q)
{
	struct err err = {0};
	int r = directory_account_remove(q->auth->directory, span_str(q->account.address), &err);

	if (r != 0) {
		request_failed(q, r, &err);
		return;
	}
	request_changed(q, "removed", q->account.address);
	request_kick(q);
	control_reply_done(q->reply, request_done_exit(q), "%s removed; its mail stays in store/%02x/%llu below the data directory%s%s", q->account.address,
	    (unsigned)(q->account.id & 255), (unsigned long long)q->account.id,
	    q->account.system ? "; while the machine has this user, the next mail or login makes a new, empty account: `account disable` keeps it closed" : "",
	    request_done_but(q));
}

static void account_disable(struct request *q, bool disabled)
{
	struct err err = {0};
	int r;

	q->account.disabled = disabled;
	r = directory_account_put(q->auth->directory, &q->account, &err);
	if (r == 0 && disabled)
		request_kick(q);
	request_done(q, r, &err, disabled ? "disabled" : "enabled", NULL, q->account.address);
}

static void account_kick(struct request *q)
{
	if (!auth_kick(q->auth, q->account.id)) {
		control_reply_done(q->reply, EX_TEMPFAIL, "a daemon could not be told; try again, or restart it");
		return;
	}
	log_event(EV_auth_kicked, daemon_log(q->auth->daemon), F_STR("user", q->account.address));
	control_reply_done(q->reply, EX_OK, "%s: its sessions end", q->account.address);
}

static void account_change(struct request *q, struct span verb)
{
	struct err err = {0};
	int r = 0;

	if (span_eq(verb, SPAN_LIT("senders"))) {
		account_senders(q);
	} else if (span_eq(verb, SPAN_LIT("show"))) {
		row_account(q->reply, q->auth, &q->account);
		control_reply_done(q->reply, EX_OK, "%s", "");
	} else if (span_eq(verb, SPAN_LIT("passwd"))) {
		if (q->account.system)
			control_reply_done(q->reply, EX_CANTCREAT, "%s is a user of this machine: passwd(1) changes the password", q->account.address);
		else if (q->secret.len == 0)
			control_reply_done(q->reply, EX_USAGE, "a password is needed");
		else
			hash_then_store(q, false);
	} else if (span_eq(verb, SPAN_LIT("remove"))) {
		account_remove(q);
	} else if (span_eq(verb, SPAN_LIT("disable")) || span_eq(verb, SPAN_LIT("enable"))) {
		account_disable(q, span_eq(verb, SPAN_LIT("disable")));
	} else if (span_eq(verb, SPAN_LIT("kick"))) {
		account_kick(q);
	} else if (span_eq(verb, SPAN_LIT("quota")) && q->count == 4) {
		if (span_eq(q->args[3], SPAN_LIT("domain")))
			q->account.quota = UINT64_MAX;
		else if (!conf_parse_size(q->args[3], &q->account.quota)) {
			control_reply_done(q->reply, EX_USAGE, "a quota is a size such as 500M or 5G, 0 for none, or: domain");
			return;
		}
		r = directory_account_put(q->auth->directory, &q->account, &err);
		request_done(q, r, &err, "quota", "has a new quota", q->account.address);
	} else {
		control_reply_done(q->reply, EX_USAGE, "see `mailwain account --help`");
	}
}

bool request_account(struct request *q, struct span address)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1];
	struct err err = {0};
	int r = address_canonical(address, canonical, &err);

	if (r != 0) {
		request_failed(q, r, &err);
		return false;
	}
	r = directory_account_get(q->auth->directory, span_str(canonical), &q->account);
	if (r != 0)
		control_reply_done(q->reply, request_exit(r), r == E_NOTFOUND ? "there is no account %s" : "the directory cannot be read for %s", canonical);
	return r == 0;
}

static int list_account(void *arg, const struct account *account)
{
	struct request *q = arg;

	q->rows++;
	row_account(q->reply, q->auth, account);
	return 0;
}

static void do_account(struct request *q, struct span verb)
{
	char canonical[DIRECTORY_ADDRESS_MAX + 1];
	struct err err = {0};
	int r;

	if (span_eq(verb, SPAN_LIT("list"))) {
		r = directory_account_each(q->auth->directory, list_account, q);
		request_listed(q, r, "there is no account");
		return;
	}
	if (span_eq(verb, SPAN_LIT("app-password"))) {
		control_app_password(q);
		return;
	}
	if (q->count < 3) {
		control_reply_done(q->reply, EX_USAGE, "an address is missing");
		return;
	}
	r = address_canonical(q->args[2], canonical, &err);
	if (r == 0 && span_eq(verb, SPAN_LIT("add")))
		r = address_check(canonical, &err);
	if (r != 0) {
		request_failed(q, r, &err);
		return;
	}
	if (span_eq(verb, SPAN_LIT("add"))) {
		snprintf(q->account.address, sizeof(q->account.address), "%s", canonical);
		account_add(q);
		return;
	}
	if (request_account(q, q->args[2]))
		account_change(q, verb);
}

/* ---- domains ---- */

static void row_domain(struct control_reply *reply, struct span name, const char *origin)
{
	struct buf row;

	buf_init(&row, 2048);
	buf_add_str(&row, "{\"domain\":");
	json_add_string(&row, name);
	buf_printf(&row, ",\"origin\":\"%s\"}", origin);
	control_reply_row(reply, buf_span(&row));
	buf_fini(&row);
}

static int list_domain(void *arg, struct span name)
{
	struct request *q = arg;

	q->rows++;
	row_domain(q->reply, name, "directory");
	return 0;
}

/* What stays behind when a domain goes. */
struct left {
	struct span domain;
	unsigned accounts, aliases;
};

static bool is_in(struct span domain, struct span address)
{
	return span_eq(span_from(address, span_find(address, '@') + 1), domain);
}

static int count_account(void *arg, const struct account *account)
{
	struct left *left = arg;

	left->accounts += is_in(left->domain, span_str(account->address));
	return 0;
}

static int count_alias(void *arg, struct span address, struct span targets)
{
	struct left *left = arg;

	(void)targets;
	left->aliases += is_in(left->domain, address);
	return 0;
}

static void domain_remove(struct request *q, const char *name)
{
	struct left left = {.domain = span_str(name)};
	struct err err = {0};
	int r = directory_domain_remove(q->auth->directory, span_str(name), &err);

	if (r != 0) {
		request_failed(q, r, &err);
		return;
	}
	request_changed(q, "removed", name);
	directory_account_each(q->auth->directory, count_account, &left);
	directory_alias_each(q->auth->directory, count_alias, &left);
	if (auth_domain_is_ours(q->auth, span_str(name)))
		control_reply_done(q->reply, EX_OK, "%s removed; it stands in the configuration as well and stays", name);
	else if (left.accounts + left.aliases > 0)
		control_reply_done(q->reply, EX_OK, "%s removed; %u accounts and %u aliases of it stay and get no mail", name, left.accounts,
		    left.aliases);
	else
		control_reply_done(q->reply, EX_OK, "%s removed", name);
}

static void do_domain(struct request *q, struct span verb)
{
	const struct conf *conf = daemon_conf(q->auth->daemon);
	char name[DIRECTORY_ADDRESS_MAX + 1];
	struct err err = {0};
	int r;

	if (span_eq(verb, SPAN_LIT("list"))) {
		q->rows = conf_domain_count(conf);
		for (size_t i = 0; i < q->rows; i++)
			row_domain(q->reply, conf_domain(conf, i)->name, "configuration");
		r = directory_domain_each(q->auth->directory, list_domain, q);
		request_listed(q, r, "there is no domain");
		return;
	}
	if (q->count < 3) {
		control_reply_done(q->reply, EX_USAGE, "a domain is missing");
		return;
	}
	r = domain_canonical(q->args[2], name, &err);
	if (r != 0) {
		request_failed(q, r, &err);
	} else if (span_eq(verb, SPAN_LIT("add"))) {
		r = directory_domain_add(q->auth->directory, span_str(name), &err);
		request_done(q, r, &err, "added", NULL, name);
	} else if (conf_domain_find(conf, span_str(name)) != NULL && !directory_domain_has(q->auth->directory, span_str(name))) {
		control_reply_done(q->reply, EX_DATAERR, "%s stands in the configuration: remove its block and reload", name);
	} else {
		domain_remove(q, name);
	}
}

void auth_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input,
    struct span secret)
{
	struct request q = {.auth = arg, .reply = reply, .args = args, .count = count, .input = input, .secret = secret};

	if (count < 2)
		control_reply_done(reply, EX_USAGE, "a noun and a verb are needed");
	else if (span_eq(args[0], span_str(q.kind = "account")))
		do_account(&q, args[1]);
	else if (span_eq(args[0], span_str(q.kind = "alias")))
		control_alias(&q, args[1]);
	else if (span_eq(args[0], span_str(q.kind = "domain")))
		do_domain(&q, args[1]);
	else if (span_eq(args[0], span_str(q.kind = "auth")) && span_eq(args[1], SPAN_LIT("failures")))
		control_failures(&q);
	else if (span_eq(args[0], SPAN_LIT("auth")) && span_eq(args[1], SPAN_LIT("test")))
		control_test(&q);
	else if (span_eq(args[1], SPAN_LIT("export")))
		directory_export(&q);
	else if (span_eq(args[1], SPAN_LIT("import")))
		directory_import(q.auth, reply, input, has_flag(&q, "--replace"), has_flag(&q, "--all"));
	else
		control_reply_done(reply, EX_USAGE, "unknown request");
}
