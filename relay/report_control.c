/* mailwain relay report: what is counted and what waits, one report as it would be sent, or all of it sent now. */
#include "relay/report_private.h"

#include "base/clock.h"
#include "base/json.h"
#include "net/control.h"
#include "relay/relay.h"
#include "tlsrpt/report.h"

#include <stdio.h>
#include <sysexits.h>

enum { ROW_MAX = 2048, DAY_TEXT = 8 };

/* ---- a list ---- */

struct list {
	struct reports *reports;
	struct control_reply *reply;
	const char *domain; /* the only one; "": all */
	unsigned count;
};

static void add_policy(struct list *list, const char *domain, const char *day, const char *state, const struct tlsrpt_policy *p)
{
	struct buf row;

	buf_init(&row, ROW_MAX);
	buf_printf(&row, "{\"day\":\"%s\",\"domain\":", day);
	json_add_string(&row, span_str(domain));
	buf_printf(&row, ",\"policy\":\"%s\",\"policy_domain\":", tlsrpt_policy_name(p->type));
	json_add_string(&row, p->domain);
	buf_printf(&row, ",\"successes\":%llu,\"failures\":%llu,\"state\":\"%s\"}", (unsigned long long)p->successes, (unsigned long long)p->failures, state);
	if (!buf_failed(&row))
		control_reply_row(list->reply, buf_span(&row));
	buf_fini(&row);
}

static void add_traffic(struct list *list, const char *domain, struct span text, const char *state)
{
	struct tlsrpt_traffic *traffic;
	char day[CLOCK_RFC3339_MAX];

	if (tlsrpt_traffic_decode(text, &traffic) != 0)
		return;
	clock_format_rfc3339(traffic->begin, day);
	day[strlen("2026-11-26")] = '\0';
	for (size_t i = 0; i < traffic->policy_count; i++)
		add_policy(list, domain, day, state, &traffic->policies[i]);
	list->count += traffic->policy_count > 0;
	tlsrpt_traffic_free(&traffic);
}

static bool list_counted(void *arg, struct span key, struct span value)
{
	char domain[DNS_NAME_TEXT];
	uint64_t day;

	if (!report_traffic_key(key, &day))
		return true;
	span_copy(span_from(key, DAY_TEXT + 1), domain, sizeof(domain));
	add_traffic(arg, domain, value, "counting");
	return true;
}

static bool list_waiting(void *arg, struct span key, struct span value)
{
	struct report_stored stored;
	char state[40];

	if (!report_parse(key, value, &stored))
		return true;
	snprintf(state, sizeof(state), stored.attempts > 0 ? "tried %u times" : "to be sent", stored.attempts);
	add_traffic(arg, stored.domain, stored.traffic, state);
	return true;
}

static void show_list(struct list *list)
{
	state_each(list->reports->state, STATE_REPORTS, span_str(""), list_waiting, list);
	state_each(list->reports->state, STATE_TRAFFIC, span_str(""), list_counted, list);
	control_reply_done(list->reply, EX_OK, "%u reports%s; %llu connections since the start could not be counted", list->count,
	    reports_are_on(list->reports->relay) ? "" : ", and relay-tls-reports is no", (unsigned long long)list->reports->not_counted);
}

/* ---- one report ---- */

static void show(struct list *list, const struct report_stored *stored)
{
	struct buf json;

	buf_init(&json, TLSRPT_JSON_MAX);
	if (report_render(list->reports, stored, &json) == 0) {
		control_reply_text(list->reply, buf_span(&json));
		list->count++;
	}
	buf_fini(&json);
}

static bool show_counted(void *arg, struct span key, struct span value)
{
	struct list *list = arg;
	struct report_stored stored = {.domain = list->domain, .end = clock_wall(), .traffic = value};
	uint64_t day;

	if (report_traffic_key(key, &day) && span_eq(span_from(key, DAY_TEXT + 1), span_str(list->domain)))
		show(list, &stored);
	return true;
}

static bool show_waiting(void *arg, struct span key, struct span value)
{
	struct list *list = arg;
	struct report_stored stored;

	if (report_parse(key, value, &stored) && strcmp(stored.domain, list->domain) == 0)
		show(list, &stored);
	return true;
}

static void show_domain(struct list *list)
{
	state_each(list->reports->state, STATE_REPORTS, span_str(""), show_waiting, list);
	state_each(list->reports->state, STATE_TRAFFIC, span_str(""), show_counted, list);
	control_reply_done(list->reply, list->count > 0 ? EX_OK : EX_UNAVAILABLE, list->count > 0 ? "" : "no connection for %s was counted", list->domain);
}

/* ---- now ---- */

static void send_now(struct reports *reports, struct control_reply *reply, const char *domain)
{
	char cursor[REPORT_KEY_MAX] = "";
	int closed;

	if (!reports_are_on(reports->relay)) {
		control_reply_done(reply, EX_UNAVAILABLE, "relay-tls-reports is no");
		return;
	}
	if (reports->pass.active) {
		control_reply_done(reply, EX_TEMPFAIL, "reports are being sent already");
		return;
	}
	while ((closed = reports_close(reports, domain, true, cursor)) > 0)
		;
	if (closed < 0) {
		control_reply_done(reply, EX_TEMPFAIL, "what was counted cannot be read or written; the log says why");
		return;
	}
	reports->pass = (struct report_pass){.active = true, .reply = reply};
	snprintf(reports->pass.domain, sizeof(reports->pass.domain), "%s", domain);
	reports_pump(reports);
}

void reports_command(struct relay *relay, struct control_reply *reply, const struct span *args, size_t count)
{
	bool send = count > 2 && span_eq(args[count - 1], SPAN_LIT("--send"));
	size_t names = count - 2 - send;
	char domain[DNS_NAME_TEXT] = "";
	struct list list = {.reports = relay->reports, .reply = reply, .domain = domain};

	if (names > 1 || (names == 1 && dns_name_normalize(args[2], domain) != 0)) {
		control_reply_done(reply, EX_USAGE, "that is no domain");
		return;
	}
	if (relay->reports == NULL || !reports_flush(relay->reports)) {
		control_reply_done(reply, EX_TEMPFAIL, "what was counted cannot be read or written; the log says why");
		return;
	}
	if (send)
		send_now(relay->reports, reply, domain);
	else if (names == 1)
		show_domain(&list);
	else
		show_list(&list);
}
