/* A client of SMTP whose server is the test: what it hears, what it then says, which event its owner has. */
#ifndef MW_TESTS_UNIT_SMTP_CLIENT_TALK_H
#define MW_TESTS_UNIT_SMTP_CLIENT_TALK_H

#include "tests/unit/test.h"

#include "smtp/client.h"

#include <stdio.h>
#include <stdlib.h>

struct talk {
	struct smtp_client *client;
	struct buf out, input;
	enum smtp_client_event event;
	struct pool *said;
};

static inline struct talk *talk_new(const struct smtp_client_config *config)
{
	struct talk *t = calloc(1, sizeof(*t));

	buf_init(&t->out, 1024 * 1024);
	buf_init(&t->input, 1024 * 1024);
	t->said = pool_new(NULL, 0);
	t->client = smtp_client_new(config, &t->out);
	assert_non_null(t->client);
	return t;
}

static inline void talk_free(struct talk **tp)
{
	struct talk *t = *tp;

	*tp = NULL;
	smtp_client_free(&t->client);
	buf_fini(&t->out);
	buf_fini(&t->input);
	pool_free(&t->said);
	free(t);
}

/* What it has said since the last time. */
static inline const char *says(struct talk *t)
{
	const char *text = pool_strndup(t->said, buf_span(&t->out).ptr, buf_len(&t->out));

	buf_clear(&t->out);
	return text != NULL ? text : "";
}

/* The engine sees a copy of exactly this size. */
static inline void talk_feed(struct talk *t, struct span text)
{
	char *copy;
	size_t consumed;

	buf_add_span(&t->input, text);
	copy = malloc(buf_len(&t->input) + 1);
	memcpy(copy, buf_span(&t->input).ptr, buf_len(&t->input));
	t->event = smtp_client_feed(t->client, span_of(copy, buf_len(&t->input)), &consumed);
	free(copy);
	buf_take(&t->input, consumed);
}

static inline const char *hears(struct talk *t, const char *text)
{
	talk_feed(t, span_str(text));
	return says(t);
}

static inline enum smtp_client_event next_event(struct talk *t)
{
	talk_feed(t, span_str(""));
	return t->event;
}

static inline int failure_of(struct talk *t)
{
	return smtp_client_failure(t->client, NULL, NULL);
}

/* "0 451 maybe E..": for tables. */
static inline const char *results_of(struct talk *t, size_t count)
{
	struct buf text;
	const char *out;

	buf_init(&text, 4096);
	for (size_t i = 0; i < count; i++) {
		const struct smtp_client_result *r = smtp_client_result(t->client, i);

		buf_printf(&text, "%s%s/%s/%d%s", i > 0 ? " " : "", r->code == 0 ? "ok" : err_text(r->code), r->command, r->reply.code, r->maybe ? "/maybe" : "");
	}
	out = pool_strndup(t->said, buf_span(&text).ptr, buf_len(&text));
	buf_fini(&text);
	return out;
}

static const struct smtp_client_config talk_config = {.helo = SPAN_LIT("we.example")};

static const struct smtp_client_recipient talk_recipients[] = {
    {.address = SPAN_LIT("a@there.example")}, {.address = SPAN_LIT("b@there.example")}, {.address = SPAN_LIT("c@there.example")}};

static const struct smtp_client_message talk_message = {
    .sender = SPAN_LIT("s@here.example"), .size = 12, .recipients = talk_recipients, .recipient_count = 3};

/* To READY. offers: further lines of the answer to EHLO, "250-X\r\n". */
static inline struct talk *talk_ready(const char *offers)
{
	struct talk *t = talk_new(&talk_config);

	hears(t, "220 mx.there.example ESMTP\r\n");
	hears(t, offers);
	hears(t, "250 HELP\r\n");
	assert_int_equal(t->event, SMTP_CLIENT_READY);
	return t;
}

static inline const char *sends(struct talk *t, const struct smtp_client_message *message)
{
	struct err err = {0};

	assert_int_equal(smtp_client_send(t->client, message, &err), 0);
	return says(t);
}

#endif
