/*
 * FUTURERELEASE (RFC 4865): a message that its sender wants to be kept until a time.
 *
 *   hold-param         = "HOLDFOR=" 1*9DIGIT / "HOLDUNTIL=" date-time
 *   date-time          = date of RFC 3339 section 5.6, in UTC or with an offset
 */
#include "smtp/server_private.h"

#include "base/clock.h"

enum { HOLD_DIGITS_MAX = 9 };

void smtp_release_offer(const struct smtp_server *s)
{
	char until[CLOCK_RFC3339_MAX];

	clock_format_rfc3339(s->config.wall() + (int64_t)s->config.limits.future_release, until);
	buf_printf(s->out, "250-FUTURERELEASE %u %s\r\n", s->config.limits.future_release, until);
}

/* Section 4: a time that has passed, or is further ahead than was announced, is refused. */
int smtp_release_take(struct smtp_server *s, bool until, struct span value, struct err *err)
{
	int64_t now = s->config.wall(), release;
	uint64_t seconds = 0;

	if (s->tx->release != 0)
		return err_set(err, E_SYNTAX, "HOLDFOR and HOLDUNTIL are given more than once");
	if (until ? !clock_parse_rfc3339(value, &release) : value.len > HOLD_DIGITS_MAX || !span_u64(value, UINT32_MAX, &seconds))
		return err_set(err, E_SYNTAX, "%s is not %s", until ? "HOLDUNTIL" : "HOLDFOR",
		    until ? "a date and time as in 2030-01-31T08:00:00Z" : "a number of seconds");
	if (!until)
		release = now + (int64_t)seconds;
	if (release < now)
		return err_set(err, E_SYNTAX, "the time of HOLDUNTIL has passed");
	if (release - now > s->config.limits.future_release)
		return err_set(err, E_SYNTAX, "a message is kept for %u seconds at most", s->config.limits.future_release);
	/* The second that has begun does not count: what is to be kept for three seconds would leave after little more than two. */
	s->tx->release = release + (!until && seconds > 0);
	return 0;
}
