/*
 * How much an account sends within an hour: a stolen password shows itself here. Counts of this hour and the one before,
 * the latter by what is left of it, in a table of fixed size: who sends nothing for two hours is forgotten first.
 */
#include "intake/intake.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

enum { HOUR = 3600 };

static struct rate *slot_of(struct intake *intake, uint64_t account, int64_t hour)
{
	struct rate *row = &intake->rates[account * 0x9e3779b97f4a7c15ULL % INTAKE_RATE_ROWS * INTAKE_RATE_ROW], *oldest = row;

	for (size_t i = 0; i < INTAKE_RATE_ROW; i++) {
		if (row[i].account == account)
			return &row[i];
		if (row[i].hour < oldest->hour)
			oldest = &row[i];
	}
	*oldest = (struct rate){.account = account, .hour = hour};
	return oldest;
}

/* Brought to this hour. */
static struct rate *rate_now(struct session *s, int64_t *into)
{
	int64_t now = clock_monotonic_ms() / 1000, hour = now / HOUR;
	struct rate *rate = slot_of(s->intake, s->account, hour);

	if (rate->hour != hour) {
		for (size_t i = 0; i < 2; i++) {
			rate->before[i] = rate->hour == hour - 1 ? rate->now[i] : 0;
			rate->now[i] = 0;
		}
		rate->hour = hour;
		rate->told = false;
	}
	*into = now % HOUR;
	return rate;
}

static uint64_t count_of(const struct rate *rate, size_t what, int64_t into)
{
	return rate->now[what] + rate->before[what] * (uint64_t)(HOUR - into) / HOUR;
}

/* The last first; who has not tried for the longest time falls out. */
static void remember_over(struct intake *intake, const char *user, int64_t now)
{
	struct over *over = intake->over;
	size_t i = 0;

	while (i < INTAKE_OVER - 1 && strcmp(over[i].user, user) != 0)
		i++;
	memmove(over + 1, over, i * sizeof(*over));
	snprintf(over->user, sizeof(over->user), "%s", user);
	over->until = now + HOUR;
}

bool rate_note(const struct intake *intake, char *out, size_t size)
{
	int64_t now = clock_monotonic_ms() / 1000;
	size_t count = 0, named = 0, len, room = size - sizeof(" and 00 more");

	while (count < INTAKE_OVER && intake->over[count].until > now)
		count++;
	if (count == 0)
		return false;
	len = (size_t)snprintf(out, size, "%s more than %s may:", count == 1 ? "sends" : "send", count == 1 ? "it" : "they");
	for (; named < count && len + strlen(intake->over[named].user) + 2 <= room; named++)
		len += (size_t)snprintf(out + len, size - len, "%s %s", named > 0 ? "," : "", intake->over[named].user);
	if (named < count)
		snprintf(out + len, size - len, " and %zu more", count - named);
	return true;
}

static void tell(struct session *s, struct rate *rate, const char *what, uint64_t most)
{
	struct intake *intake = s->intake;

	remember_over(intake, s->user, clock_monotonic_ms() / 1000);
	if (rate->told)
		return;
	rate->told = true; /* once an hour, not for each message */
	log_event(EV_smtp_rate, daemon_log(intake->daemon), F_STR("user", s->user), F_STR("what", what), F_U64("limit", most),
	    F_STR("rip", conn_peer(s->conn)));
}

int rate_take(struct session *s, uint32_t messages, uint32_t recipients, struct err *err)
{
	static const char *const names[] = {"messages", "recipients"};
	const struct conf *conf = daemon_conf(s->intake->daemon);
	const uint64_t most[] = {conf_u64(conf, CONF_messages_per_hour, &s->where), conf_u64(conf, CONF_recipients_per_hour, &s->where)};
	const uint32_t more[] = {messages, recipients};
	int64_t into;
	struct rate *rate = rate_now(s, &into);

	for (size_t i = 0; i < 2; i++) {
		if (most[i] == 0 || more[i] == 0 || count_of(rate, i, into) + more[i] <= most[i])
			continue;
		tell(s, rate, names[i], most[i]);
		return err_set(err, E_RATE, "this account may send %llu %s an hour; try again later", (unsigned long long)most[i], names[i]);
	}
	for (size_t i = 0; i < 2; i++) {
		rate->now[i] += more[i];
		s->taken[i] += more[i];
	}
	s->taken_hour = rate->hour;
	return 0;
}

void rate_use(struct session *s)
{
	memset(s->taken, 0, sizeof(s->taken));
}

/* A transaction that was there at the end of an hour has taken from both, and gives back to the later one. */
void rate_give_back(struct session *s)
{
	int64_t into;
	struct rate *rate;

	if (s->taken[0] + s->taken[1] == 0)
		return;
	rate = rate_now(s, &into);
	for (size_t i = 0; i < 2; i++) {
		uint64_t *count = rate->hour == s->taken_hour ? &rate->now[i] : &rate->before[i];

		if (rate->hour - s->taken_hour <= 1)
			*count -= *count < s->taken[i] ? *count : s->taken[i];
	}
	rate_use(s);
}
