/*
 * What an administrator says of the queue: filters of `mailwain queue`, and where reroute leads. A command is refused, or understood in one way:
 * its spans lie within it, what was found by what is known of a waiting message is found in the message itself, and a way that is taken can be
 * gone.
 *
 * Input: an octet of the message's state; its destinations' answers, one for each recipient, with '|' between; an empty line; then the words of
 * the request, a line each.
 */
#include "tests/fuzz/fuzz.h"

#include "base/clock.h"
#include "queue/filter.h"
#include "queue/queue.h"
#include "tests/daemon.h"

#include <stdlib.h>

enum { STATE_HELD = 1, STATE_EARLY = 2, STATE_DELETED = 4, STATE_REROUTED = 8, RECIPIENTS = 4, WORDS = 32, NOW = 2000000, CAME = NOW - 3600 };

static const char config[] = "config-version 1\nhostname mx.example\n"
    "transport c.example {\n host relay.example:2525\n}\n"
    "transport a@b.example {\n host [192.0.2.1]:25\n}\n";

static const char *const addresses[RECIPIENTS] = {"a@b.example", "A@c.example", "x@y.example", "z@Y.example"};

/* ---- what the rest of the queue would say ---- */

static bool early;

bool schedule_is_early(const struct message *message)
{
	(void)message;
	return early;
}

int64_t schedule_came(const struct message *message)
{
	return message->file.envelope.arrived;
}

static uint64_t no_hash(void *arg, struct span s)
{
	(void)arg;
	return s.len;
}

/* ---- a message, and what is known of it while it waits ---- */

static struct queue queue;
static struct spool_recipient recipients[RECIPIENTS];
static struct recipient_state states[RECIPIENTS];

static void make_message(unsigned state, struct span answers, struct message *m)
{
	size_t count = 0;

	do {
		recipients[count] = (struct spool_recipient){.address = span_str(addresses[count])};
		states[count] = (struct recipient_state){.status = SPOOL_DEFERRED, .text = span_sub(fuzz_until(&answers, '|'), 0, TEXT_MAX)};
		if (state & STATE_REROUTED)
			states[count].way = SPAN_LIT("host other.example:25");
	} while (++count < RECIPIENTS && answers.len > 0);
	*m = (struct message){.queue = &queue, .id = 1, .states = states, .held = state & STATE_HELD, .deleted = state & STATE_DELETED};
	m->file.envelope = (struct spool_envelope){.sender = SPAN_LIT("s@b.example"), .recipients = recipients, .recipient_count = count, .arrived = CAME};
	early = state & STATE_EARLY;
}

/* As the schedule tells it. */
static struct waiting *make_waiting(const struct message *m)
{
	struct waiting *w = waiting_add(queue.waiting, m->id, m->held ? WAITING_NEVER : NOW + 60);
	struct route route;

	fuzz_assert(w != NULL);
	w->held = m->held;
	w->wished = early;
	waiting_tell(queue.waiting, w, &(struct waiting_facts){.arrived = CAME, .begun = CAME, .next = NOW + 60, .recipients = m->file.envelope.recipient_count,
	    .destination = outbound_destination_name(m, &route), .sender = m->file.envelope.sender, .recipient = recipients[0].address, .reason = states[0].text, .hash = no_hash});
	return w;
}

/* ---- filters ---- */

static void take_spans(struct span request, const struct filter *f)
{
	const struct span *const texts[] = {&f->sender, &f->recipient, &f->status, &f->destination, &f->reason, &f->to};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		fuzz_assert(texts[i]->len == 0 || fuzz_within(request, *texts[i]));
	fuzz_assert(f->any || (f->sender.len == 0 && f->recipient.len == 0 && f->status.len == 0 && f->destination.len == 0 && f->reason.len == 0 && f->before == 0));
	fuzz_assert(f->before <= queue_now(&queue));
}

static void take_filter(const struct filter *f, const struct message *m, const struct waiting *w)
{
	enum filter_fit fit = filter_fits(&queue, w, f);
	bool matches = filter_matches(m, f);
	struct pool *pool = pool_new(NULL, 0);
	struct filter copy;

	if (filter_status_is_known(f->status) && !m->deleted)
		fuzz_assert(fit == FILTER_READ || (fit == FILTER_YES) == matches);
	fuzz_assert(!m->deleted || !matches);
	fuzz_assert(filter_copy(pool, f, &copy));
	fuzz_assert(filter_fits(&queue, w, &copy) == fit && filter_matches(m, &copy) == matches);
	pool_free(&pool);
}

/* ---- ways ---- */

static void take_way(struct span to)
{
	struct reroute reroute = {0};
	struct route route;
	struct err err = {0};
	size_t len;

	if (reroute_parse(conf, to, &reroute, &err) != 0) {
		fuzz_assert(err.code == E_SYNTAX && err.text[0] != '\0');
		return;
	}
	len = strlen(reroute.way);
	fuzz_assert(len < SPOOL_TEXT_MAX && route_find(conf, span_str(addresses[2]), span_of(reroute.way, len), &route));
	if (len == 0)
		fuzz_assert(span_eq(to, SPAN_LIT("-")) && route.transport == NULL && route.host[0] == '\0');
	else if (span_startswith(span_str(reroute.way), SPAN_LIT("host ")))
		fuzz_assert(strcmp(route.host, reroute.way + 5) == 0 && conf_parse_host(span_str(route.host), &(struct span){0}, &(uint16_t){0}));
	else
		fuzz_assert(route.transport == conf_transport_find(conf, span_str(reroute.way + strlen("transport "))) && route.transport != NULL);
}

static void start(void)
{
	struct err err;

	if (conf != NULL)
		return;
	fuzz_assert(conf_parse(span_str(config), "test", &conf, &err) == 0);
}

void fuzz_one(struct span input)
{
	unsigned state = fuzz_byte(&input);
	struct span answers = fuzz_until(&input, '\n'), request = input, words[WORDS];
	struct filter filter = {0};
	struct message message;
	size_t count = 0, ids;

	start();
	queue.clock.base_ms = (int64_t)NOW * 1000 - clock_boot_ms();
	while (input.len > 0 && count < WORDS)
		words[count++] = fuzz_until(&input, '\n');
	make_message(state, answers, &message);
	queue.waiting = waiting_new();
	fuzz_assert(queue.waiting != NULL);
	if (filter_parse(&queue, words, count, &filter, &ids)) {
		fuzz_assert(ids <= count);
		take_spans(request, &filter);
		take_filter(&filter, &message, make_waiting(&message));
	}
	for (size_t i = 0; i < count; i++)
		take_way(words[i]);
	waiting_free(&queue.waiting);
}
