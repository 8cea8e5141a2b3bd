/* What becomes of a job's recipients, in words: to its owner, and to the log. */
#include "relay/relay.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

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

void result_tell(struct job *job, const struct job_result *r)
{
	log_result(job, r);
	if (job->arg != NULL)
		job->owner->result(job->arg, job, r);
}

/* A refusal counts for nothing beside an answer that says "another time", and a host that was not reached says nothing. */
static void tell_put_off(struct job *job)
{
	for (size_t i = 0; i < job->message.recipient_count; i++) {
		job->put_off[i].last = i + 1 == job->message.recipient_count;
		result_tell(job, &job->put_off[i]);
	}
}

static void tell_all(struct job *job, int code, bool reached, const char *text)
{
	struct job_result r = {.code = code, .reached = reached, .host = job->failure_host, .address = job->failure_address, .tls = ""};
	char said[RESULT_TEXT];

	snprintf(said, sizeof(said), "%d %s", reply_code_of(text), text);
	r.text = said;
	for (size_t i = 0; i < job->message.recipient_count; i++) {
		r.recipient = (uint32_t)i;
		r.last = i + 1 == job->message.recipient_count;
		result_tell(job, &r);
	}
}

void result_all(struct job *job, int code, bool reached, const char *text)
{
	if (job->put_off != NULL)
		tell_put_off(job);
	else
		tell_all(job, code, reached, text);
	job_free(job);
}

void result_withdrawn(struct job *job)
{
	result_all(job, E_UNAVAILABLE, true, "4.7.0 the message was withdrawn");
}
