/*
 * Where would a message go, and why? auth is asked for the directory, the transport table and what is known of the destination stand here,
 * and relay is asked for hosts and TLS; a row each. Nothing is sent, and nobody outside is spoken with but name servers, and the web server of an MTA-STS policy that is not kept yet.
 */
#include "queue/destination.h"

#include "base/clock.h"
#include "base/json.h"
#include "net/control.h"
#include "net/ipc_conn.h"
#include "queue/waiting.h"
#include "smtp/address.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

enum {
	EXPLAIN_MAX = 16,	/* at once */
	EXPLAIN_SECONDS = 120,	/* then what is known is all there is */
	EXPLAIN_HOSTS_MAX = 20, /* addresses elsewhere that relay is asked about; further ones are only named */
	EXPLAIN_POOL_MAX = 1024 * 1024,
};

/* An address elsewhere that is still to be explained. */
struct elsewhere {
	struct elsewhere *next;
	struct span address;
};

struct explanation {
	struct explanation *next;
	struct queue *queue;
	struct control_reply *reply;
	struct pool *pool;
	struct event *deadline;
	uint32_t question; /* of auth, or of relay */
	bool asks_relay;
	char address[SMTP_PATH_MAX + 1], sender[SMTP_PATH_MAX + 1];
	struct elsewhere *elsewhere, **tail;
	unsigned count; /* of those elsewhere */
	struct span now; /* relay was asked about this one */
};

/* ---- rows ---- */

/* host: with preference and DNSSEC; NULL: it is not about one. */
static void add_row(const struct explanation *x, struct span address, const char *step, struct span says, const struct relay_step *host)
{
	struct buf row;

	buf_init(&row, CONTROL_PIECE);
	buf_add_str(&row, "{\"address\":");
	json_add_string(&row, address);
	buf_printf(&row, ",\"step\":\"%s\",\"says\":", step);
	json_add_string(&row, says);
	if (host != NULL && host->host.len > 0) {
		buf_add_str(&row, ",\"host\":");
		json_add_string(&row, host->host);
		buf_printf(&row, ",\"preference\":%u,\"dnssec\":%s", host->preference, host->secure ? "true" : "false");
	}
	buf_add_char(&row, '}');
	control_reply_row(x->reply, buf_span(&row));
	buf_fini(&row);
}

static void say(const struct explanation *x, struct span address, const char *step, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void say(const struct explanation *x, struct span address, const char *step, const char *fmt, ...)
{
	char text[1500];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add_row(x, address, step, span_str(text), NULL);
}

/* By the code, what becomes of such a message. */
static void say_result(const struct explanation *x, struct span address, int code, struct span text)
{
	if (err_is_temp(code))
		say(x, address, "result", "it waits in the queue: %.*s", SPAN_ARG(text));
	else
		say(x, address, "result", "it is refused, or goes back to its sender: %.*s", SPAN_ARG(text));
}

/* ---- begin and end ---- */

static void end(struct explanation *x, unsigned exit, const char *text)
{
	struct explanation **link = &x->queue->explanations;
	struct pool *pool = x->pool;

	control_reply_done(x->reply, exit, "%s", text);
	while (*link != x)
		link = &(*link)->next;
	*link = x->next;
	event_free(x->deadline);
	pool_free(&pool);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct explanation *x = arg;

	(void)fd;
	(void)what;
	end(x, EX_TEMPFAIL, x->asks_relay ? "relay does not answer; that is all that is known" : "auth does not answer; that is all that is known");
}

static struct explanation *find(struct queue *queue, uint32_t question, bool asks_relay)
{
	struct explanation *x = queue->explanations;

	while (x != NULL && (x->question != question || x->asks_relay != asks_relay))
		x = x->next;
	return x;
}

/* ---- elsewhere ---- */

static const char *why_pattern(struct span pattern, struct span address)
{
	if (span_eq(pattern, SPAN_LIT("*")))
		return "for all addresses";
	if (span_startswith(pattern, SPAN_LIT("*.")))
		return "for what is below that domain";
	return span_caseeq(pattern, address) ? "for this very address" : "for its domain";
}

/* True: that is all, no host is looked for. */
static bool tell_transport(const struct explanation *x, struct span address, const struct route *route)
{
	const struct conf *conf = daemon_conf(x->queue->daemon);
	const struct conf_where where = {.transport = route->transport};
	struct span pattern, host, lmtp, error;
	const char *why;

	if (route->transport == NULL) {
		say(x, address, "transport", "no transport block holds for it: MX records tell the way");
		return false;
	}
	pattern = route->transport->pattern;
	why = why_pattern(pattern, address);
	host = conf_text(conf, CONF_transport_host, &where);
	lmtp = conf_text(conf, CONF_transport_lmtp, &where);
	error = conf_text(conf, CONF_transport_error, &where);
	if (error.len > 0) {
		say(x, address, "transport", "transport \"%.*s\" holds, %s: no mail is sent", SPAN_ARG(pattern), why);
		say_result(x, address, error.ptr[0] == '4' ? E_UNAVAILABLE : E_CANNOT, error);
		return true;
	}
	if (conf_bool(conf, CONF_transport_hold, &where))
		say(x, address, "transport", "transport \"%.*s\" holds, %s: its mail is kept in the queue (hold)", SPAN_ARG(pattern), why);
	else if (host.len > 0 || lmtp.len > 0)
		say(x, address, "transport", "transport \"%.*s\" holds, %s: all goes to %.*s by %s, and no MX records are asked for", SPAN_ARG(pattern), why,
		    SPAN_ARG(host.len > 0 ? host : lmtp), host.len > 0 ? "SMTP" : "LMTP");
	else
		say(x, address, "transport", "transport \"%.*s\" holds, %s: its settings count, and MX records tell the way", SPAN_ARG(pattern), why);
	return false;
}

static void tell_destination(const struct explanation *x, struct span address, const struct destination *d)
{
	int64_t now = queue_now(x->queue);
	struct destination_limits limits;

	destination_limits(d, &limits);
	say(x, address, "destination", "%s: %u of at most %u messages are on their way at once, %u wait for their turn, %zu in their files", d->key, d->in_flight, limits.window, d->waiting.count,
	    waiting_count_to(x->queue->waiting, d->number));
	if (limits.rate > 0)
		say(x, address, "limit", "relay-rate: at most %llu messages a minute go there", (unsigned long long)limits.rate);
	if (sending_rate(x->queue, span_str(x->sender)) > 0)
		say(x, address, "limit", "send-rate: at most %llu messages a minute leave from senders of the domain of %s", (unsigned long long)sending_rate(x->queue, span_str(x->sender)), x->sender);
	if (d->kept)
		say(x, address, "result", "it waits in the queue: its transport block says hold");
	else if (d->paused)
		say(x, address, "now", "nothing goes there until 'mailwain queue resume %s'", d->key);
	else if (destination_is_dead(d, now))
		say(x, address, "now", "it does not answer, and is tried again in %lld seconds: %s", (long long)(d->dead_until - now), d->why);
	else if (destination_is_full(d))
		say(x, address, "now", "as many messages as there may be wait for it already: one of a sender who has few there takes the place of one of who has many");
}

static void ask_relay(struct explanation *x, struct span address, const struct route *route)
{
	struct relay_plan ask = {.domain = span_str(route->domain), .transport = route->transport != NULL ? route->transport->pattern : span_str(""), .sender = span_str(x->sender)};

	x->asks_relay = true;
	x->now = address;
	x->question = ++x->queue->last_question;
	if (x->queue->relay == NULL || ipc_conn_send(x->queue->relay, &ipc_relay_plan, x->question, &ask, -1) != 0)
		end(x, EX_TEMPFAIL, "relay is not running: where the mail goes cannot be told now");
}

/* The next of those elsewhere; true: relay was asked about it, or all is over. */
static bool go_elsewhere(struct explanation *x, struct span address)
{
	struct destination *d;
	struct route route;

	if (!route_find(daemon_conf(x->queue->daemon), address, span_str(""), &route)) {
		say_result(x, address, E_SYNTAX, SPAN_LIT("550 5.1.2 there is no domain in the address that mail could go to"));
		return false;
	}
	if (tell_transport(x, address, &route))
		return false;
	d = destination_of_route(x->queue, &route);
	if (d != NULL)
		tell_destination(x, address, d);
	if (d != NULL && d->kept)
		return false;
	ask_relay(x, address, &route);
	return true;
}

static void go_on(struct explanation *x)
{
	while (x->elsewhere != NULL) {
		struct elsewhere *e = x->elsewhere;

		x->elsewhere = e->next;
		if (go_elsewhere(x, e->address))
			return;
	}
	end(x, EX_OK, x->count > EXPLAIN_HOSTS_MAX ? "nothing was sent; of the addresses elsewhere only the first were asked for" : "nothing was sent");
}

void explain_relay(struct queue *queue, const struct ipc_message *m)
{
	struct explanation *x = find(queue, m->id, true);

	if (x == NULL)
		return; /* it took too long */
	if (m->type == &ipc_relay_step) {
		const struct relay_step *body = (const void *)m->body;
		char step[20];

		span_copy(body->step, step, sizeof(step));
		add_row(x, x->now, step, body->text, body);
	} else {
		const struct relay_planned *body = (const void *)m->body;

		if (body->code == 0)
			say(x, x->now, "result", "it goes to the first of these hosts that takes it");
		else
			say_result(x, x->now, body->code, body->text);
		go_on(x);
	}
}

/* ---- the directory ---- */

static void tell_size(const struct explanation *x)
{
	say(x, span_str(x->address), "size", "a message of more than %llu bytes is not taken in here (message-size); one that is larger than its next host says it takes goes back to its sender",
	    (unsigned long long)conf_u64(daemon_conf(x->queue->daemon), CONF_message_size, NULL));
}

static void remember(struct explanation *x, struct span address)
{
	struct elsewhere *e = x->count++ < EXPLAIN_HOSTS_MAX ? pool_new_object(x->pool, struct elsewhere) : NULL;

	if (e == NULL) {
		say(x, address, "directory", "it leads elsewhere, too");
		return;
	}
	e->address = pool_span(x->pool, address);
	*x->tail = e;
	x->tail = &e->next;
}

static void take_target(struct explanation *x, const struct auth_target *t)
{
	if (t->code != 0) {
		say_result(x, t->address, t->code, t->text);
	} else if (t->kind != 0) {
		say(x, t->address, "program", "the alias %.*s has %s: %.*s", SPAN_ARG(t->name), t->kind == 1 ? "a command run" : "it written to a file", SPAN_ARG(t->program));
	} else if (t->account == 0) {
		remember(x, t->address);
	} else {
		char quota[40] = "no quota";

		if (t->quota > 0)
			snprintf(quota, sizeof(quota), "a quota of %llu bytes", (unsigned long long)t->quota);
		say(x, t->address, "mailbox", "account %llu, with %s%s%.*s", (unsigned long long)t->account, quota, t->detail.len > 0 ? "; the detail is " : "", SPAN_ARG(t->detail));
		say(x, t->address, "result", "it goes into the mailbox of %.*s", SPAN_ARG(t->address));
	}
}

bool explain_auth(struct queue *queue, const struct ipc_message *m)
{
	struct explanation *x = find(queue, m->id, false);

	if (x == NULL)
		return m->type == &ipc_auth_found;
	if (m->type == &ipc_auth_found) {
		const struct auth_found *body = (const void *)m->body;

		add_row(x, span_str(x->address), "directory", body->text, NULL);
		if (body->code == 0 || body->code == E_DENIED)
			tell_size(x);
	} else if (m->type == &ipc_auth_target) {
		take_target(x, (const void *)m->body);
	} else {
		const struct auth_expanded *body = (const void *)m->body;
		char text[400];

		snprintf(text, sizeof(text), "%d %s %.*s", err_smtp_code(body->code), err_smtp_enhanced(body->code), SPAN_ARG(body->text));
		if (body->code != 0)
			say_result(x, span_str(x->address), body->code, span_str(text));
		go_on(x);
	}
	return true;
}

void explain_lost(struct queue *queue, bool relay)
{
	struct explanation *x = queue->explanations;

	while (x != NULL) {
		struct explanation *next = x->next;

		if (x->asks_relay == relay)
			end(x, EX_TEMPFAIL, relay ? "relay has just ended; try again" : "auth has just ended; try again");
		x = next;
	}
}

/* ---- the command ---- */

static unsigned count_all(const struct queue *queue)
{
	unsigned count = 0;

	for (const struct explanation *x = queue->explanations; x != NULL; x = x->next)
		count++;
	return count;
}

/* NULL: no memory. */
static struct explanation *explanation_new(struct queue *queue, struct control_reply *reply)
{
	struct timeval tv = {.tv_sec = EXPLAIN_SECONDS};
	struct pool *pool = pool_new(NULL, EXPLAIN_POOL_MAX);
	struct explanation *x = pool != NULL ? pool_new_object(pool, struct explanation) : NULL;

	if (x != NULL)
		x->deadline = evtimer_new(daemon_base(queue->daemon), on_deadline, x);
	if (x == NULL || x->deadline == NULL || evtimer_add(x->deadline, &tv) != 0) {
		pool_free(&pool);
		return NULL;
	}
	x->pool = pool;
	x->queue = queue;
	x->reply = reply;
	x->tail = &x->elsewhere;
	x->question = ++queue->last_question;
	x->next = queue->explanations;
	queue->explanations = x;
	return x;
}

void explain_begin(struct queue *queue, struct control_reply *reply, struct span address, struct span sender)
{
	char to[SMTP_PATH_MAX + 1], from[SMTP_PATH_MAX + 1];
	struct auth_explain ask = {0};
	struct explanation *x;

	if (!smtp_address_parse(address, SMTP_PATH_POSTMASTER | SMTP_PATH_UTF8, to) || !smtp_address_parse(sender, SMTP_PATH_NULL | SMTP_PATH_UTF8, from)) {
		control_reply_done(reply, EX_USAGE, "that is no address: user@example.org");
		return;
	}
	x = count_all(queue) < EXPLAIN_MAX ? explanation_new(queue, reply) : NULL;
	if (x == NULL) {
		control_reply_done(reply, EX_TEMPFAIL, "too much is asked at once");
		return;
	}
	ask.address = span_str(to);
	memcpy(x->address, to, sizeof(to));
	memcpy(x->sender, from, sizeof(from));
	if (queue->auth == NULL || ipc_conn_send(queue->auth, &ipc_auth_explain, x->question, &ask, -1) != 0)
		end(x, EX_TEMPFAIL, "auth is not running: what stands in the directory cannot be told now");
}
