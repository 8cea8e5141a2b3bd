/* An SMTP engine with an owner that says yes, no or later, and keeps what it was given. */
#ifndef MW_TESTS_UNIT_SMTP_DIALOG_H
#define MW_TESTS_UNIT_SMTP_DIALOG_H

#include "tests/unit/test.h"

#include "smtp/server.h"

#include <stdio.h>
#include <stdlib.h>

struct dialog {
	struct smtp_server *server;
	struct buf out, input, content, log;
	enum smtp_event event;
	bool manual;	 /* the test answers */
	int ready_code;	 /* of data_begin */
	int data_code;	 /* of data */
	int done_code;
	struct pool *replies;
};

static inline struct err why(int code)
{
	struct err err;

	err_set(&err, code, "%s", err_text(code));
	return err;
}

/* The local part decides: "no..." and "later..." are refused. */
static inline void dialog_answer_rcpt(struct dialog *d, struct smtp_server *server, struct span address)
{
	int code = span_startswith(address, SPAN_LIT("no")) ? E_NOTFOUND : span_startswith(address, SPAN_LIT("later")) ? E_BUSY : 0;
	struct err err = why(code);

	smtp_server_rcpt_done(server, code, &err, d);
}

static inline void dialog_rcpt(void *arg, struct smtp_server *server, struct span address)
{
	struct dialog *d = arg;

	buf_printf(&d->log, "rcpt(%.*s) ", SPAN_ARG(address));
	assert_true(span_eq(address, smtp_server_asked(server)));
	if (!d->manual)
		dialog_answer_rcpt(d, server, address);
}

static inline void dialog_data_begin(void *arg, struct smtp_server *server)
{
	struct dialog *d = arg;
	struct err err = why(d->ready_code);

	buf_add_str(&d->log, "begin ");
	buf_clear(&d->content);
	if (!d->manual)
		smtp_server_data_ready(server, d->ready_code, &err);
}

static inline int dialog_data(void *arg, struct smtp_server *server, struct span bytes, struct err *err)
{
	struct dialog *d = arg;

	(void)server;
	assert_true(bytes.len > 0);
	buf_add_span(&d->content, bytes);
	return d->data_code == 0 ? 0 : err_set(err, d->data_code, "%s", err_text(d->data_code));
}

static inline void dialog_data_end(void *arg, struct smtp_server *server)
{
	struct dialog *d = arg;

	buf_printf(&d->log, "end(%zu) ", buf_len(&d->content));
	if (!d->manual)
		smtp_server_data_done(server, d->done_code, span_str(d->done_code ? err_text(d->done_code) : "queued"));
}

static inline void dialog_data_abort(void *arg, struct smtp_server *server)
{
	struct dialog *d = arg;

	(void)server;
	buf_add_str(&d->log, "abort ");
}

static inline void dialog_refused(void *arg, struct smtp_server *server, struct span reply)
{
	struct dialog *d = arg;

	(void)server;
	buf_printf(&d->log, "refused(%.*s) ", SPAN_ARG(span_sub(reply, 0, 3)));
}

static const struct smtp_server_callbacks dialog_callbacks = {.rcpt = dialog_rcpt, .data_begin = dialog_data_begin,
    .data = dialog_data, .data_end = dialog_data_end, .data_abort = dialog_data_abort, .refused = dialog_refused};

static const struct smtp_server_config dialog_config = {.hostname = SPAN_LIT("mx.example"), .tls_offered = true,
    .limits = {.message_size = 1000, .header_size = 300, .received_lines = 3, .recipients = 4, .errors = 10}};

static inline struct dialog *dialog_new(const struct smtp_server_config *config)
{
	struct dialog *d = calloc(1, sizeof(*d));

	buf_init(&d->out, 100000);
	buf_init(&d->input, 200000);
	buf_init(&d->content, 200000);
	buf_init(&d->log, 100000);
	d->replies = pool_new(NULL, 0);
	d->server = smtp_server_new(config, &dialog_callbacks, d, &d->out);
	assert_non_null(d->server);
	return d;
}

static inline void dialog_free(struct dialog **dp)
{
	struct dialog *d = *dp;

	*dp = NULL;
	smtp_server_free(&d->server);
	buf_fini(&d->out);
	buf_fini(&d->input);
	buf_fini(&d->content);
	buf_fini(&d->log);
	pool_free(&d->replies);
	free(d);
}

/* What was said since the last time. */
static inline const char *dialog_replies(struct dialog *d)
{
	const char *text = pool_strndup(d->replies, buf_span(&d->out).ptr, buf_len(&d->out));

	buf_clear(&d->out);
	return buf_failed(&d->out) ? "failed" : text ? text : "";
}

/* Adds to the input and lets the engine take what it will; it sees a copy of exactly this size. */
static inline void dialog_say(struct dialog *d, struct span text)
{
	char *copy;
	size_t consumed;

	buf_add_span(&d->input, text);
	copy = malloc(buf_len(&d->input) + 1);
	memcpy(copy, buf_span(&d->input).ptr, buf_len(&d->input));
	d->event = smtp_server_feed(d->server, span_of(copy, buf_len(&d->input)), &consumed);
	free(copy);
	buf_take(&d->input, consumed);
}

static inline const char *say(struct dialog *d, const char *text)
{
	dialog_say(d, span_str(text));
	return dialog_replies(d);
}

/* What the owner was asked and told since the last time. */
static inline const char *owner_saw(struct dialog *d)
{
	const char *text = pool_strndup(d->replies, buf_span(&d->log).ptr, buf_len(&d->log));

	buf_clear(&d->log);
	return text ? text : "";
}

#endif
