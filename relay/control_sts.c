/* `mailwain relay policies` and `forget`: the MTA-STS policies that are kept. */
#include "relay/relay.h"

#include "base/clock.h"
#include "base/json.h"
#include "net/control.h"

#include <sysexits.h>

enum { CONTROL_POLICY_MAX = 16 * 1024 };

struct listing {
	struct control_reply *reply;
	const char *only; /* "": all */
	int64_t now;
	unsigned count;
};

static void add_time(struct buf *out, const char *name, int64_t when)
{
	char text[CLOCK_RFC3339_MAX];

	clock_format_rfc3339(when, text);
	buf_printf(out, ",\"%s\":\"%s\"", name, text);
}

static void add_row(const struct sts_cached *cached, struct buf *out)
{
	const struct sts_policy *policy = &cached->policy;

	buf_add_str(out, "{\"domain\":");
	json_add_string(out, span_str(policy->domain));
	buf_printf(out, ",\"mode\":\"%s\",\"id\":\"%s\"", sts_mode_name(policy->mode), policy->id);
	add_time(out, "fetched", cached->fetched);
	add_time(out, "until", sts_cached_until(cached));
	buf_add_str(out, ",\"hosts\":\"");
	for (size_t i = 0; i < policy->mx_count; i++)
		buf_printf(out, "%s%s", i > 0 ? " " : "", sts_policy_mx(policy, i));
	buf_add_str(out, "\"}");
}

static bool show(void *arg, const struct sts_cached *cached)
{
	struct listing *list = arg;
	struct buf row;

	if (list->only[0] != '\0' && strcmp(cached->policy.domain, list->only) != 0)
		return false;
	if (sts_cached_until(cached) > list->now) {
		buf_init(&row, CONTROL_POLICY_MAX);
		add_row(cached, &row);
		if (!buf_failed(&row))
			control_reply_row(list->reply, buf_span(&row));
		buf_fini(&row);
		list->count++;
	}
	return true;
}

/* The domain as its policy is kept under. */
static bool take_domain(struct control_reply *reply, struct span text, char out[DNS_NAME_TEXT])
{
	if (dns_name_normalize(text, out) == 0)
		return true;
	control_reply_done(reply, EX_DATAERR, "'%.*s' is no name of a domain", SPAN_ARG(span_sub(text, 0, 100)));
	return false;
}

void control_policies(struct relay *relay, struct control_reply *reply, const struct span *args, size_t count)
{
	char domain[DNS_NAME_TEXT] = "";
	struct listing list = {reply, domain, clock_wall(), 0};

	if (count > 2 && !take_domain(reply, args[2], domain))
		return;
	if (sts_cache_each(sts_lookups_cache(relay->sts), domain, show, &list) != 0)
		control_reply_done(reply, EX_IOERR, "what the relay remembers cannot be read");
	else if (list.count == 0 && domain[0] != '\0')
		control_reply_done(reply, EX_UNAVAILABLE, "no MTA-STS policy of %s is kept", domain);
	else
		control_reply_done(reply, EX_OK, "%u MTA-STS polic%s", list.count, list.count == 1 ? "y" : "ies");
}

void control_forget(struct relay *relay, struct control_reply *reply, const struct span *args, size_t count)
{
	char domain[DNS_NAME_TEXT];
	struct err err = {0};
	int r;

	if (count != 3) {
		control_reply_done(reply, EX_USAGE, "which domain's policy?");
		return;
	}
	if (!take_domain(reply, args[2], domain))
		return;
	r = sts_forget(relay->sts, domain, &err);
	if (r == 0)
		control_reply_done(reply, EX_OK, "what was kept of %s is forgotten; the next message asks anew", domain);
	else if (r == E_NOTFOUND)
		control_reply_done(reply, EX_UNAVAILABLE, "no MTA-STS policy of %s is kept", domain);
	else
		control_reply_done(reply, EX_IOERR, "%s", err.text);
}
