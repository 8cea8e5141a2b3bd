/*
 * What a transaction has come to. A recipient that the host has put off goes to the next one of the route before its message waits: a
 * host whose disk is full is no reason to leave the one beside it alone (RFC 5321 section 5.1). What was sent whole is not sent elsewhere.
 */
#include "relay/relay.h"

#include "base/log.h"

#include <stdio.h>

/* ---- words ---- */

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

/* ---- what became of a recipient ---- */

/* Of the message as a whole: nothing is begun any more, or there is nobody else. */
static bool may_go_on(const struct job *job, const struct session *session)
{
	return job->way.kind == WAY_MX && !job->message.probe && !job->cancelled && !job->relay->halting && !relay_is_full(job->relay) && job->further < RELAY_FURTHER_MAX &&
	       attempt_has_further(job, session->host);
}

/* Of a recipient. E_LIMIT is for the same host at once; what is our own trouble would be so elsewhere. */
static bool is_put_off(const struct smtp_client_result *r)
{
	return !r->whole && (r->code == E_UNAVAILABLE || r->code == E_CLOSED || r->code == E_TIMEOUT || r->code == E_REMOTE);
}

static size_t count_put_off(const struct job *job, const struct session *session)
{
	size_t count = 0;

	for (size_t i = 0; i < job->message.recipient_count; i++)
		count += is_put_off(smtp_client_result(session->client, i));
	return count;
}

static struct job_result result_of(const struct job *job, const struct session *s, size_t i, char said[RESULT_TEXT])
{
	const struct smtp_client_result *result = smtp_client_result(s->client, i);
	struct err failure = {0};

	smtp_client_failure(s->client, &failure, NULL);
	text_of(result, &failure, said);
	return (struct job_result){.recipient = job->put_off != NULL ? job->put_off[i].recipient : (uint32_t)i, .code = code_of(result), .maybe = result->maybe, .reached = true,
	    .dsn = smtp_client_offers(s->client)->dsn, .host = s->host, .address = s->address, .tls = s->tls, .said = result->reply.code != 0 && result->code != E_REMOTE, .text = said};
}

/* ---- those that go on ---- */

/* Pooled with the job. */
struct rest {
	struct smtp_client_recipient *recipients;
	struct job_result *results;
	size_t count; /* 0: nobody goes on */
};

/* What is told should no other host take it. Most recipients are told the same. False: no memory. */
static bool keep(const struct job *job, struct rest *rest, size_t i, const struct job_result *r)
{
	const struct job_result *before = rest->count > 0 ? &rest->results[rest->count - 1] : NULL;
	struct job_result *kept = &rest->results[rest->count];

	*kept = *r;
	kept->host = before != NULL ? before->host : pool_strndup(job->pool, r->host, strlen(r->host));
	kept->address = before != NULL ? before->address : pool_strndup(job->pool, r->address, strlen(r->address));
	kept->tls = before != NULL ? before->tls : pool_strndup(job->pool, r->tls, strlen(r->tls));
	kept->text = before != NULL && strcmp(before->text, r->text) == 0 ? before->text : pool_strndup(job->pool, r->text, strlen(r->text));
	rest->recipients[rest->count++] = job->message.recipients[i];
	return kept->host != NULL && kept->address != NULL && kept->tls != NULL && kept->text != NULL;
}

/* Without memory for all nobody goes on. */
static struct rest make_rest(const struct job *job, const struct session *s)
{
	size_t count = may_go_on(job, s) ? count_put_off(job, s) : 0;
	struct rest rest = {0};

	if (count == 0)
		return rest;
	rest.results = pool_array(job->pool, count, sizeof(*rest.results));
	rest.recipients = pool_array(job->pool, count, sizeof(*rest.recipients));
	if (rest.results == NULL || rest.recipients == NULL)
		return rest;
	for (size_t i = 0; i < job->message.recipient_count; i++) {
		char said[RESULT_TEXT];
		struct job_result r = result_of(job, s, i, said);

		if (is_put_off(smtp_client_result(s->client, i)) && !keep(job, &rest, i, &r))
			return (struct rest){0};
	}
	return rest;
}

void transaction_log_next(struct job *job)
{
	const struct job_result *r = job->put_off;

	if (!job->goes_on)
		return;
	job->goes_on = false;
	log_event(EV_relay_next_host, daemon_log(job->relay->daemon), F_SPAN("qid", job->queue_id), F_STR("host", r->host), F_STR("address", r->address), F_STR("tls", r->tls),
	    F_STR("reply", r->text), F_U64("recipients", job->message.recipient_count));
}

static void go_on(struct job *job, const struct rest *rest)
{
	const struct job_result *r = &rest->results[0];

	if (job->original.recipients != NULL)
		job->message = job->original;
	job->message.recipients = rest->recipients;
	job->message.recipient_count = rest->count;
	job->original = job->message;
	job->put_off = rest->results;
	job->goes_on = true;
	job->sent = false;
	snprintf(job->put_off_by[job->further++], DNS_NAME_TEXT, "%s", r->host);
	err_set(&job->failure, E_UNAVAILABLE, "%s", r->text);
	attempt_further(job);
}

/* ---- all of it ---- */

/* Where one host has said "another time", another one's refusal is none. */
static void tell(struct job *job, const struct session *s, size_t i, bool pause, bool last)
{
	char said[RESULT_TEXT];
	struct job_result r = result_of(job, s, i, said);

	if (job->put_off != NULL && r.code != 0 && !err_is_temp(r.code))
		r = job->put_off[i];
	r.pause = pause;
	r.last = last;
	result_tell(job, &r);
}

void transaction_done(struct job *job, const struct session *s)
{
	struct rest rest = make_rest(job, s);
	size_t count = job->message.recipient_count, left = count - rest.count;
	bool ends = rest.count == 0;

	for (size_t i = 0; i < count; i++) {
		if (!ends && is_put_off(smtp_client_result(s->client, i)))
			continue;
		left--;
		tell(job, s, i, left == 0 && !ends, left == 0 && ends);
	}
	if (!ends)
		go_on(job, &rest);
	else
		job_free(job);
}
