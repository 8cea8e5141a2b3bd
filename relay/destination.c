/*
 * Destinations: what jobs have in common that may share connections. The same hosts, the same demand for TLS, the same name and address
 * that we come from, the same log-in. Those without a connection are kept for their tickets, as many as there is room for.
 */
#include "relay/relay.h"

#include "net/connect.h"

#include <stdio.h>
#include <stdlib.h>

enum { DESTINATION_BUCKETS = 8192 };

static uint32_t hash_of(const char *key)
{
	uint32_t h = 2166136261U;

	for (; *key != '\0'; key++)
		h = (h ^ (unsigned char)*key) * 16777619U;
	return h;
}

static void address_text(const struct sockaddr_storage *address, char out[INET6_ADDRSTRLEN])
{
	out[0] = '\0';
	if (address->ss_family != AF_UNSPEC)
		connect_text(address, out);
}

/* Everything that a connection has been made for. */
static void make_key(const struct job *job, char out[RELAY_KEY_MAX])
{
	static const char *const kinds[] = {"mx", "host", "lmtp", "error", "hold"};
	const struct way *way = &job->way;
	char v4[INET6_ADDRSTRLEN], v6[INET6_ADDRSTRLEN];
	struct span host = way->kind == WAY_MX ? job->domain : way->host;

	address_text(&way->from[0], v4);
	address_text(&way->from[1], v6);
	snprintf(out, RELAY_KEY_MAX, "%s %.*s:%u %.*s%s%s%s%s %.*s %s %s %.*s", kinds[way->kind], SPAN_ARG(host), way->port, SPAN_ARG(way->tls),
	    way->sts ? "" : "+no-sts", way->implicit_tls ? "+implicit" : "", job_requires_tls(job) ? "+required" : "", job->tls_optional ? "+optional" : "", SPAN_ARG(way->helo), v4, v6,
	    SPAN_ARG(way->login));
}

static void unlink_destination(struct relay *relay, struct destination *d)
{
	struct destination **at = &relay->table[d->hash % DESTINATION_BUCKETS];

	while (*at != NULL && *at != d)
		at = &(*at)->table_next;
	if (*at != NULL)
		*at = d->table_next;
	*d->link = d->next;
	if (d->next != NULL)
		d->next->link = d->link;
	relay->destination_count--;
}

static void free_destination(struct relay *relay, struct destination *d)
{
	unlink_destination(relay, d);
	tls_ticket_free(&d->ticket);
	free(d->key);
	free(d);
}

static void push_front(struct relay *relay, struct destination *d)
{
	d->next = relay->destinations;
	d->link = &relay->destinations;
	if (d->next != NULL)
		d->next->link = &d->next;
	relay->destinations = d;
}

static struct destination *make(struct relay *relay, const char *key, uint32_t hash)
{
	struct destination *d = calloc(1, sizeof(*d));
	struct destination **bucket = &relay->table[hash % DESTINATION_BUCKETS];

	if (d == NULL || (d->key = strdup(key)) == NULL) {
		free(d);
		return NULL;
	}
	d->hash = hash;
	d->table_next = *bucket;
	*bucket = d;
	push_front(relay, d);
	relay->destination_count++;
	return d;
}

struct destination *destination_get(struct relay *relay, const struct job *job)
{
	char key[RELAY_KEY_MAX];
	struct destination *d;
	uint32_t hash;

	if (relay->table == NULL)
		relay->table = calloc(DESTINATION_BUCKETS, sizeof(*relay->table));
	if (relay->table == NULL)
		return NULL;
	make_key(job, key);
	hash = hash_of(key);
	for (d = relay->table[hash % DESTINATION_BUCKETS]; d != NULL && strcmp(d->key, key) != 0; d = d->table_next)
		;
	if (d == NULL)
		d = make(relay, key, hash);
	if (d != NULL)
		d->jobs++;
	return d;
}

/* Of those that nobody uses the ones that nobody has used for longest go. */
void destination_trim(struct relay *relay)
{
	struct destination *d = relay->destinations, *next;
	unsigned kept = 0;

	if (relay->destination_count <= RELAY_DESTINATIONS_MAX)
		return;
	for (; d != NULL; d = next) {
		next = d->next;
		if (d->jobs == 0 && d->sessions == 0 && ++kept > RELAY_DESTINATIONS_MAX / 2)
			free_destination(relay, d);
	}
}

void destination_idle(struct session *s)
{
	struct destination *d = s->destination;

	s->mate_next = d->idle_first;
	s->mate_link = &d->idle_first;
	if (s->mate_next != NULL)
		s->mate_next->mate_link = &s->mate_next;
	d->idle_first = s;
}

void destination_unidle(struct session *s)
{
	*s->mate_link = s->mate_next;
	if (s->mate_next != NULL)
		s->mate_next->mate_link = s->mate_link;
	s->mate_link = NULL;
}

void destinations_forget(struct relay *relay)
{
	while (relay->idle != NULL)
		session_quit(relay->idle);
	for (struct session *s = relay->sessions; s != NULL; s = s->next)
		s->worn = true;
	for (struct destination *d = relay->destinations; d != NULL; d = d->next)
		tls_ticket_free(&d->ticket);
}

static bool is_for(const struct session *s, const char *domain)
{
	return strcmp(s->domain[0] != '\0' ? s->domain : s->host, domain) == 0;
}

void destinations_distrust(struct relay *relay, const char *domain)
{
	struct session *s = relay->sessions;

	for (struct job *job = relay->jobs; job != NULL; job = job->next)
		job->distrusted |= span_eq(job_policy_domain(job), span_str(domain));
	for (; s != NULL; s = s->next)
		s->worn |= is_for(s, domain);
	for (s = relay->sessions; s != NULL;) {
		if (s->idle_link == NULL || !is_for(s, domain)) {
			s = s->next;
			continue;
		}
		session_quit(s); /* others may be gone with it */
		s = relay->sessions;
	}
}

void destinations_free(struct relay *relay)
{
	while (relay->destinations != NULL)
		free_destination(relay, relay->destinations);
	free(relay->table);
	relay->table = NULL;
}
