/* The control requests about failed logins. */
#include "auth/request.h"

#include "auth/defence.h"
#include "auth/system.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "net/control.h"

#include <sysexits.h>

struct listing {
	struct request *q;
	const struct attempt *only; /* NULL: all */
	const struct attempt *machine; /* the same, if it can be a user of this machine, whatever the domain; or NULL */
};

static bool is_listed(struct listing *listing, const struct defence_row *r)
{
	struct auth *auth = listing->q->auth;

	if (listing->only == NULL || strcmp(r->address, listing->only->address) == 0 || strcmp(r->user, listing->only->user) == 0)
		return true;
	return listing->machine != NULL && span_eq(system_name(auth, span_str(r->user)), system_name(auth, span_str(listing->machine->user)));
}

static void row(void *arg, const struct defence_row *r)
{
	static const char *const kinds[DEFENCE_KINDS] = {"pair", "address", "account", "known", "place"};
	struct listing *listing = arg;
	struct buf out;

	if (!is_listed(listing, r))
		return;
	listing->q->rows++;
	buf_init(&out, 4096);
	buf_printf(&out, "{\"of\":\"%s\",\"address\":", kinds[r->kind]);
	json_add_string(&out, span_str(r->address));
	buf_add_str(&out, ",\"account\":");
	json_add_string(&out, span_str(r->user));
	buf_printf(&out, ",\"failures\":%u,\"refused\":%llu,\"last\":%lld}", r->failures, r->refused, (long long)(clock_wall() - r->ago_ms / 1000));
	control_reply_row(listing->q->reply, buf_span(&out));
	buf_fini(&out);
}

static void clear(const struct listing *what)
{
	struct request *q = what->q;
	const struct attempt *only = what->only;
	unsigned count = only != NULL ? defence_clear(q->auth->defence, only) : defence_clear_all(q->auth->defence);

	if (what->machine != NULL)
		count += defence_clear(q->auth->defence, what->machine);
	if (only == NULL)
		password_forgive(q->auth->passwords);
	log_event(EV_auth_failures_cleared, daemon_log(q->auth->daemon), F_STR("object", only != NULL ? only->user : "all"));
	control_reply_done(q->reply, EX_OK, "%u counts are forgotten", count);
}

/* The word is an address of a client or a user's name, whichever fits. */
void control_failures(struct request *q)
{
	struct span verb = q->count > 2 ? q->args[2] : span_str("");
	struct attempt only, machine;
	struct listing listing = {.q = q, .only = q->count > 3 ? &only : NULL};

	if (q->count > 3) {
		defence_attempt(q->auth->defence, q->args[3], q->args[3], &only);
		machine = only;
		if (system_name(q->auth, span_str(only.user)).len > 0) {
			defence_attempt_machine(q->auth->defence, system_name(q->auth, span_str(only.user)), &machine);
			listing.machine = &machine;
		}
	}
	if (span_eq(verb, SPAN_LIT("list"))) {
		defence_each(q->auth->defence, clock_monotonic_ms(), row, &listing);
		request_listed(q, 0, listing.only == NULL ? "no failed log-in is counted" : "none is counted of it");
	} else if (span_eq(verb, SPAN_LIT("clear"))) {
		clear(&listing);
	} else {
		control_reply_done(q->reply, EX_USAGE, "it is list or clear, not %.*s", SPAN_ARG(span_sub(verb, 0, 40)));
	}
}
