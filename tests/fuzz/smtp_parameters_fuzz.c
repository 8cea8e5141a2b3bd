/*
 * The parameters of MAIL and RCPT (RFC 1870, 3461, 6531, 3030): what is accepted
 * is what was written, decoded once, and fits an envelope.
 *
 * Input: the parameters of MAIL, a line end, those of RCPT.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "smtp/server.h"
#include "spool/spool.h"

#include <stdlib.h>

static bool accepted;

static void on_rcpt(void *arg, struct smtp_server *server, struct span address)
{
	(void)arg;
	(void)address;
	smtp_server_rcpt_done(server, 0, NULL, NULL);
	accepted = true;
}

static void on_begin(void *arg, struct smtp_server *server)
{
	struct err err = {.text = "no"};

	(void)arg;
	smtp_server_data_ready(server, E_BUSY, &err);
}

static int on_data(void *arg, struct smtp_server *server, struct span bytes, struct err *err)
{
	(void)arg, (void)server, (void)bytes, (void)err;
	fuzz_failed("there is no content", __FILE__, __LINE__);
}

static void on_nothing(void *arg, struct smtp_server *server)
{
	(void)arg, (void)server;
}

static void on_refused(void *arg, struct smtp_server *server, struct span reply)
{
	(void)arg, (void)server, (void)reply;
}

static const struct smtp_server_callbacks callbacks = {.rcpt = on_rcpt, .data_begin = on_begin, .data = on_data, .data_end = on_nothing, .data_abort = on_nothing, .refused = on_refused};

/* One command line; false when it is refused. */
static bool say(struct smtp_server *server, struct buf *out, const char *front, struct span parameters)
{
	struct buf line;
	size_t consumed;
	char *copy;
	bool ok;

	buf_init(&line, SMTP_LINE_MAX);
	buf_printf(&line, "%s%.*s\r\n", front, SPAN_ARG(parameters));
	if (buf_failed(&line)) {
		buf_fini(&line);
		return false;
	}
	buf_clear(out);
	copy = fuzz_copy(buf_span(&line));
	smtp_server_feed(server, span_of(copy, buf_len(&line)), &consumed);
	free(copy);
	ok = buf_span(out).ptr[0] == '2';
	fuzz_assert(buf_len(out) > 0 && consumed == buf_len(&line));
	buf_fini(&line);
	return ok;
}

static int hex(char c)
{
	return ascii_is_digit(c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The value of the parameter as RFC 3461 section 4 decodes it, for xtext that is well formed. */
static void expect_decoded(struct span parameters, const char *name, struct span value)
{
	struct span word;
	struct buf text;

	buf_init(&text, SMTP_LINE_MAX);
	while (parameters.len > 0) {
		word = fuzz_until(&parameters, ' ');
		word = span_trim(word);
		if (span_startscase(word, span_str(name)))
			break;
	}
	word = span_from(word, strlen(name));
	for (size_t i = 0; i < word.len; i++) {
		bool escape = word.ptr[i] == '+' && i + 2 < word.len && hex(word.ptr[i + 1]) >= 0 && hex(word.ptr[i + 2]) >= 0;

		buf_add_char(&text, escape ? (char)(hex(word.ptr[i + 1]) * 16 + hex(word.ptr[i + 2])) : word.ptr[i]);
		i += escape ? 2 : 0;
	}
	fuzz_assert_same(buf_span(&text), value);
	buf_fini(&text);
}

static void look(const struct smtp_transaction *tx, struct span mail, struct span rcpt)
{
	struct spool_recipient to = {.address = tx->recipients->address, .orcpt = tx->recipients->orcpt, .notify = tx->recipients->notify};
	struct spool_envelope envelope = {.source = SPOOL_FROM_SMTP, .sender = tx->sender, .envid = tx->envid,
	    .ret = (enum spool_ret)tx->ret, .body = (enum spool_body)tx->body, .smtputf8 = tx->smtputf8, .recipient_count = 1,
	    .recipients = &to}, again;
	struct pool *pool = pool_new(NULL, 0);
	struct buf wire;

	fuzz_assert(tx->recipient_count == 1);
	fuzz_assert(to.notify <= 1 || (to.notify < 16 && !(to.notify & 1)));
	if (to.orcpt.len > 0) {
		fuzz_assert(span_find(to.orcpt, ';') > 0 && span_find(to.orcpt, ';') < to.orcpt.len);
		expect_decoded(rcpt, "ORCPT=", to.orcpt);
	}
	if (tx->envid.len > 0)
		expect_decoded(mail, "ENVID=", tx->envid);
	buf_init(&wire, SPOOL_ENVELOPE_MAX);
	fuzz_assert(spool_envelope_encode(&envelope, &wire) == 0);
	fuzz_assert(spool_envelope_decode(buf_span(&wire), pool, &again, NULL) == 0);
	fuzz_assert_same(again.envid, tx->envid);
	fuzz_assert_same(again.recipients[0].orcpt, to.orcpt);
	buf_fini(&wire);
	pool_free(&pool);
}

/* Blanks other than a space are left to the target of whole conversations. */
static bool is_line(struct span s)
{
	return span_find(s, '\r') == s.len && span_find(s, '\0') == s.len && span_find(s, '\t') == s.len;
}

void fuzz_one(struct span input)
{
	struct smtp_server_config config = {.hostname = SPAN_LIT("mx.example"),
	    .limits = {.message_size = 1000, .header_size = 1000, .received_lines = 3, .recipients = 4, .errors = 8}};
	struct span mail = fuzz_until(&input, '\n'), rcpt = fuzz_until(&input, '\n');
	struct smtp_server *server;
	struct buf out;

	if (!is_line(mail) || !is_line(rcpt))
		return;
	buf_init(&out, 65536);
	server = smtp_server_new(&config, &callbacks, NULL, &out);
	fuzz_assert(server != NULL && say(server, &out, "EHLO a", (struct span){0}));
	accepted = false;
	if (say(server, &out, "MAIL FROM:<a@b> ", mail) && say(server, &out, "RCPT TO:<c@d> ", rcpt)) {
		fuzz_assert(accepted);
		look(smtp_server_transaction(server), mail, rcpt);
	}
	smtp_server_free(&server);
	buf_fini(&out);
}
