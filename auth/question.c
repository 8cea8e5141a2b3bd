/*
 * What daemons ask about addresses. Most is answered at once; what needs to know of a user of this machine is asked again, from
 * the start, when auth-pam has answered.
 */
#include "auth/auth.h"

#include "auth/system.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <stdlib.h>

enum {
	GRANT_SECONDS = 2 * 86400, /* longer than the largest message takes at the slowest pace that is allowed */
	PROGRAM_SECONDS = 86400,   /* of a grant for a command: it is asked for anew with each attempt, and may have to wait its turn */
};

struct question {
	struct question *next, **link; /* auth->questions */
	struct auth *auth;
	struct ipc_conn *conn; /* NULL: the asker has gone */
	uint32_t id;
	const struct ipc_type *type;
	uint64_t account;
	unsigned round;
	char address[DIRECTORY_ADDRESS_MAX + 1];
};

static void answer(struct question *q);

/* ---- waiting ---- */

static void on_known(void *arg)
{
	struct question *later = arg, q = *later;

	*q.link = q.next;
	if (q.next != NULL)
		q.next->link = q.link;
	free(later);
	q.round++;
	if (q.conn != NULL)
		answer(&q);
}

/* False: it cannot wait, and *code says why. */
static bool wait_for_user(const struct question *q, int *code)
{
	struct auth *auth = q->auth;
	struct question *later = q->round < SYSTEM_ROUNDS_MAX ? malloc(sizeof(*later)) : NULL;

	if (later == NULL || system_wait(auth->system, on_known, later) != 0) {
		free(later);
		*code = E_UNAVAILABLE;
		return false;
	}
	*later = *q;
	later->next = auth->questions;
	later->link = &auth->questions;
	if (later->next != NULL)
		later->next->link = &later->next;
	auth->questions = later;
	return true;
}

void auth_question_forget(struct auth *auth, struct ipc_conn *conn)
{
	for (struct question *q = auth->questions; q != NULL; q = q->next)
		if (q->conn == conn)
			q->conn = NULL;
}

/* ---- answers ---- */

static int ignore_target(void *arg, const struct recipient *r)
{
	(void)arg;
	(void)r;
	return 0;
}

static void log_error(const struct question *q, int code, const struct err *err)
{
	if (code != 0 && err_class(code) != ERR_CLASS_PERM)
		log_event(EV_auth_directory_error, daemon_log(q->auth->daemon), F_ERR(err));
}

static void answer_recipient(const struct question *q)
{
	struct auth *auth = q->auth;
	struct auth_recipient_answer body = {0};
	unsigned char grant[GRANT_SIZE];
	struct recipient found = {0};
	struct err err = {0};
	int code = auth_lookup(auth, span_str(q->address), &found, &err);

	/* An alias that leads nowhere is refused while the sender is still there. */
	if (code == 0 && found.account == 0)
		code = auth_expand_each(auth, span_str(q->address), ignore_target, NULL, &err);
	if (code == E_AGAIN && wait_for_user(q, &code))
		return;
	body.code = code;
	if (code == 0) {
		body.account = found.account;
		body.quota = found.quota;
		body.address = span_str(found.address);
		body.detail = span_str(found.detail);
		grant_make(auth->grant_key, GRANT_RECIPIENT, found.account, found.quota, body.address,
		    grant_now() + GRANT_SECONDS, grant);
		body.grant = span_of(grant, sizeof(grant));
	} else {
		body.account = code == E_DISABLED ? found.account : 0; /* its mail can still be looked after */
		body.text = span_str(err.text);
		log_error(q, code, &err);
	}
	ipc_conn_answer(q->conn, &ipc_auth_recipient_answer, q->id, &body, -1);
}

static int send_target(void *arg, const struct recipient *r)
{
	static const char *const refusals[] = {"an alias leads to what is no address", "an alias leads to a command, which is not allowed here",
	    "an alias leads to a file, which is not allowed here"};
	const struct question *q = arg;
	unsigned char grant[GRANT_SIZE];
	struct auth_target target = {.code = r->code,
	    .account = r->account,
	    .quota = r->quota,
	    .address = span_str(r->address),
	    .detail = span_str(r->detail),
	    .sender = r->owner};

	if (r->code != 0) {
		target.text = span_str(refusals[r->program]);
	} else if (r->program != PROGRAM_NONE) {
		grant_make_program(q->auth->program_key, r->program, r->name, r->text, grant_now() + PROGRAM_SECONDS, grant);
		target.kind = r->program;
		target.name = r->name;
		target.program = r->text;
		target.grant = span_of(grant, sizeof(grant));
	}
	return ipc_conn_answer(q->conn, &ipc_auth_target, q->id, &target, -1);
}

static void answer_expand(struct question *q)
{
	struct auth_expanded done = {0};
	struct err err = {0};
	int code = auth_expand_each(q->auth, span_str(q->address), send_target, q, &err);

	if (code == E_AGAIN && wait_for_user(q, &code))
		return;
	done.code = code;
	done.text = span_str(err.text);
	ipc_conn_answer(q->conn, &ipc_auth_expanded, q->id, &done, -1);
}

/* All that has to be known of users is asked for before the first word. */
static void answer_explain(struct question *q)
{
	struct recipient found = {0};
	struct err err = {0}, ignored = {0};
	char text[1024];
	struct auth_found body = {0};
	int code = auth_lookup(q->auth, span_str(q->address), &found, &err);
	int all = code == 0 && found.account == 0 ? auth_expand_each(q->auth, span_str(q->address), ignore_target, NULL, &ignored) : 0;

	if ((code == E_AGAIN || all == E_AGAIN) && wait_for_user(q, &code))
		return;
	auth_explain(&found, code, &err, text, sizeof(text));
	body.code = code;
	body.text = span_str(text);
	ipc_conn_answer(q->conn, &ipc_auth_found, q->id, &body, -1);
	answer_expand(q);
}

static void answer_sender(const struct question *q)
{
	struct auth_sender_answer body = {0};
	struct err err = {0};
	int code = auth_may_send_as(q->auth, q->account, span_str(q->address), &err);

	if (code == E_AGAIN && wait_for_user(q, &code))
		return;
	body.code = code;
	body.text = span_str(err.text);
	log_error(q, code, &err);
	ipc_conn_answer(q->conn, &ipc_auth_sender_answer, q->id, &body, -1);
}

static void answer(struct question *q)
{
	if (q->type == &ipc_auth_recipient)
		answer_recipient(q);
	else if (q->type == &ipc_auth_expand)
		answer_expand(q);
	else if (q->type == &ipc_auth_explain)
		answer_explain(q);
	else
		answer_sender(q);
}

void auth_question(struct auth *auth, struct ipc_conn *conn, uint32_t id, const struct ipc_type *type, struct span address, uint64_t account)
{
	struct question q = {.auth = auth, .conn = conn, .id = id, .type = type, .account = account};

	span_copy(address, q.address, sizeof(q.address));
	answer(&q);
}
