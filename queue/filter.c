#include "queue/filter.h"

#include "base/clock.h"

const char *filter_status_of(const struct message *m)
{
	if (m->held)
		return "held";
	if (schedule_is_early(m))
		return "scheduled";
	return message_is_under_way(m) ? "active" : "deferred";
}

const char *filter_status_of_waiting(const struct queue *queue, const struct waiting *w)
{
	if (w->held)
		return "held";
	return w->wished && waiting_due(queue->waiting, w) > queue_now(queue) ? "scheduled" : "deferred";
}

static bool has_reason(const struct message *m, struct span part)
{
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (memmem(m->states[i].text.ptr, m->states[i].text.len, part.ptr, part.len) != NULL)
			return true;
	return false;
}

bool filter_matches(const struct message *m, const struct filter *f)
{
	bool recipient = f->recipient.len == 0;
	struct route route;

	if (f->before != 0 && schedule_came(m) >= f->before)
		return false;
	if (f->destination.len > 0 && !span_caseeq(outbound_destination_name(m, &route), f->destination))
		return false;
	if (f->reason.len > 0 && !has_reason(m, f->reason))
		return false;
	for (size_t i = 0; i < m->file.envelope.recipient_count && !recipient; i++)
		recipient = span_caseeq(m->file.envelope.recipients[i].address, f->recipient);
	return recipient && !m->deleted && (f->sender.len == 0 || span_caseeq(m->file.envelope.sender, f->sender)) &&
	       (f->status.len == 0 || span_eq(f->status, span_str(filter_status_of(m))));
}

/* What is known of one recipient decides for the message when it has no other, or when it is what is asked for. */
static enum filter_fit of_one(const struct waiting *w, bool fits)
{
	return fits ? FILTER_YES : w->several ? FILTER_READ : FILTER_NO;
}

static enum filter_fit worse(enum filter_fit a, enum filter_fit b)
{
	return a == FILTER_NO || b == FILTER_NO ? FILTER_NO : a == FILTER_READ ? a : b;
}

enum filter_fit filter_fits(const struct queue *queue, const struct waiting *w, const struct filter *f)
{
	enum filter_fit fit = FILTER_YES;
	struct span reason = text_span(w->reason);

	if (f->status.len > 0 && !span_eq(f->status, span_str(filter_status_of_waiting(queue, w))))
		return FILTER_NO;
	if (!w->known)
		return FILTER_READ;
	if ((f->before != 0 && w->arrived >= f->before) || (f->destination.len > 0 && !span_caseeq(text_span(w->destination), f->destination)) ||
	    (f->sender.len > 0 && !span_caseeq(text_span(w->sender), f->sender)))
		return FILTER_NO;
	if (f->recipient.len > 0)
		fit = worse(fit, of_one(w, span_caseeq(text_span(w->recipient), f->recipient)));
	if (f->reason.len > 0)
		fit = worse(fit, of_one(w, memmem(reason.ptr, reason.len, f->reason.ptr, f->reason.len) != NULL));
	return fit;
}

bool filter_parse(const struct queue *queue, const struct span *args, size_t count, struct filter *f, size_t *ids)
{
	struct span older = span_str("");
	uint64_t ms;

	*ids = 0;
	for (size_t i = 2; i < count; i++) {
		struct span *value = span_eq(args[i], SPAN_LIT("--sender")) || span_eq(args[i], SPAN_LIT("--from")) ? &f->sender
			: span_eq(args[i], SPAN_LIT("--recipient")) ? &f->recipient
			: span_eq(args[i], SPAN_LIT("--destination")) ? &f->destination
			: span_eq(args[i], SPAN_LIT("--reason")) ? &f->reason
			: span_eq(args[i], SPAN_LIT("--older")) ? &older
			: span_eq(args[i], SPAN_LIT("--status")) ? &f->status
			: span_eq(args[i], SPAN_LIT("--to")) ? &f->to : NULL;

		if (span_eq(args[i], SPAN_LIT("--all"))) {
			f->any = true;
		} else if (value != NULL) {
			/* Nothing is no filter: in a script it is a variable that was not set. */
			if (i + 1 == count || args[i + 1].len == 0)
				return false;
			*value = args[++i];
			f->any |= value != &f->to;
		} else if (span_startswith(args[i], SPAN_LIT("--"))) {
			return false;
		} else {
			(*ids)++;
		}
	}
	if (older.len > 0 && !conf_parse_time(older, &ms))
		return false;
	f->before = older.len > 0 ? queue_now(queue) - (int64_t)(ms / 1000) : 0;
	return true;
}

bool filter_copy(struct pool *pool, const struct filter *from, struct filter *to)
{
	struct span *const texts[] = {&to->sender, &to->recipient, &to->status, &to->destination, &to->reason};

	*to = *from;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (texts[i]->len > 0)
			*texts[i] = pool_span(pool, *texts[i]);
		if (texts[i]->ptr == NULL && texts[i]->len > 0)
			return false;
	}
	return true;
}

bool filter_status_is_known(struct span s)
{
	return s.len == 0 || span_eq(s, SPAN_LIT("active")) || span_eq(s, SPAN_LIT("deferred")) || span_eq(s, SPAN_LIT("scheduled")) ||
	       span_eq(s, SPAN_LIT("held"));
}
