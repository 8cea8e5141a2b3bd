/* Is this recipient ours? auth says; its word is remembered for moments. */
#include "intake/intake.h"

#include "base/clock.h"
#include "net/ipc_conn.h"

#include <stdio.h>

static struct cached *slot_of(struct intake *intake, struct span address)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < address.len; i++)
		hash = (hash ^ (unsigned char)address.ptr[i]) * 16777619u;
	return &intake->cache[hash % INTAKE_CACHE];
}

static void give_verdict(struct session *session, const struct verdict *verdict)
{
	const struct smtp_transaction *tx = smtp_server_transaction(session->server);
	struct verdict *kept = NULL;
	struct err err = {.code = verdict->code};
	int code = verdict->code;

	struct err rate;

	if (code == E_DENIED && session->intake->kind->submission)
		code = 0; /* no domain of ours: the world's */
	if (code == 0 && session->intake->kind->submission) {
		code = rate_take(session, 0, 1, &rate);
		if (code != 0)
			err = rate;
	}
	if (code == 0) {
		kept = pool_new_object(tx->pool, struct verdict);
		if (kept == NULL)
			code = err_set(&err, E_LIMIT, "the recipients take too much memory");
		else
			*kept = *verdict;
		if (kept != NULL)
			kept->remote = verdict->code == E_DENIED;
	} else if (code != E_RATE) {
		snprintf(err.text, sizeof(err.text), "%s", code == E_DENIED ? "Relaying is not allowed: this domain is not served here"
			: code == E_NOTFOUND ? "No such user here" : verdict->text);
	}
	smtp_server_rcpt_done(session->server, code, &err, kept);
}

static void fail(struct session *session, const char *text)
{
	struct verdict verdict = {.code = E_UNAVAILABLE};

	snprintf(verdict.text, sizeof(verdict.text), "%s", text);
	give_verdict(session, &verdict);
}

void recipient_ask(struct session *session, struct span address)
{
	struct intake *intake = session->intake;
	struct cached *slot = slot_of(intake, address);
	struct auth_recipient ask = {.address = address};

	if (slot->until_ms > clock_monotonic_ms() && span_eq(span_str(slot->key), address)) {
		give_verdict(session, &slot->verdict);
		return;
	}
	session->question = intake_next_question(intake);
	if (intake->auth == NULL || ipc_conn_send(intake->auth, &ipc_auth_recipient, session->question, &ask, -1) != 0) {
		session->question = 0;
		fail(session, "Recipients cannot be checked now; try again");
	}
}

static struct session *find_asking(struct intake *intake, uint32_t id)
{
	struct session *s = intake->sessions;

	while (s != NULL && s->question != id)
		s = s->next;
	return s;
}

void recipient_answered(struct intake *intake, uint32_t id, const struct auth_recipient_answer *answer)
{
	struct session *session = id ? find_asking(intake, id) : NULL;
	struct verdict verdict = {.code = answer->code, .account = answer->account, .quota = answer->quota};
	struct span address;
	struct cached *slot;

	if (session == NULL)
		return;
	span_copy(answer->address, verdict.address, sizeof(verdict.address));
	span_copy(answer->detail, verdict.detail, sizeof(verdict.detail));
	span_copy(answer->text, verdict.text, sizeof(verdict.text));
	verdict.grant_len = answer->grant.len <= sizeof(verdict.grant) ? answer->grant.len : 0;
	memcpy(verdict.grant, answer->grant.ptr, verdict.grant_len);
	session->question = 0;
	address = smtp_server_asked(session->server);
	if (answer->code == 0 || !err_is_temp(answer->code)) {
		slot = slot_of(intake, address);
		span_copy(address, slot->key, sizeof(slot->key));
		slot->verdict = verdict;
		slot->until_ms = clock_monotonic_ms() + (answer->code == 0 ? INTAKE_CACHE_GOOD_MS : INTAKE_CACHE_BAD_MS);
	}
	give_verdict(session, &verdict);
	session_go_on(session);
}

void recipients_forget(struct intake *intake)
{
	memset(intake->cache, 0, sizeof(intake->cache));
}

void recipients_service_lost(struct intake *intake)
{
	struct session *s = intake->sessions;

	while (s != NULL) {
		struct session *next = s->next;

		if (s->question != 0) {
			s->question = 0;
			fail(s, "Recipients cannot be checked now; try again");
			session_go_on(s);
		}
		s = next;
	}
}
