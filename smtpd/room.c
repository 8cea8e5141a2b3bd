/*
 * The waiting room. Who comes while all sessions are taken keeps a place in line and hears nothing yet: a client has five
 * minutes of patience for its greeting (RFC 5321 section 4.5.3.2.1), and one that is sent away comes again at once and costs more.
 */
#include "smtpd/smtpd.h"

#include "base/clock.h"

#include <event2/event.h>
#include <stdlib.h>

struct waiting {
	struct waiting *next;
	int64_t until_ms; /* then it is sent away */
	struct visitor visitor;
};

static struct waiting *take_first(struct smtpd_listener *l)
{
	struct waiting *w = l->room;

	l->room = w->next;
	if (l->room == NULL)
		l->room_tail = &l->room;
	l->smtpd->waiting_count--;
	return w;
}

static void send_away(struct smtpd *smtpd, struct waiting *w, const char *why)
{
	visitor_refuse(smtpd, &w->visitor, why);
	free(w);
}

static void turn_away_late(struct smtpd_listener *l, int64_t now)
{
	while (l->room != NULL && l->room->until_ms <= now)
		send_away(l->smtpd, take_first(l), SMTPD_CROWDED);
}

static void admit_some(struct smtpd_listener *l)
{
	while (l->room != NULL && !session_full(l->smtpd, l)) {
		struct waiting *w = take_first(l);

		session_begin(l, &w->visitor);
		free(w);
	}
}

/* Comes once more when the first of those that still wait has waited enough. */
static void come_again(struct smtpd *smtpd, int64_t now)
{
	int64_t first = INT64_MAX;
	struct timeval tv;

	for (size_t i = 0; i < smtpd->listener_count; i++)
		if (smtpd->listeners[i].room != NULL && smtpd->listeners[i].room->until_ms < first)
			first = smtpd->listeners[i].room->until_ms;
	if (first == INT64_MAX)
		return;
	first = first > now ? first - now : 0;
	tv = (struct timeval){.tv_sec = first / 1000, .tv_usec = first % 1000 * 1000};
	evtimer_add(smtpd->turn, &tv);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct smtpd *smtpd = arg;
	int64_t now = clock_monotonic_ms();

	(void)fd;
	(void)what;
	for (size_t i = 0; i < smtpd->listener_count; i++) {
		turn_away_late(&smtpd->listeners[i], now);
		admit_some(&smtpd->listeners[i]);
	}
	come_again(smtpd, now);
}

int room_open(struct smtpd *smtpd)
{
	for (size_t i = 0; i < SMTPD_LISTENERS; i++)
		smtpd->listeners[i].room_tail = &smtpd->listeners[i].room;
	smtpd->turn = evtimer_new(daemon_base(smtpd->daemon), on_turn, smtpd);
	return smtpd->turn != NULL ? 0 : E_NOMEM;
}

void room_enter(struct smtpd_listener *l, const struct visitor *visitor)
{
	struct smtpd *smtpd = l->smtpd;
	struct waiting *w = smtpd->waiting_count < SMTPD_WAITING ? malloc(sizeof(*w)) : NULL;

	if (w == NULL) {
		visitor_refuse(smtpd, visitor, SMTPD_CROWDED);
		return;
	}
	*w = (struct waiting){.until_ms = clock_monotonic_ms() + SMTPD_WAIT_MS, .visitor = *visitor};
	*l->room_tail = w;
	l->room_tail = &w->next;
	if (smtpd->waiting_count++ == 0)
		come_again(smtpd, clock_monotonic_ms());
}

void room_turn(struct smtpd *smtpd)
{
	if (smtpd->waiting_count > 0)
		event_active(smtpd->turn, EV_TIMEOUT, 0);
}

void room_close(struct smtpd *smtpd, const char *why)
{
	for (size_t i = 0; i < smtpd->listener_count; i++)
		while (smtpd->listeners[i].room != NULL)
			send_away(smtpd, take_first(&smtpd->listeners[i]), why);
}
