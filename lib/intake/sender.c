/* May this account send as this address (RFC 6409 section 6.1), and as much as this? */
#include "intake/intake.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <stdio.h>

static void answer(struct session *s, int code, const char *text)
{
	struct err err = {0};

	if (code != 0)
		err_set(&err, code, "%s", text);
	else
		code = rate_take(s, 1, 0, &err);
	smtp_server_mail_done(s->server, code, &err);
}

void sender_ask(struct session *s, struct span sender)
{
	struct intake *intake = s->intake;
	struct auth_sender ask = {.account = s->account, .address = sender};

	s->asks_sender = intake_next_question(intake);
	if (intake->auth == NULL || ipc_conn_send(intake->auth, &ipc_auth_sender, s->asks_sender, &ask, -1) != 0) {
		s->asks_sender = 0;
		answer(s, E_UNAVAILABLE, "Senders cannot be checked now; try again");
	}
}

void sender_answered(struct intake *intake, uint32_t id, const struct auth_sender_answer *body)
{
	struct session *s = intake->sessions;
	char text[256];

	while (s != NULL && s->asks_sender != id)
		s = s->next;
	if (s == NULL || id == 0)
		return;
	s->asks_sender = 0;
	span_copy(body->text, text, sizeof(text));
	answer(s, body->code, text);
	session_go_on(s);
}

void senders_service_lost(struct intake *intake)
{
	struct session *s = intake->sessions;

	while (s != NULL) {
		struct session *next = s->next;

		if (s->asks_sender != 0) {
			s->asks_sender = 0;
			answer(s, E_UNAVAILABLE, "Senders cannot be checked now; try again");
			session_go_on(s);
		}
		s = next;
	}
}
