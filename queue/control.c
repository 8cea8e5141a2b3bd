/* The control requests, and those about one message: show, attempts, cat. */
#include "queue/control.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/control.h"
#include "queue/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- one message by its id ---- */

int queue_control_message(struct queue *queue, struct span text, struct message **m, bool *loaded, struct err *err)
{
	uint64_t id;
	int r;

	*loaded = false;
	if (!spool_id_parse(text, &id))
		return err_set(err, E_SYNTAX, "'%.*s' is not a queue id", SPAN_ARG(span_sub(text, 0, 40)));
	*m = message_find(queue, id);
	if (*m != NULL && !(*m)->deleted)
		return 0;
	*loaded = true;
	r = *m != NULL ? E_NOTFOUND : message_load(queue, id, false, m, err);
	if (r == E_NOTFOUND)
		err_set(err, r, "there is no message %.*s", SPAN_ARG(text));
	return r;
}

static int send_content(struct control_reply *reply, const struct message *m, struct err *err)
{
	char *piece = malloc(CONTROL_PIECE);
	int r = piece != NULL ? 0 : err_set(err, E_NOMEM, "out of memory");
	uint64_t at = 0;

	while (r == 0 && at < m->file.content) {
		uint64_t left = m->file.content - at;
		ssize_t n = pread(m->fd, piece, left < CONTROL_PIECE ? (size_t)left : CONTROL_PIECE, (off_t)at);

		if (n < 0)
			r = err_set_errno(err, errno, "the rest of the message cannot be read");
		else if (n == 0)
			r = err_set(err, E_CORRUPT, "the message is shorter than its envelope says");
		else
			control_reply_text(reply, span_of(piece, (size_t)n));
		at += n > 0 ? (uint64_t)n : 0;
	}
	free(piece);
	return r;
}

/* What is damaged waits for somebody to mend it in mail; of a command, another time does not help. */
unsigned queue_control_exit(int code)
{
	return err_is_temp(code) && code != E_CORRUPT ? EX_TEMPFAIL : EX_DATAERR;
}

enum show { SHOW_RECIPIENTS, SHOW_CONTENT, SHOW_ATTEMPTS };

static void do_show(struct queue *queue, struct control_reply *reply, struct span id, enum show what)
{
	struct message *m;
	struct err err = {0};
	bool loaded;
	int r = queue_control_message(queue, id, &m, &loaded, &err);

	if (r != 0) {
		control_reply_done(reply, queue_control_exit(r), "%s", err.text);
		return;
	}
	if (what == SHOW_CONTENT)
		r = send_content(reply, m, &err);
	else if (what == SHOW_ATTEMPTS)
		queue_control_attempts(reply, m);
	else
		for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
			queue_control_row_recipient(reply, m, i);
	if (loaded)
		message_free(m);
	control_reply_done(reply, r == 0 ? EX_OK : queue_control_exit(r), "%s", r == 0 ? "" : err.text);
}

void queue_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input,
    struct span secret)
{
	struct queue *queue = arg;
	struct filter filter = {0};
	struct span verb = count > 1 ? args[1] : span_str("");
	size_t ids;

	(void)input;
	(void)secret;
	if (!filter_parse(queue, args, count, &filter, &ids)) {
		control_reply_done(reply, EX_USAGE, "a filter without a value, or one that is not known: see `mailwain queue --help`");
	} else if (!filter_status_is_known(filter.status)) {
		control_reply_done(reply, EX_USAGE, "a status is active, deferred, scheduled or held");
	} else if (span_eq(verb, SPAN_LIT("list"))) {
		queue_control_list(queue, reply, &filter);
	} else if (span_eq(verb, SPAN_LIT("show")) && ids == 1) {
		do_show(queue, reply, args[2], SHOW_RECIPIENTS);
	} else if (span_eq(verb, SPAN_LIT("cat")) && ids == 1) {
		do_show(queue, reply, args[2], SHOW_CONTENT);
	} else if (span_eq(verb, SPAN_LIT("attempts")) && ids == 1) {
		do_show(queue, reply, args[2], SHOW_ATTEMPTS);
	} else if (span_eq(verb, SPAN_LIT("explain")) && ids == 1) {
		explain_begin(queue, reply, args[2], filter.sender);
	} else if (span_eq(verb, SPAN_LIT("stats")) && count == 2) {
		queue_control_stats(queue, reply);
	} else if ((span_eq(verb, SPAN_LIT("pause")) || span_eq(verb, SPAN_LIT("resume"))) && ids == 1) {
		queue_control_pause(queue, reply, args[2], span_eq(verb, SPAN_LIT("pause")));
	} else if (count < 2 || !queue_control_change(queue, reply, args, &filter, ids)) {
		control_reply_done(reply, EX_USAGE, "see `mailwain queue --help`");
	}
}
