/* sendmail -bs: the engine of lib/smtp on standard input and output. */
#include "submission/sendmail.h"

#include "base/whole.h"
#include "smtp/server.h"
#include "spool/spool.h"

#include <errno.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

enum { SMTP_INPUT_MAX = 256 * 1024, SMTP_OUTPUT_MAX = 256 * 1024, SMTP_PIECE = 64 * 1024 };

struct dialogue {
	const struct caller *caller;
	struct smtp_server *server;
	struct content content;
};

static void on_rcpt(void *arg, struct smtp_server *server, struct span address)
{
	(void)arg;
	(void)address;
	smtp_server_rcpt_done(server, 0, NULL, NULL);
}

static void on_data_begin(void *arg, struct smtp_server *server)
{
	struct dialogue *d = arg;
	struct err err = {0};
	bool binary = smtp_server_transaction(server)->body == SMTP_BODY_BINARYMIME;
	int r = binary ? err_set(&err, E_UNSUPPORTED, "Here messages have lines") : content_open(&d->content, &err);

	smtp_server_data_ready(server, r, &err);
}

static int on_data(void *arg, struct smtp_server *server, struct span bytes, struct err *err)
{
	struct dialogue *d = arg;

	(void)server;
	return content_write(&d->content, bytes, err);
}

static void on_data_abort(void *arg, struct smtp_server *server)
{
	(void)server;
	content_close(&((struct dialogue *)arg)->content);
}

/* Its program reads the replies itself. */
static void on_refused(void *arg, struct smtp_server *server, struct span reply)
{
	(void)arg;
	(void)server;
	(void)reply;
}

static int fill_letter(const struct dialogue *d, const struct smtp_transaction *tx, struct letter *letter)
{
	size_t count = 0;

	*letter = (struct letter){.user = span_str(d->caller->user), .full_name = span_str(d->caller->full_name), .sender = tx->sender, .sender_given = true,
	    .envid = tx->envid, .ret = tx->ret};
	letter->recipients = pool_array(tx->pool, tx->recipient_count, sizeof(*letter->recipients));
	if (letter->recipients == NULL)
		return E_NOMEM;
	for (const struct smtp_recipient *r = tx->recipients; r != NULL && count < LETTER_RECIPIENTS; r = r->next)
		letter->recipients[count++] = (struct letter_recipient){.address = r->address, .notify = r->notify, .orcpt = r->orcpt};
	letter->recipient_count = count;
	return 0;
}

static void on_data_end(void *arg, struct smtp_server *server)
{
	struct dialogue *d = arg;
	struct letter letter;
	struct err err = {0};
	char qid[16], text[64];
	enum handover_result result = HANDOVER_REFUSED;

	if (fill_letter(d, smtp_server_transaction(server), &letter) == 0)
		result = handover(d->caller, &letter, &d->content, qid, &err);
	else
		err_set(&err, E_NOMEM, "out of memory");
	content_close(&d->content);
	if (result == HANDOVER_REFUSED) {
		smtp_server_data_done(server, err.code, span_str(err.text));
		return;
	}
	if (result == HANDOVER_QUEUED)
		snprintf(text, sizeof(text), "Ok: queued as %s", qid);
	else
		snprintf(text, sizeof(text), "Ok: kept until Mailwain is started");
	smtp_server_data_done(server, 0, span_str(text));
}

static const struct smtp_server_callbacks callbacks = {.rcpt = on_rcpt, .data_begin = on_data_begin, .data = on_data, .data_end = on_data_end,
    .data_abort = on_data_abort, .refused = on_refused};

/* False: nobody listens. */
static bool write_out(struct buf *out)
{
	bool written = !buf_failed(out) && write_whole(STDOUT_FILENO, buf_span(out));

	buf_clear(out);
	return written;
}

/* More of the input; false at its end. */
static bool read_in(struct buf *in)
{
	char *room = buf_reserve(in, SMTP_PIECE);
	ssize_t n;

	do
		n = room != NULL ? read(STDIN_FILENO, room, SMTP_PIECE) : 0;
	while (n < 0 && errno == EINTR);
	if (n > 0)
		buf_added(in, (size_t)n);
	return n > 0;
}

static void talk(struct dialogue *d, struct buf *in, struct buf *out)
{
	enum smtp_event event = SMTP_MORE;

	smtp_server_greet(d->server);
	while (event != SMTP_CLOSE && write_out(out) && read_in(in)) {
		size_t consumed;

		do {
			event = smtp_server_feed(d->server, buf_span(in), &consumed);
			buf_take(in, consumed);
		} while (consumed > 0 && event != SMTP_CLOSE && buf_len(in) > 0 && write_out(out));
	}
	write_out(out);
}

int smtp_run(const struct caller *caller)
{
	struct dialogue d = {.caller = caller, .content.fd = -1};
	struct smtp_server_config config = {.hostname = caller->hostname,
	    .limits = {.message_size = caller->message_size, .header_size = caller->header_size, .received_lines = caller->received_lines, .recipients = LETTER_RECIPIENTS, .errors = 20}};
	struct buf in, out;

	buf_init(&in, SMTP_INPUT_MAX);
	buf_init(&out, SMTP_OUTPUT_MAX);
	d.server = smtp_server_new(&config, &callbacks, &d, &out);
	if (d.server != NULL)
		talk(&d, &in, &out);
	else
		fputs("sendmail: out of memory\n", stderr);
	content_close(&d.content);
	buf_fini(&in);
	buf_fini(&out);
	if (d.server == NULL)
		return EX_OSERR;
	smtp_server_free(&d.server);
	return EX_OK;
}
