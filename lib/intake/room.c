/*
 * The waiting room. Who comes while all sessions are taken keeps a place in line and hears nothing yet: a client has five
 * minutes of patience for its greeting (RFC 5321 section 4.5.3.2.1), and one that is sent away comes again at once and costs more.
 */
#include "intake/intake.h"

#include "base/clock.h"

#include <event2/event.h>
#include <stdlib.h>

struct waiting {
	struct waiting *next;
	int64_t until_ms; /* then it is sent away */
	struct visitor visitor;
};

static struct waiting *take_first(struct intake_listener *l)
{
	struct waiting *w = l->room;

	l->room = w->next;
	if (l->room == NULL)
		l->room_tail = &l->room;
	l->intake->waiting_count--;
	return w;
}

static void send_away(struct intake *intake, struct waiting *w, const char *why)
{
	visitor_refuse(intake, &w->visitor, why);
	free(w);
}

static void turn_away_late(struct intake_listener *l, int64_t now)
{
	while (l->room != NULL && l->room->until_ms <= now)
		send_away(l->intake, take_first(l), INTAKE_CROWDED);
}

static void admit_some(struct intake_listener *l)
{
	while (l->room != NULL && !session_full(l->intake, l)) {
		struct waiting *w = take_first(l);

		session_begin(l, &w->visitor);
		free(w);
	}
}

/* Comes once more when the first of those that still wait has waited enough. */
static void come_again(struct intake *intake, int64_t now)
{
	int64_t first = INT64_MAX;
	struct timeval tv;

	for (size_t i = 0; i < intake->listener_count; i++)
		if (intake->listeners[i].room != NULL && intake->listeners[i].room->until_ms < first)
			first = intake->listeners[i].room->until_ms;
	if (first == INT64_MAX)
		return;
	first = first > now ? first - now : 0;
	tv = (struct timeval){.tv_sec = first / 1000, .tv_usec = first % 1000 * 1000};
	evtimer_add(intake->turn, &tv);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct intake *intake = arg;
	int64_t now = clock_monotonic_ms();

	(void)fd;
	(void)what;
	for (size_t i = 0; i < intake->listener_count; i++) {
		turn_away_late(&intake->listeners[i], now);
		admit_some(&intake->listeners[i]);
	}
	come_again(intake, now);
}

int room_open(struct intake *intake)
{
	for (size_t i = 0; i < INTAKE_LISTENERS; i++)
		intake->listeners[i].room_tail = &intake->listeners[i].room;
	intake->turn = evtimer_new(daemon_base(intake->daemon), on_turn, intake);
	return intake->turn != NULL ? 0 : E_NOMEM;
}

void room_enter(struct intake_listener *l, const struct visitor *visitor)
{
	struct intake *intake = l->intake;
	struct waiting *w = intake->waiting_count < INTAKE_WAITING ? malloc(sizeof(*w)) : NULL;

	if (w == NULL) {
		visitor_refuse(intake, visitor, INTAKE_CROWDED);
		return;
	}
	*w = (struct waiting){.until_ms = clock_monotonic_ms() + INTAKE_WAIT_MS, .visitor = *visitor};
	*l->room_tail = w;
	l->room_tail = &w->next;
	if (intake->waiting_count++ == 0)
		come_again(intake, clock_monotonic_ms());
}

void room_turn(struct intake *intake)
{
	if (intake->waiting_count > 0)
		event_active(intake->turn, EV_TIMEOUT, 0);
}

void room_close(struct intake *intake, const char *why)
{
	for (size_t i = 0; i < intake->listener_count; i++)
		while (intake->listeners[i].room != NULL)
			send_away(intake, take_first(&intake->listeners[i]), why);
}
