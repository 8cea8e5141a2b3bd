/* What `mailwain queue show` and `attempts` tell of one message beside what lists have: its envelope, and what was tried. */
#include "queue/control.h"

#include "base/json.h"
#include "ipc/ipc.h"
#include "net/control.h"

enum {
	ATTEMPTS_SHOWN = 20,  /* of a recipient, the last ones, with the message */
	ATTEMPTS_LEFT = 8192, /* octets of a row that are for everything else */
};

static void add_attempt(struct buf *out, const struct message *m, const struct spool_record *r)
{
	buf_printf(out, "{\"when\":%lld,\"recipient\":", (long long)r->when);
	json_add_string(out, r->recipient < m->file.envelope.recipient_count ? m->file.envelope.recipients[r->recipient].address : span_str(""));
	buf_printf(out, ",\"status\":\"%s\",\"attempts\":%u,\"next\":%lld,\"reason\":", queue_status_name(r->status), r->attempts, (long long)r->next);
	json_add_string(out, r->text);
	buf_add_char(out, '}');
}

void queue_control_attempts(struct control_reply *reply, const struct message *m)
{
	for (size_t i = 0; i < m->file.record_count; i++) {
		struct buf out;

		buf_init(&out, CONTROL_PIECE);
		add_attempt(&out, m, &m->file.records[i]);
		control_reply_row(reply, buf_span(&out));
		buf_fini(&out);
	}
}

/* What is of the whole message goes with its first recipient. */
static bool is_of(const struct spool_record *r, uint32_t recipient)
{
	return r->recipient == recipient || (r->recipient == UINT32_MAX && recipient == 0);
}

static void add_attempts(struct buf *out, const struct message *m, uint32_t recipient)
{
	size_t first = m->file.record_count, count = 0;
	bool begun = false;

	while (first > 0 && count < ATTEMPTS_SHOWN)
		count += is_of(&m->file.records[--first], recipient);
	for (size_t i = first; i < m->file.record_count; i++) {
		size_t before = buf_len(out);

		if (!is_of(&m->file.records[i], recipient))
			continue;
		buf_add_str(out, begun ? "," : ",\"tried\":[");
		add_attempt(out, m, &m->file.records[i]);
		if (buf_failed(out) || buf_len(out) > CONTROL_PIECE - ATTEMPTS_LEFT) {
			buf_cut(out, before);
			break;
		}
		begun = true;
	}
	if (begun)
		buf_add_char(out, ']');
}

/* ---- the envelope ---- */

static void add_text(struct buf *out, const char *key, struct span text)
{
	buf_printf(out, ",\"%s\":", key);
	json_add_string(out, text);
}

static void add_notify(struct buf *out, uint32_t notify)
{
	static const char *const names[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
	const char *between = "";

	buf_add_str(out, ",\"notify\":\"");
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((notify & 1U << i) != 0) {
			buf_printf(out, "%s%s", between, names[i]);
			between = ",";
		}
	buf_add_char(out, '"');
}

static void add_envelope(struct buf *out, const struct spool_envelope *e)
{
	static const char *const sources[] = {"", "smtp", "submission", "local", "lmtp", "notification"};
	static const char *const bodies[] = {"7BIT", "8BITMIME", "BINARYMIME"};
	static const char *const returns[] = {"", "FULL", "HDRS"};

	buf_printf(out, ",\"envelope\":{\"source\":\"%s\",\"account\":%llu", sources[e->source], (unsigned long long)e->submitter);
	add_text(out, "client", e->client);
	add_text(out, "helo", e->helo);
	add_text(out, "envid", e->envid);
	buf_printf(out, ",\"ret\":\"%s\",\"body\":\"%s\",\"smtputf8\":%s,\"requiretls\":%s,\"tls_optional\":%s}", returns[e->ret], bodies[e->body], e->smtputf8 ? "true" : "false",
	    e->requiretls ? "true" : "false", e->tls_optional ? "true" : "false");
}

void queue_control_add_envelope(struct buf *out, const struct message *m, uint32_t recipient)
{
	const struct spool_recipient *r = &m->file.envelope.recipients[recipient];

	add_notify(out, r->notify);
	add_text(out, "orcpt", r->orcpt);
	add_envelope(out, &m->file.envelope);
	add_attempts(out, m, recipient);
}
