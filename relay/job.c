/* A job from its beginning to its results. attempt.c makes the connections, session.c has the conversation. */
#include "relay/relay.h"

#include "base/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { JOB_POOL_MAX = 512 * 1024 };

struct job *job_new(struct relay *relay, const struct job_owner *owner, void *arg)
{
	struct pool *pool = pool_new(NULL, JOB_POOL_MAX);
	struct job *job = pool ? pool_new_object(pool, struct job) : NULL;

	if (job == NULL) {
		pool_free(&pool);
		return NULL;
	}
	job->pool = pool;
	job->relay = relay;
	job->owner = owner;
	job->arg = arg;
	job->fd = -1;
	job->began_ms = clock_monotonic_ms();
	job->next = relay->jobs;
	job->link = &relay->jobs;
	if (job->next != NULL)
		job->next->link = &job->next;
	relay->jobs = job;
	relay->job_count++;
	return job;
}

static void stop_waiting(struct job *job)
{
	struct relay *relay = job->relay;
	struct job **at = &relay->waiting;

	while (job->waits && *at != job)
		at = &(*at)->waiting_next;
	if (job->waits) {
		*at = job->waiting_next;
		if (*at == NULL)
			relay->waiting_tail = at;
	}
	job->waits = false;
}

void job_free(struct job *job)
{
	struct relay *relay = job->relay;
	struct pool *pool = job->pool;

	stop_waiting(job);
	attempt_stop(job);
	convert_free(&job->conversion);
	*job->link = job->next;
	if (job->next != NULL)
		job->next->link = job->link;
	relay->job_count--;
	if (job->destination != NULL)
		job->destination->jobs--;
	if (job->fd >= 0)
		close(job->fd);
	if (job->way.secret.len > 0)
		explicit_bzero((void *)(uintptr_t)job->way.secret.ptr, job->way.secret.len);
	pool_free(&pool);
	relay_try_finish(relay);
}

void job_trace(const struct job *job, const char *fmt, ...)
{
	char text[2200];
	va_list ap;

	if (job == NULL || job->arg == NULL || job->owner->trace == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	job->owner->trace(job->arg, job, text);
}

/* ---- begin ---- */

bool job_requires_tls(const struct job *job)
{
	return job->message.requiretls && job->message.sender.len > 0;
}

bool job_take_domain(struct job *job, struct span domain)
{
	char name[DNS_NAME_TEXT];

	if (domain.len > 0 && domain.ptr[0] == '[') {
		job->domain = pool_span(job->pool, domain);
		return true;
	}
	if (dns_name_normalize(domain, name) != 0)
		return false;
	job->domain = pool_span(job->pool, span_str(name));
	return true;
}

/* A smarthost's is its own name (RFC 8461 section 3.4). */
struct span job_policy_domain(const struct job *job)
{
	return job->way.kind == WAY_MX ? job->domain : job->way.host;
}

static void go(struct job *job)
{
	struct session *idle = job->destination->idle_first;

	if (idle != NULL && !job->message.probe)
		session_take(idle, job);
	else
		attempt_begin(job);
}

/* Who is on the way to a session may have one at any moment. */
bool relay_is_full(const struct relay *relay)
{
	return relay->session_count + relay->under_way >= RELAY_SESSIONS_MAX;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct relay *relay = arg;

	(void)fd;
	(void)what;
	while (relay->waiting != NULL && (!relay_is_full(relay) || relay->waiting->destination->idle_first != NULL)) {
		struct job *job = relay->waiting;

		stop_waiting(job);
		go(job);
	}
	if (relay->waiting != NULL && relay->idle != NULL)
		session_quit(relay->idle); /* its place is for those that wait */
}

/* In a turn of its own: who calls may be a session in the midst of its conversation, which a job could take and end. */
void job_wake_waiting(struct relay *relay)
{
	if (relay->waiting != NULL)
		event_active(relay->wake, EV_TIMEOUT, 0);
}

static void wait_for_room(struct job *job)
{
	struct relay *relay = job->relay;

	if (relay->wake == NULL)
		relay->wake = evtimer_new(daemon_base(relay->daemon), on_wake, relay);
	if (relay->wake == NULL) {
		result_all(job, E_NOMEM, true, "4.3.0 out of memory");
		return;
	}
	job->waits = true;
	job->waiting_next = NULL;
	*relay->waiting_tail = job;
	relay->waiting_tail = &job->waiting_next;
	if (relay->idle != NULL)
		session_quit(relay->idle);
}

static void start_by_settings(struct job *job)
{
	char text[512];

	span_copy(job->way.error, text, sizeof(text));
	if (job->way.kind == WAY_HOLD)
		result_all(job, E_UNAVAILABLE, true, "4.7.0 mail for this address is held back by the configuration");
	else
		result_all(job, text[0] == '4' ? E_UNAVAILABLE : E_CANNOT, true, text);
}

void job_start(struct job *job)
{
	struct relay *relay = job->relay;

	if (job->way.kind == WAY_ERROR || job->way.kind == WAY_HOLD) {
		start_by_settings(job);
		return;
	}
	if (relay->job_count > RELAY_JOBS_MAX || relay->halting) {
		result_all(job, E_BUSY, true, relay->halting ? "4.3.2 this server is being stopped" : "4.3.2 too much is on its way at once");
		return;
	}
	job->destination = destination_get(relay, job);
	job->only_refused = true;
	if (job->destination == NULL)
		result_all(job, E_NOMEM, true, "4.3.0 out of memory");
	else if (job->destination->idle_first != NULL || (relay->waiting == NULL && !relay_is_full(relay)))
		go(job);
	else
		wait_for_room(job);
}

void job_cancel(struct job *job)
{
	job->cancelled = true;
	if (job->sent)
		return;
	if (job->session != NULL) {
		session_release(job->session);
		job->session = NULL;
	}
	result_withdrawn(job);
}

/* ---- content ---- */

int job_read(struct job *job, struct span *piece, bool *last, struct err *err)
{
	char *buffer = job->relay->piece;
	uint64_t left = job->message.size - job->offset;
	ssize_t n;

	if (job->conversion != NULL)
		return convert_read(job->conversion, piece, last, err);
	*last = true;
	*piece = job->content;
	if (job->fd < 0)
		return 0;
	n = pread(job->fd, buffer, left < RELAY_PIECE ? (size_t)left : RELAY_PIECE, (off_t)job->offset);
	if (n < 0)
		return err_set_errno(err, errno, "the message's file");
	if (n == 0 && left > 0)
		return err_set(err, E_CORRUPT, "the message's file is shorter than its envelope says");
	job->offset += (uint64_t)n;
	*piece = span_of(buffer, (size_t)n);
	*last = job->offset == job->message.size;
	return 0;
}

/* ---- what its session says ---- */

static void cannot_send(struct job *job, int code, const struct err *err)
{
	static const struct {
		int code;
		const char *status;
	} rows[] = {{E_TOOBIG, "5.3.4"}, {E_CONTENT, "5.6.3"}, {E_SYNTAX, "5.1.3"}, {E_UNSUPPORTED, "5.6.7"}};
	const char *status = "4.3.0";
	char text[ERR_TEXT_MAX + 16];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].code == code)
			status = rows[i].status;
	snprintf(text, sizeof(text), "%s %s", status, err->text);
	result_all(job, code, true, text);
}

static void note_session(struct job *job, const struct session *s)
{
	snprintf(job->failure_host, sizeof(job->failure_host), "%s", s->host);
	snprintf(job->failure_address, sizeof(job->failure_address), "%s", s->address);
}

/*
 * Behind an address that is not this machine's own, as that of a router, it is met again: mail would go in circles. Only a host that DNS names; where
 * the administrator sends mail he means it.
 */
static bool is_self(const struct job *job, const struct session *s)
{
	return job->way.kind == WAY_MX && job->route != NULL && span_caseeq(smtp_client_server_name(s->client), job->relay->self.hostname);
}

static void leave_self(struct job *job, struct session *s)
{
	note_session(job, s);
	s->worn = true;
	session_release(s);
	job->session = NULL;
	err_set(&job->failure, E_LOOP, "5.4.6 mail for %.*s comes back to this server, which is not responsible for it: %s [%s] has its hostname", SPAN_ARG(job->domain), s->host,
	    s->address);
	attempt_past_self(job);
}

void job_session_ready(struct job *job)
{
	struct session *s = job->session;
	struct err err = {0};
	bool lacks;
	int r;

	if (is_self(job, s)) {
		leave_self(job, s);
		return;
	}
	convert_free(&job->conversion); /* of another server */
	if (job->original.recipients != NULL)
		job->message = job->original;
	job->original = job->message;
	job->offset = 0;
	/* RFC 8689 section 5: a notification goes its way all the same. */
	if (job->message.requiretls && job->message.sender.len == 0 && !smtp_client_offers(s->client)->requiretls)
		job->message.requiretls = false;
	r = session_send(s, &err);
	if (r == E_CONTENT && job->conversion == NULL) {
		r = convert_begin(job, &err);
		if (r == 0)
			r = session_send(s, &err);
	}
	if (r == 0) {
		job->sent = true;
		return;
	}
	note_session(job, s);
	lacks = r == E_UNSUPPORTED && job->message.requiretls && !smtp_client_offers(s->client)->requiretls;
	s->worn |= lacks; /* who comes next for this destination demands it, too */
	session_release(s);
	job->session = NULL;
	if (lacks) {
		err_set(&job->failure, E_DENIED, "5.7.30 %.200s", err.text);
		attempt_further(job);
	} else {
		cannot_send(job, r, &err);
	}
}

void job_session_done(struct job *job)
{
	struct session *s = job->session;

	session_release(s);
	job->session = NULL;
	transaction_done(job, s);
}

/* A connection that was idle had been closed meanwhile, as it is the server's right: nothing has happened. */
static bool was_stale(const struct job *job, const struct session *s)
{
	const struct smtp_client_result *first;

	if (!s->reused || !job->sent)
		return s->reused;
	first = smtp_client_result(s->client, 0);
	return !first->maybe && strcmp(first->command, "MAIL") == 0 && (first->reply.code == 0 || first->reply.code == 421);
}

/* Whose word it is that keeps the message here. */
static void name_policy(const struct job *job, const struct session *s, struct err *failure)
{
	const struct err plain = *failure;

	if (s->policy.source == SOURCE_STS && !s->policy.testing && job->sts != NULL && strcmp(s->tls, "none") == 0)
		err_set(failure, plain.code, "%.120s (the MTA-STS policy of %.60s wants TLS with a valid certificate)", plain.text, job->sts->domain);
}

/* It is of no use to anybody's mail: not for what this message demands, nor for a password of ours. */
static bool is_dead(const struct session *s, int code)
{
	return !s->tls_failed && code != E_DENIED && code != E_AUTHFAILED && code != E_UNSUPPORTED && code != E_NOMEM;
}

/* Why the host is of no use, with a status that says so for now. */
static void take_failure(struct job *job, struct session *s)
{
	const struct smtp_client_reply *reply = NULL;
	struct err failure = s->ended;
	const char *status = "4.4.2";

	if (s->client != NULL)
		smtp_client_failure(s->client, &failure, &reply);
	if (is_dead(s, failure.code))
		dead_add(&job->relay->dead, &s->at, clock_monotonic_ms());
	if (s->tls_failed || failure.code == E_DENIED)
		status = "4.7.5";
	else if (failure.code == E_AUTHFAILED || failure.code == E_UNSUPPORTED)
		status = "4.7.8";
	else if (failure.code == E_REMOTE)
		status = "4.5.0";
	if (strcmp(status, "4.7.5") == 0) {
		session_tell(s, false);
		name_policy(job, s, &failure);
	}
	if (!s->tls_failed && failure.code == E_CANNOT && reply != NULL && reply->code != 0)
		err_set(&job->failure, E_CANNOT, "%s %.220s", reply->enhanced[0] != '\0' ? reply->enhanced : "5.0.0", failure.text);
	else if (job_requires_tls(job) && strcmp(status, "4.7.5") == 0)
		err_set(&job->failure, E_DENIED, "5.7.10 %.240s", failure.text);
	else
		err_set(&job->failure, E_UNAVAILABLE, "%s %.240s", status, failure.text);
	note_session(job, s);
}

void job_session_failed(struct job *job)
{
	struct session *s = job->session;

	job->session = NULL;
	if (was_stale(job, s) && job->cancelled) {
		result_withdrawn(job);
	} else if (was_stale(job, s)) {
		job->sent = false;
		attempt_begin(job);
	} else if (job->sent) {
		transaction_done(job, s);
	} else if (s->tls_failed && job->policy.in_clear_after_failure) {
		job_trace(job, "  %s; once again without TLS", s->ended.text);
		session_tell(s, true);
		attempt_in_clear(job);
	} else {
		take_failure(job, s);
		attempt_next(job);
	}
}
