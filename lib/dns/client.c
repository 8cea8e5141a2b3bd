/* The questions of one daemon, in a table by their numbers, and the channel to the resolver. */
#include "dns/private.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>

/* One that waits. Its number is its place in the table, and in the upper bits how often the place was used. */
struct dns_question {
	struct dns *dns;
	struct event timer; /* its deadline; or at once, when it could not be sent */
	uint32_t number;
	enum dns_type type;
	int deadline_ms;
	int failure; /* why it could not be sent, or 0 */
	dns_done *done;
	void *arg;
	size_t name_len;
	char name[DNS_NAME_TEXT];
};

struct dns {
	struct event_base *base;
	struct ipc_conn *conn; /* NULL: the resolver is away */
	dns_lost *lost;
	void *lost_arg;
	struct dns_question *questions[DNS_ASKS_MAX];
	uint32_t numbers[DNS_ASKS_MAX]; /* the last of each place */
	uint16_t unused[DNS_ASKS_MAX];	/* places */
	size_t unused_count;
};

struct dns *dns_new(struct event_base *base)
{
	struct dns *dns = calloc(1, sizeof(*dns));

	if (dns == NULL)
		return NULL;
	dns->base = base;
	for (uint32_t i = 0; i < DNS_ASKS_MAX; i++) {
		dns->numbers[i] = i;
		dns->unused[i] = (uint16_t)(DNS_ASKS_MAX - 1 - i);
	}
	dns->unused_count = DNS_ASKS_MAX;
	return dns;
}

void dns_on_lost(struct dns *dns, dns_lost *lost, void *arg)
{
	dns->lost = lost;
	dns->lost_arg = arg;
}

static void question_free(struct dns_question *q)
{
	event_del(&q->timer);
	free(q);
}

/* Out of the table: from here on nobody can answer or cancel it. */
static void question_take(struct dns_question *q)
{
	struct dns *dns = q->dns;
	uint32_t place = q->number % DNS_ASKS_MAX;

	dns->questions[place] = NULL;
	dns->unused[dns->unused_count++] = (uint16_t)place;
}

static struct dns_question *question_find(struct dns *dns, uint32_t number)
{
	struct dns_question *q = dns->questions[number % DNS_ASKS_MAX];

	return q != NULL && q->number == number ? q : NULL;
}

/* The callback may ask again, cancel others, or free dns. */
static void question_end(struct dns_question *q, struct dns_answer *answer)
{
	answer->name = span_of(q->name, q->name_len);
	answer->type = q->type;
	question_take(q);
	q->done(q->arg, answer);
	question_free(q);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct dns_question *q = arg;
	struct dns_answer answer = {.result = q->failure == E_SYNTAX ? DNS_NO_NAME : DNS_TEMPORARY};
	char why[128];

	(void)fd;
	(void)what;
	if (q->failure != 0)
		snprintf(why, sizeof(why), "the resolver could not be asked: %s", err_text(q->failure));
	else if (q->dns->conn == NULL)
		snprintf(why, sizeof(why), "the resolver is not running; `mailwain status` and the log tell more");
	else
		snprintf(why, sizeof(why), "no answer from the name servers within %.3g s", q->deadline_ms / 1000.0);
	answer.why = span_str(why);
	question_end(q, &answer);
}

static void question_arm(struct dns_question *q, int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	evtimer_add(&q->timer, &tv);
}

/* Who cannot be asked now is asked when the next channel comes. */
static void question_send(struct dns_question *q)
{
	struct dns_query body = {.name = span_of(q->name, q->name_len), .type = q->type};
	int r = E_CLOSED;

	if (q->name_len > DNS_NAME_MAX)
		r = E_SYNTAX;
	else if (q->dns->conn != NULL)
		r = ipc_conn_send(q->dns->conn, &ipc_dns_query, q->number, &body, -1);
	if (r == 0 || r == E_CLOSED)
		return;
	q->failure = r;
	question_arm(q, 0);
}

uint32_t dns_ask(struct dns *dns, struct span name, enum dns_type type, int deadline_ms, dns_done *done, void *arg)
{
	struct dns_question *q;
	uint32_t place;

	if (dns->unused_count == 0)
		return 0;
	q = calloc(1, sizeof(*q));
	if (q == NULL)
		return 0;
	place = dns->unused[--dns->unused_count];
	dns->numbers[place] += DNS_ASKS_MAX;
	if (dns->numbers[place] == 0)
		dns->numbers[place] += DNS_ASKS_MAX;
	*q = (struct dns_question){.dns = dns, .number = dns->numbers[place], .type = type, .done = done, .arg = arg};
	q->deadline_ms = deadline_ms > 0 ? deadline_ms : DNS_DEADLINE_MS;
	span_copy(name, q->name, sizeof(q->name));
	q->name_len = name.len < sizeof(q->name) ? name.len : sizeof(q->name) - 1;
	dns->questions[place] = q;
	evtimer_assign(&q->timer, dns->base, on_deadline, q);
	question_arm(q, q->deadline_ms);
	question_send(q);
	return q->number;
}

void dns_cancel(struct dns *dns, uint32_t question)
{
	struct dns_question *q = question_find(dns, question);

	if (q == NULL)
		return;
	question_take(q);
	question_free(q);
}

/* An answer that nobody waits for any more is none of ours: its deadline was earlier. */
static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct dns *dns = arg;
	struct dns_question *q = question_find(dns, m->id);
	struct dns_answer answer;
	int r;

	(void)conn;
	if (m->type != &ipc_dns_reply)
		return E_PROTO;
	r = dns_answer_read((const void *)m->body, &answer);
	if (r == 0 && q != NULL)
		question_end(q, &answer);
	return r;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct dns *dns = arg;

	(void)conn;
	dns->conn = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "dns"));
	if (dns->lost != NULL)
		dns->lost(dns->lost_arg);
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

int dns_service(struct dns *dns, int fd)
{
	ipc_conn_free(&dns->conn);
	dns->conn = ipc_conn_new(dns->base, fd, &ipc_service_dns, TO_CLIENT, &callbacks, dns);
	if (dns->conn == NULL)
		return E_NOMEM;
	for (size_t i = 0; i < DNS_ASKS_MAX; i++)
		if (dns->questions[i] != NULL)
			question_send(dns->questions[i]);
	return 0;
}

void dns_free(struct dns **dnsp)
{
	struct dns *dns = *dnsp;

	*dnsp = NULL;
	if (dns == NULL)
		return;
	ipc_conn_free(&dns->conn);
	for (size_t i = 0; i < DNS_ASKS_MAX; i++)
		if (dns->questions[i] != NULL)
			question_free(dns->questions[i]);
	free(dns);
}
