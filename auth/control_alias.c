/* The control requests about aliases. What leads to users of this machine is looked up again when auth-pam has answered. */
#include "auth/request.h"

#include "auth/address.h"
#include "auth/system.h"
#include "base/json.h"
#include "net/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

static void row_alias(struct control_reply *reply, struct span address, struct span targets)
{
	struct buf row;

	buf_init(&row, 2 * DIRECTORY_ALIAS_MAX);
	buf_add_str(&row, "{\"address\":");
	json_add_string(&row, address);
	buf_add_str(&row, ",\"targets\":[");
	for (bool first = true; targets.len > 0; first = false) {
		size_t end = span_find(targets, '\0');

		if (!first)
			buf_add_char(&row, ',');
		json_add_string(&row, span_sub(targets, 0, end));
		targets = span_from(targets, end + 1);
	}
	buf_add_str(&row, "]}");
	control_reply_row(reply, buf_span(&row));
	buf_fini(&row);
}

static int list_alias(void *arg, struct span address, struct span targets)
{
	struct request *q = arg;

	q->rows++;
	row_alias(q->reply, address, targets);
	return 0;
}

static int show_target(void *arg, const struct recipient *r)
{
	struct buf row;

	buf_init(&row, 4096);
	buf_add_str(&row, "{\"address\":");
	json_add_string(&row, span_str(r->address));
	buf_printf(&row, ",\"local\":%s,\"account\":%llu,\"program\":", r->account ? "true" : "false", (unsigned long long)r->account);
	json_add_string(&row, r->text);
	buf_add_char(&row, '}');
	control_reply_row(((struct request *)arg)->reply, buf_span(&row));
	buf_fini(&row);
	return 0;
}

static int ignore_target(void *arg, const struct recipient *r)
{
	(void)arg;
	(void)r;
	return 0;
}

/* Of what outlives the handler, the address is in q->account. */
static void request_go_on(void *arg)
{
	struct request *later = arg, q = *later;

	free(later);
	q.then(&q);
}

/* True: then() is called again when auth-pam has said whether there is such a user. */
static bool request_waits(struct request *q, int code, const char *address, void (*then)(struct request *q))
{
	struct request *later = code == E_AGAIN && q->round < SYSTEM_ROUNDS_MAX ? malloc(sizeof(*later)) : NULL;

	if (later == NULL)
		return false;
	*later = (struct request){.auth = q->auth, .reply = q->reply, .kind = q->kind, .then = then, .round = q->round + 1};
	snprintf(later->account.address, sizeof(later->account.address), "%s", address);
	if (system_wait(q->auth->system, request_go_on, later) == 0)
		return true;
	free(later);
	return false;
}

static void alias_show(struct request *q)
{
	const char *address = q->account.address;
	struct err err = {0};
	int r = auth_expand_each(q->auth, span_str(address), show_target, q, &err);

	if (request_waits(q, r, address, alias_show))
		return;
	if (r == 0)
		control_reply_done(q->reply, EX_OK, "%s", "");
	else
		request_failed(q, r, &err);
}

/* One that leads only to itself is taken back; one that leads nowhere yet may be made before its target. */
static void alias_added(struct request *q)
{
	const char *address = q->account.address;
	struct err err = {0}, ignored;
	int r = auth_expand_each(q->auth, span_str(address), ignore_target, NULL, &err);

	if (request_waits(q, r, address, alias_added))
		return;
	if (r == E_LOOP) {
		directory_alias_remove(q->auth->directory, span_str(address), &ignored);
		control_reply_done(q->reply, EX_DATAERR, "%s is not added: %s", address, err.text);
		return;
	}
	request_changed(q, "added", address);
	if (r != 0 && !err_is_temp(r))
		control_reply_done(q->reply, EX_OK, "%s added, but it leads nowhere yet (%s): mail for it is refused", address, err.text);
	else
		control_reply_done(q->reply, EX_OK, "%s added", address);
}

static void alias_add(struct request *q)
{
	const char *address = q->account.address;
	struct buf targets;
	struct err err = {0};
	int r;

	buf_init(&targets, DIRECTORY_ALIAS_MAX);
	r = address_check(address, &err);
	if (r == 0)
		r = q->count < 4 ? err_set(&err, E_SYNTAX, "an alias needs at least one target")
				 : addresses_canonical(q->args + 3, q->count - 3, &targets, &err);
	if (r == 0 && !auth_domain_is_ours(q->auth, span_str(strrchr(address, '@') + 1)))
		r = err_set(&err, E_SYNTAX, "%s is not a domain of this server; `mailwain domain add` makes it one", strrchr(address, '@') + 1);
	if (r == 0)
		r = directory_alias_put(q->auth->directory, span_str(address), buf_span(&targets), false, &err);
	buf_fini(&targets);
	if (r != 0)
		request_failed(q, r, &err);
	else
		alias_added(q);
}

void control_alias(struct request *q, struct span verb)
{
	char *address = q->account.address;
	struct err err = {0};
	int r;

	if (span_eq(verb, SPAN_LIT("list"))) {
		r = directory_alias_each(q->auth->directory, list_alias, q);
		request_listed(q, r, "there is no alias");
		return;
	}
	if (q->count < 3) {
		control_reply_done(q->reply, EX_USAGE, "an address is missing");
		return;
	}
	r = address_canonical(q->args[2], address, &err);
	if (r != 0) {
		request_failed(q, r, &err);
	} else if (span_eq(verb, SPAN_LIT("add"))) {
		alias_add(q);
	} else if (span_eq(verb, SPAN_LIT("remove"))) {
		r = directory_alias_remove(q->auth->directory, span_str(address), &err);
		request_done(q, r, &err, "removed", NULL, address);
	} else {
		alias_show(q);
	}
}
