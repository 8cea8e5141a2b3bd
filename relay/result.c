/* What becomes of a job's recipients, in words: to its owner, and to the log. */
#include "relay/relay.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

enum { RESULT_TEXT = 512 };

/* The reply code that goes with an enhanced one (RFC 5248); 556 is of RFC 7505 and RFC 7504. */
static int reply_code_of(const char *enhanced)
{
	if (enhanced[0] == '4')
		return strncmp(enhanced, "4.3.", 4) == 0 || strncmp(enhanced, "4.4.", 4) == 0 ? 451 : 450;
	if (strncmp(enhanced, "5.1.10", 6) == 0)
		return 556;
	return strncmp(enhanced, "5.1.", 4) == 0 || strncmp(enhanced, "5.7.", 4) == 0 ? 550 : 554;
}

static void log_result(const struct job *job, const struct job_result *r)
{
	enum log_event_id event = r->code == 0 ? EV_relay_sent : err_is_temp(r->code) ? EV_relay_deferred : EV_relay_refused;
	struct relay *relay = job->relay;
	char seconds[24];
	int64_t ms = clock_monotonic_ms() - job->began_ms;

	if (job->message.probe)
		return;
	relay->sent += r->code == 0;
	relay->deferred += event == EV_relay_deferred;
	relay->refused += event == EV_relay_refused;
	snprintf(seconds, sizeof(seconds), "%lld.%03lld", (long long)(ms / 1000), (long long)(ms % 1000));
	log_event(event, daemon_log(relay->daemon), F_SPAN("qid", job->queue_id), F_SPAN("to", job->recipients[r->recipient].address), F_STR("host", r->host),
	    F_STR("address", r->address), F_STR("tls", r->tls), F_STR("reply", r->text), F_STR("seconds", seconds), F_U64("maybe", r->maybe));
}

static void tell(struct job *job, const struct job_result *r)
{
	log_result(job, r);
	if (job->arg != NULL)
		job->owner->result(job->arg, job, r);
}

void result_all(struct job *job, int code, bool reached, const char *text)
{
	struct job_result r = {.code = code, .reached = reached, .host = job->failure_host, .address = job->failure_address, .tls = ""};
	char said[RESULT_TEXT];

	snprintf(said, sizeof(said), "%d %s", reply_code_of(text), text);
	r.text = said;
	for (size_t i = 0; i < job->message.recipient_count; i++) {
		r.recipient = (uint32_t)i;
		r.last = i + 1 == job->message.recipient_count;
		tell(job, &r);
	}
	job_free(job);
}

void result_withdrawn(struct job *job)
{
	result_all(job, E_UNAVAILABLE, true, "4.7.0 the message was withdrawn");
}

/* A reply without an enhanced code gets the one that says no more than its class. */
static void text_of(const struct smtp_client_result *result, const struct err *failure, char out[RESULT_TEXT])
{
	const struct smtp_client_reply *reply = &result->reply;

	if (result->code == E_REMOTE)
		snprintf(out, RESULT_TEXT, "451 4.5.0 %s", failure->text);
	else if (reply->code != 0)
		snprintf(out, RESULT_TEXT, "%d %c%s %s", reply->code, (char)('0' + reply->code / 100), reply->enhanced[0] != '\0' ? reply->enhanced + 1 : ".0.0", reply->text);
	else if (result->code == 0)
		snprintf(out, RESULT_TEXT, "250 2.0.0 taken");
	else if (result->code == E_LIMIT)
		snprintf(out, RESULT_TEXT, "452 4.5.3 the server takes fewer recipients at once");
	else
		snprintf(out, RESULT_TEXT, "451 4.4.2 %s, when an answer to %s was waited for", failure->text, result->command ? result->command : "a command");
}

/* What a connection that broke is called: not for good, whatever the engine calls it. */
static int code_of(const struct smtp_client_result *result)
{
	return result->code != 0 && result->reply.code == 0 && !err_is_temp(result->code) ? E_CLOSED : result->code;
}

void result_transaction(struct job *job, const struct session *session)
{
	struct err failure = {0};

	smtp_client_failure(session->client, &failure, NULL);
	for (size_t i = 0; i < job->message.recipient_count; i++) {
		const struct smtp_client_result *result = smtp_client_result(session->client, i);
		struct job_result r = {.recipient = (uint32_t)i, .code = code_of(result), .maybe = result->maybe, .reached = true, .host = session->host,
		    .address = session->address, .tls = session->tls, .dsn = smtp_client_offers(session->client)->dsn, .said = result->reply.code != 0 && result->code != E_REMOTE, .last = i + 1 == job->message.recipient_count};
		char said[RESULT_TEXT];

		text_of(result, &failure, said);
		r.text = said;
		tell(job, &r);
	}
	job_free(job);
}
