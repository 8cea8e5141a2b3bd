/* When a refusal is answered: on lines of a grid that counts what looking for the user and the check have taken, so that neither can be seen. */
#include "auth/login_private.h"

#include "base/clock.h"

enum {
	GRID_MS = 250,
	GRID_SYSTEM_MS = 1000,		 /* where there are users of this machine: how long PAM's modules take is theirs */
	GRID_SYSTEM_MOST_MS = 16 * 1000, /* and when some take longer than that */
	GRID_SYSTEM_KEEP_MS = 60 * 60 * 1000,
};

/*
 * Modules may take longer for a user than for nobody, and longer than the grid is wide. So it is as wide as twice what the slowest of the last
 * hour took needs: one refusal may be seen to be slow, and then none.
 */
static int64_t system_grid(struct auth *auth, int64_t took_ms, int64_t now_ms)
{
	int64_t grid = auth->system_grid_ms > 0 ? auth->system_grid_ms : GRID_SYSTEM_MS;

	if (took_ms > grid / 4)
		auth->system_grid_at_ms = now_ms;
	else if (grid > GRID_SYSTEM_MS && now_ms - auth->system_grid_at_ms > GRID_SYSTEM_KEEP_MS) {
		grid /= 2;
		auth->system_grid_at_ms = now_ms;
	}
	while (took_ms > grid / 2 && grid < GRID_SYSTEM_MOST_MS)
		grid *= 2;
	auth->system_grid_ms = grid;
	return grid;
}

/* How long a log-in waited for its turn is the same for every account; what is left is to find out whose it is, and the check. */
static int64_t time_of(const struct login *login, int64_t now_ms)
{
	if (login->checked_ms == 0)
		return now_ms - login->begun_ms;
	return login->queued_ms - login->asked_ms + now_ms - login->checked_ms;
}

int64_t login_grid_wait(const struct login *login, int64_t delay_ms)
{
	struct auth *auth = login->auth;
	struct span user = span_str(login->attempt.user);
	int64_t now = clock_monotonic_ms(), took = time_of(login, now), grid = GRID_MS;

	if (system_is_domain(auth, span_from(user, span_find(user, '@') + 1)))
		grid = system_grid(auth, login->system && login->checked_ms > 0 ? took : 0, now);
	return delay_ms + grid - took % grid;
}
