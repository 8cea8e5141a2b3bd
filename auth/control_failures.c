/* The control requests about failed logins. */
#include "auth/request.h"

#include "auth/defence.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "net/control.h"

#include <sysexits.h>

struct listing {
	struct request *q;
	const struct attempt *only; /* NULL: all */
};

static void row(void *arg, const struct defence_row *r)
{
	static const char *const kinds[DEFENCE_KINDS] = {"pair", "address", "account"};
	struct listing *listing = arg;
	struct buf out;

	if (listing->only != NULL && strcmp(r->address, listing->only->address) != 0 && strcmp(r->user, listing->only->user) != 0)
		return;
	buf_init(&out, 4096);
	buf_printf(&out, "{\"of\":\"%s\",\"address\":", kinds[r->kind]);
	json_add_string(&out, span_str(r->address));
	buf_add_str(&out, ",\"account\":");
	json_add_string(&out, span_str(r->user));
	buf_printf(&out, ",\"failures\":%u,\"refused\":%llu,\"last\":%lld}", r->failures, r->refused, (long long)(clock_wall() - r->ago_ms / 1000));
	control_reply_row(listing->q->reply, buf_span(&out));
	buf_fini(&out);
}

static void clear(struct request *q, const struct attempt *only)
{
	unsigned count = only != NULL ? defence_clear(q->auth->defence, only) : defence_clear_all(q->auth->defence);

	if (only == NULL)
		password_forgive(q->auth->passwords);
	log_event(EV_auth_failures_cleared, daemon_log(q->auth->daemon), F_STR("object", only != NULL ? only->user : "all"));
	control_reply_done(q->reply, EX_OK, "%u counts are forgotten", count);
}

/* The word is an address of a client or a user's name, whichever fits. */
void control_failures(struct request *q)
{
	struct span verb = q->count > 2 ? q->args[2] : span_str("");
	struct attempt only;
	struct listing listing = {.q = q, .only = q->count > 3 ? &only : NULL};

	if (q->count > 3)
		defence_attempt(q->auth->defence, q->args[3], q->args[3], &only);
	if (span_eq(verb, SPAN_LIT("list"))) {
		defence_each(q->auth->defence, clock_monotonic_ms(), row, &listing);
		control_reply_done(q->reply, EX_OK, "%s", "");
	} else if (span_eq(verb, SPAN_LIT("clear"))) {
		clear(q, listing.only);
	} else {
		control_reply_done(q->reply, EX_USAGE, "it is list or clear, not %.*s", SPAN_ARG(span_sub(verb, 0, 40)));
	}
}
