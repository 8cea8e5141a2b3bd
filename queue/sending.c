/*
 * send-rate: how much the users of one domain may have sent to other hosts within a minute. A job passes here on its way to its destination, so what
 * has to wait keeps nobody else's place there. Turns are given at even distances, and those of a domain take turns among themselves: the
 * second message of one waits behind the first of all others. What would wait for long waits in its file.
 */
#include "queue/destination.h"

#include "base/clock.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	SENDING_WAITING = 500,	 /* jobs of a domain in memory; past it the last one gives its place to one whose turn is before its */
	SENDING_MEMORY_MS = 60000, /* what comes later than that waits in its file; twice that for what has been there */
	SENDING_MINUTE_MS = 60000,
};

/* A domain that has used a turn a moment ago. */
struct sending {
	struct sending *next;
	struct job *jobs; /* in the order of their turns */
	unsigned waiting;
	int64_t turn_ms; /* when the next one may go */
	int64_t slot_ms; /* when the next one that goes to its file is to come back */
	char domain[ROUTE_DOMAIN_MAX];
};

/* ---- the limit ---- */

static bool domain_of(struct span sender, char out[ROUTE_DOMAIN_MAX])
{
	size_t at = sender.len;

	while (at > 0 && sender.ptr[at - 1] != '@')
		at--;
	sender = span_from(sender, at);
	if (at == 0 || sender.len == 0 || sender.len >= ROUTE_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < sender.len; i++)
		out[i] = ascii_lower(sender.ptr[i]);
	out[sender.len] = '\0';
	return true;
}

static int64_t interval_ms(const struct queue *queue, const char *domain)
{
	const struct conf *conf = daemon_conf(queue->daemon);
	const struct conf_where where = {.domain = conf_domain_find(conf, span_str(domain))};
	int64_t rate = (int64_t)conf_u64(conf, CONF_send_rate, &where);

	return rate > 0 ? (SENDING_MINUTE_MS + rate - 1) / rate : 0;
}

/* What came by SMTP is a stranger's, whatever sender it names: through an alias that leads elsewhere it must not use up a domain's turns. */
static bool has_pace(const struct queue *queue, const struct spool_envelope *e, const char *domain)
{
	return e->submitter != 0 || (e->source != SPOOL_FROM_SMTP && conf_domain_find(daemon_conf(queue->daemon), span_str(domain)) != NULL);
}

uint64_t sending_rate(const struct queue *queue, struct span sender)
{
	const struct conf *conf = daemon_conf(queue->daemon);
	char domain[ROUTE_DOMAIN_MAX];
	struct conf_where where = {0};

	if (!domain_of(sender, domain))
		return 0;
	where.domain = conf_domain_find(conf, span_str(domain));
	return conf_u64(conf, CONF_send_rate, &where);
}

/* ---- domains ---- */

/* Those that have nothing to remember any more are let go on the way. NULL: no memory. */
static struct sending *find(struct queue *queue, const char *domain, int64_t now)
{
	struct sending **link = &queue->sendings, *found = NULL;

	while (*link != NULL) {
		struct sending *s = *link;

		if (strcmp(s->domain, domain) == 0) {
			found = s;
		} else if (s->jobs == NULL && s->turn_ms <= now && s->slot_ms <= now) {
			*link = s->next;
			free(s);
			continue;
		}
		link = &s->next;
	}
	if (found != NULL)
		return found;
	found = calloc(1, sizeof(*found));
	if (found == NULL)
		return NULL;
	span_copy(span_str(domain), found->domain, sizeof(found->domain));
	found->next = queue->sendings;
	queue->sendings = found;
	return found;
}

/* When the next job of any has its turn. */
static void arm(struct queue *queue)
{
	int64_t now = clock_monotonic_ms(), first = INT64_MAX;
	struct timeval tv;

	for (const struct sending *s = queue->sendings; s != NULL; s = s->next)
		if (s->jobs != NULL && s->turn_ms < first)
			first = s->turn_ms;
	if (first == INT64_MAX)
		return;
	first = first > now ? first - now : 0;
	tv = (struct timeval){.tv_sec = first / 1000, .tv_usec = first % 1000 * 1000};
	evtimer_add(queue->sending_turn, &tv);
}

/* ---- turns ---- */

/* Behind all that are no further in their sender's row. */
static struct job **place_of(struct sending *s, struct job *job, unsigned *place)
{
	struct job **link = &s->jobs;

	job->round = 0;
	*place = 0;
	for (const struct job *other = s->jobs; other != NULL; other = other->next)
		job->round += other->message->sender == job->message->sender;
	for (; *link != NULL && (*link)->round <= job->round; link = &(*link)->next)
		(*place)++;
	return link;
}

/* It comes back when those before it have gone, as far as can be said now. */
static void put_off(struct queue *queue, struct sending *s, struct job *job, int64_t interval)
{
	int64_t now = clock_monotonic_ms(), most = now + conf_ms(daemon_conf(queue->daemon), CONF_queue_retry_max, NULL);
	int64_t slot = s->turn_ms + interval * s->waiting;
	char why[ROUTE_DOMAIN_MAX + 100];

	if (slot < s->slot_ms)
		slot = s->slot_ms;
	s->slot_ms = slot + interval < most ? slot + interval : most;
	snprintf(why, sizeof(why), "451 4.7.1 %s has had as much sent as it may for now (send-rate)", s->domain);
	outbound_put_off(job, queue_now(queue) + (slot - now) / 1000 + 1, span_str(why));
}

/* What one of our users sends in nobody's name is held to the pace all the same, for each by itself. */
static bool pace_of(const struct spool_envelope *e, char out[ROUTE_DOMAIN_MAX])
{
	if (domain_of(e->sender, out))
		return true;
	if (e->submitter != 0)
		snprintf(out, ROUTE_DOMAIN_MAX, "account %llu", (unsigned long long)e->submitter);
	return e->submitter != 0;
}

static void insert(struct sending *s, struct job **link, struct job *job)
{
	job->next = *link;
	*link = job;
	s->waiting++;
	job->destination->expected++;
}

/* The one whose turn is the last, when there are too many. */
static struct job *crowd_out(struct sending *s)
{
	struct job **link = &s->jobs, *job;

	if (s->waiting <= SENDING_WAITING)
		return NULL;
	while ((*link)->next != NULL)
		link = &(*link)->next;
	job = *link;
	*link = NULL;
	s->waiting--;
	job->destination->expected--;
	return job;
}

bool sending_may_go(struct queue *queue, struct job *job)
{
	const struct spool_envelope *e = &job->message->file.envelope;
	int64_t now = clock_monotonic_ms(), interval, most = job->tried_before ? 2 * SENDING_MEMORY_MS : SENDING_MEMORY_MS;
	char domain[ROUTE_DOMAIN_MAX];
	struct sending *s;
	struct job **link;
	unsigned place;

	if (job->passed || !pace_of(e, domain) || !has_pace(queue, e, domain) || (interval = interval_ms(queue, domain)) == 0)
		return true;
	s = find(queue, domain, now);
	if (s == NULL)
		return true; /* mail goes on without memory */
	if (s->jobs == NULL && s->turn_ms <= now) {
		s->turn_ms = now + interval;
		return true;
	}
	link = place_of(s, job, &place);
	if (place < SENDING_WAITING && place * interval <= most) {
		insert(s, link, job);
		arm(queue);
		job = crowd_out(s);
	}
	if (job != NULL)
		put_off(queue, s, job, interval);
	return false;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct queue *queue = arg;
	int64_t now = clock_monotonic_ms();

	(void)fd;
	(void)what;
	for (struct sending *s = queue->sendings; s != NULL; s = s->next)
		while (s->jobs != NULL && s->turn_ms <= now) {
			struct job *job = s->jobs;

			s->jobs = job->next;
			s->waiting--;
			job->destination->expected--;
			s->turn_ms = now + interval_ms(queue, s->domain); /* a reload may have changed it */
			job->next = NULL;
			job->passed = true;
			outbound_settle(job);
		}
	arm(queue);
}

struct job *sending_withdraw(struct queue *queue, const struct message *m)
{
	struct job *list = NULL;

	for (struct sending *s = queue->sendings; s != NULL; s = s->next)
		for (struct job **link = &s->jobs; *link != NULL;) {
			struct job *job = *link;

			if (job->message != m) {
				link = &job->next;
				continue;
			}
			*link = job->next;
			job->next = list;
			list = job;
			s->waiting--;
			job->destination->expected--;
		}
	return list;
}

int sending_start(struct queue *queue, struct err *err)
{
	queue->sending_turn = evtimer_new(daemon_base(queue->daemon), on_turn, queue);
	return queue->sending_turn != NULL ? 0 : err_set(err, E_NOMEM, "no memory for a timer");
}
