/* A transaction: its commands on their way, their answers, and what becomes of each recipient. */
#include "smtp/client_private.h"

#include <stdlib.h>

enum { TRANSACTION_POOL_MAX = 2 * 1024 * 1024 };

static const char end_of_data[] = "end of DATA", end_of_bdat[] = "BDAT";

/* ---- verdicts ---- */

/* NULL without memory: the verdict stands, its words are lost. */
static const struct kept_reply *keep_reply(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	size_t len = strlen(reply->text);
	struct kept_reply *kept = c->tx.pool ? pool_alloc(c->tx.pool, sizeof(*kept) + len + 1) : NULL;

	if (kept == NULL)
		return NULL;
	kept->code = reply->code;
	memcpy(kept->enhanced, reply->enhanced, sizeof(kept->enhanced));
	memcpy(kept->text, reply->text, len + 1);
	return kept;
}

static void judge(struct verdict *v, int code, const char *command, const struct kept_reply *reply)
{
	v->decided = true;
	v->code = code;
	v->command = command;
	v->reply = reply;
}

/* What the answer that is waited for would have been about. */
static const char *command_waited_for(const struct smtp_client *c)
{
	const struct client_transaction *tx = &c->tx;

	if (c->state == CLIENT_END || tx->whole)
		return tx->chunked ? end_of_bdat : end_of_data;
	if (c->state == CLIENT_CONTENT)
		return tx->chunked ? end_of_bdat : "DATA";
	return tx->answered == 0 ? "MAIL" : tx->answered <= tx->sent ? "RCPT" : "DATA";
}

void client_judge_rest(struct smtp_client *c, int code, const struct smtp_client_reply *reply)
{
	struct client_transaction *tx = &c->tx;
	const struct kept_reply *kept = NULL;
	const char *command = command_waited_for(c);

	if (tx->message == NULL) /* it has ended */
		return;
	if (reply != NULL)
		kept = keep_reply(c, reply);
	for (size_t i = 0; i < tx->count; i++) {
		struct verdict *v = &tx->verdicts[i];

		if (v->decided)
			continue;
		judge(v, code, command, kept);
		v->maybe = tx->whole && v->accepted && reply == NULL;
	}
	tx->message = NULL;
}

enum whose { OF_ALL, OF_ACCEPTED };

/* One answer for many. */
static void judge_many(struct smtp_client *c, enum whose whose, int code, const char *command, const struct smtp_client_reply *reply)
{
	const struct kept_reply *kept = keep_reply(c, reply);

	for (size_t i = 0; i < c->tx.count; i++) {
		struct verdict *v = &c->tx.verdicts[i];

		if (!v->decided && (whose == OF_ALL || v->accepted))
			judge(v, code, command, kept);
	}
}

/* The transaction is over for the owner. What has no verdict is what there was no room for. */
static void settle(struct smtp_client *c)
{
	struct client_transaction *tx = &c->tx;

	for (size_t i = 0; i < tx->count; i++)
		if (!tx->verdicts[i].decided)
			judge(&tx->verdicts[i], E_LIMIT, "RCPT", tx->no_room);
	tx->message = NULL;
	c->done_untold = true;
}

static void settle_and_go_on(struct smtp_client *c, bool reset)
{
	settle(c);
	if (reset)
		client_say_rset(c);
	else
		client_ready(c);
}

/* ---- commands ---- */

static size_t unanswered(const struct client_transaction *tx)
{
	return tx->mail_sent + tx->sent + tx->data_sent - tx->answered;
}

/* RFC 2920 section 3.1: DATA is the last of a group. The answers to RCPT are waited for before BDAT, whose octets come with it. */
static bool may_say_data(const struct client_transaction *tx)
{
	return !tx->data_sent && !tx->chunked && !tx->message->probe && (tx->accepted > 0 || tx->answered < 1 + tx->sent);
}

/* True when a command was said. */
static bool say_next(struct smtp_client *c)
{
	struct client_transaction *tx = &c->tx;

	if (!tx->mail_sent) {
		client_say_mail(c, tx->message);
		tx->mail_sent = true;
	} else if (tx->answered > 0 && !tx->mail_taken) {
		return false;
	} else if (tx->sent < tx->limit) {
		client_say_rcpt(c, &tx->message->recipients[tx->sent]);
		tx->sent++;
	} else if (may_say_data(tx)) {
		buf_add_str(c->out, "DATA\r\n");
		tx->data_sent = true;
	} else {
		return false;
	}
	return true;
}

/* As many commands as may be on their way at once, and as the output has room for. */
static void say_more(struct smtp_client *c)
{
	size_t window = c->offers.pipelining ? SMTP_CLIENT_PIPELINE : 1;

	while (unanswered(&c->tx) < window && (unanswered(&c->tx) == 0 || buf_len(c->out) < CLIENT_OUT_ENOUGH))
		if (!say_next(c))
			return;
}

/* ---- answers ---- */

static void mail_answered(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	struct client_transaction *tx = &c->tx;

	tx->mail_taken = reply->code / 100 == 2;
	if (tx->mail_taken)
		return;
	if (client_code_of(reply) == E_REMOTE) {
		client_fail_by_reply(c, reply, "MAIL");
		return;
	}
	judge_many(c, OF_ALL, client_code_of(reply), "MAIL", reply);
}

/* RFC 5321 section 4.5.3.1.10: 452, once 552, when there are too many. Other enhanced codes tell of the mailbox itself. */
static bool is_no_room(const struct client_transaction *tx, const struct smtp_client_reply *reply)
{
	return tx->accepted > 0 && (reply->code == 452 || reply->code == 552) &&
	       (reply->enhanced[0] == '\0' || strcmp(reply->enhanced + 1, ".5.3") == 0);
}

static void rcpt_answered(struct smtp_client *c, struct verdict *v, const struct smtp_client_reply *reply)
{
	struct client_transaction *tx = &c->tx;
	int code = client_code_of(reply);

	if (v->decided) /* MAIL was refused */
		return;
	if (reply->code / 100 == 2) {
		v->accepted = true;
		v->reply = tx->message->probe ? keep_reply(c, reply) : NULL;
		tx->accepted++;
	} else if (code == E_REMOTE) {
		client_fail_by_reply(c, reply, "RCPT");
	} else if (is_no_room(tx, reply)) {
		judge(v, E_LIMIT, "RCPT", keep_reply(c, reply));
		tx->no_room = v->reply;
		tx->limit = tx->sent; /* the rest is not tried */
	} else {
		judge(v, code, "RCPT", keep_reply(c, reply));
	}
}

/* RFC 2920 section 3.1: a server may answer 354 although it has taken no recipient; then it gets an empty message. */
static void data_answered(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	struct client_transaction *tx = &c->tx;
	int code = client_code_of(reply);

	if (reply->code == 354 && tx->accepted > 0) {
		client_content_begin(c);
	} else if (reply->code == 354 && c->lmtp) {
		client_fail(c, E_REMOTE, reply, "The server broke the protocol: it takes the content for no recipient"); /* RFC 2033 section 4.2 */
	} else if (reply->code == 354) {
		settle(c);
		buf_add_str(c->out, ".\r\n");
		client_set_state(c, CLIENT_DRAIN);
	} else if (code == E_REMOTE) {
		client_fail_by_reply(c, reply, "DATA");
	} else {
		judge_many(c, OF_ACCEPTED, code, "DATA", reply);
		settle_and_go_on(c, tx->mail_taken);
	}
}

/* Nothing is sent to those that would be taken: this 0 has no message behind it. */
static void judge_probed(struct smtp_client *c)
{
	for (size_t i = 0; i < c->tx.count; i++) {
		struct verdict *v = &c->tx.verdicts[i];

		if (v->accepted && !v->decided)
			judge(v, 0, "RCPT", v->reply);
	}
}

/* Everything that was said is answered, and there is nothing more to say but the content. */
static void envelope_is_through(struct smtp_client *c)
{
	struct client_transaction *tx = &c->tx;

	if (tx->message->probe)
		judge_probed(c);
	if (tx->accepted == 0 || tx->message->probe)
		settle_and_go_on(c, tx->mail_taken);
	else if (tx->chunked)
		client_content_begin(c);
}

void client_envelope_answered(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	struct client_transaction *tx = &c->tx;
	size_t nth = tx->answered;

	if (nth == 0)
		mail_answered(c, reply);
	else if (nth <= tx->sent)
		rcpt_answered(c, &tx->verdicts[nth - 1], reply);
	else
		data_answered(c, reply);
	tx->answered++;
	if (c->state != CLIENT_ENVELOPE)
		return;
	say_more(c);
	if (unanswered(tx) == 0)
		envelope_is_through(c);
}

/* A server that refuses while it is still being sent to has made up its mind; none has taken what it has not got. */
void client_content_interrupted(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	client_fail_by_reply(c, reply, "the content");
}

static void lmtp_answered(struct smtp_client *c, const struct smtp_client_reply *reply, int code, const char *command)
{
	struct client_transaction *tx = &c->tx;

	while (!tx->verdicts[tx->next].accepted)
		tx->next++;
	judge(&tx->verdicts[tx->next++], code, command, keep_reply(c, reply));
	tx->accepted--;
}

/*
 * The only place where a recipient gets a 0. In LMTP the answers come in the order of the recipients that were taken (RFC 2033
 * section 4.2). Behind a BDAT that failed the server's state is not defined (RFC 3030 section 3).
 */
void client_end_answered(struct smtp_client *c, const struct smtp_client_reply *reply)
{
	const char *command = c->tx.chunked ? end_of_bdat : end_of_data;
	int code = reply->code / 100 == 2 ? 0 : client_code_of(reply);

	if (code == E_REMOTE) {
		client_fail(c, E_REMOTE, NULL, "The server broke the protocol: it answers %s with %d %.200s", command, reply->code, reply->text);
		return;
	}
	if (c->lmtp)
		lmtp_answered(c, reply, code, command);
	else
		judge_many(c, OF_ACCEPTED, code, command, reply);
	if (!c->lmtp || c->tx.accepted == 0)
		settle_and_go_on(c, c->tx.chunked && !c->lmtp && code != 0);
}

/* ---- the owner's side ---- */

int smtp_client_send(struct smtp_client *c, const struct smtp_client_message *message, struct err *err)
{
	struct client_transaction *tx = &c->tx;
	size_t most = c->offers.rcpt_max;
	bool utf8;
	int r;

	invariant(c->state == CLIENT_IDLE && !c->done_untold && message->recipient_count > 0);
	r = client_check_message(c, message, &utf8, err);
	if (r != 0)
		return r;
	pool_free(&tx->pool);
	*tx = (struct client_transaction){.message = message, .count = message->recipient_count, .smtputf8 = utf8};
	tx->limit = most > 0 && most < tx->count ? most : tx->count;
	tx->chunked = c->offers.chunking && message->size > 0;
	tx->pool = pool_new(NULL, TRANSACTION_POOL_MAX);
	tx->verdicts = tx->pool ? pool_array(tx->pool, tx->count, sizeof(*tx->verdicts)) : NULL;
	if (tx->verdicts == NULL) {
		*tx = (struct client_transaction){.pool = tx->pool};
		return err_set(err, E_NOMEM, "No memory for %zu recipients", message->recipient_count);
	}
	c->transactions++;
	client_set_state(c, CLIENT_ENVELOPE);
	say_more(c);
	return 0;
}

const struct smtp_client_result *smtp_client_result(struct smtp_client *c, size_t recipient)
{
	struct smtp_client_result *out = &c->result;
	const struct verdict *v;

	invariant(recipient < c->tx.count && c->tx.message == NULL);
	v = &c->tx.verdicts[recipient];
	*out = (struct smtp_client_result){.code = v->code, .maybe = v->maybe, .whole = v->command == end_of_data || (v->command == end_of_bdat && c->tx.whole),
	    .command = v->command};
	if (v->reply != NULL) {
		out->reply.code = v->reply->code;
		memcpy(out->reply.enhanced, v->reply->enhanced, sizeof(out->reply.enhanced));
		memcpy(out->reply.text, v->reply->text, strlen(v->reply->text) + 1);
	}
	return out;
}
