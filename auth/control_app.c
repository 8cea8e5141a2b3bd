/* The control requests about app passwords. */
#include "auth/request.h"

#include "auth/app.h"
#include "base/clock.h"
#include "base/json.h"
#include "net/control.h"

#include <stdio.h>
#include <strings.h>
#include <sysexits.h>

static void add(struct request *q)
{
	struct span label = request_option(q, "--name");
	struct app_password app = {.created = clock_wall()};
	char text[APP_TEXT];
	struct err err = {0};
	int r;

	if ((q->count > 4 && !span_startswith(q->args[4], SPAN_LIT("--"))) || !app_label_check(label)) {
		control_reply_done(q->reply, EX_USAGE, "--name LABEL says which program it is for: up to %d octets without control characters", DIRECTORY_LABEL_MAX);
		return;
	}
	if (!app_protocols_parse(request_option(q, "--protocols"), &app.protocols)) {
		control_reply_done(q->reply, EX_USAGE, "--protocols takes a list of: imap,pop3,submission");
		return;
	}
	span_copy(label, app.label, sizeof(app.label));
	app_password_make(&app, text);
	r = directory_app_put(q->auth->directory, q->account.id, &app, false, &err);
	if (r != 0) {
		request_failed(q, r, &err);
	} else {
		request_changed(q, "app-password-added", q->account.address);
		control_reply_text(q->reply, span_str(text));
		control_reply_text(q->reply, SPAN_LIT("\n"));
		control_reply_done(q->reply, EX_OK, "%s", "");
	}
	explicit_bzero(text, sizeof(text));
}

static int row(void *arg, const struct app_password *app)
{
	struct request *q = arg;
	struct buf out;

	q->rows++;
	buf_init(&out, 4096);
	buf_add_str(&out, "{\"label\":");
	json_add_string(&out, span_str(app->label));
	buf_add_str(&out, ",\"protocols\":\"");
	app_protocols_format(app->protocols, &out);
	buf_printf(&out, "\",\"created\":%lld,\"used\":", (long long)app->created);
	if (app->used != 0)
		buf_printf(&out, "%lld,\"from\":", (long long)app->used);
	else
		buf_add_str(&out, "null,\"from\":");
	json_add_string(&out, span_str(app->from));
	buf_add_char(&out, '}');
	control_reply_row(q->reply, buf_span(&out));
	buf_fini(&out);
	return 0;
}

static void revoke(struct request *q)
{
	struct err err = {0};
	int r;

	if (q->count < 5) {
		control_reply_done(q->reply, EX_USAGE, "which one: its label is missing");
		return;
	}
	r = directory_app_remove(q->auth->directory, q->account.id, q->args[4], &err);
	if (r != 0) {
		request_failed(q, r, &err);
		return;
	}
	request_changed(q, "app-password-revoked", q->account.address);
	request_kick(q); /* no session knows by which password it began */
	control_reply_done(q->reply, request_done_exit(q), "%s: %.*s is revoked%s", q->account.address, SPAN_ARG(q->args[4]), request_done_but(q));
}

void control_app_password(struct request *q)
{
	struct span verb = q->count > 2 ? q->args[2] : span_str("");

	if (q->count < 4) {
		control_reply_done(q->reply, EX_USAGE, "an address is missing");
	} else if (!request_account(q, q->args[3])) {
		/* Answered. */
	} else if (span_eq(verb, SPAN_LIT("add"))) {
		add(q);
	} else if (span_eq(verb, SPAN_LIT("revoke"))) {
		revoke(q);
	} else if (span_eq(verb, SPAN_LIT("list"))) {
		request_listed(q, directory_app_each(q->auth->directory, q->account.id, row, q), "there is no app password");
	} else {
		control_reply_done(q->reply, EX_USAGE, "it is add, list or revoke, not %.*s", SPAN_ARG(span_sub(verb, 0, 40)));
	}
}
