/* Sending: for each report that is due, whether its domain asks for it and where; then a message or a request to each place. */
#include "relay/report_private.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "net/control.h"
#include "net/fetch_client.h"
#include "relay/relay.h"
#include "tlsrpt/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

/* One place that a report is on its way to. */
struct delivery {
	struct report_task *task;
	uint32_t mail, fetch; /* 0: not by this way, or over */
};

struct report_task {
	struct report_task *next;
	struct reports *reports;
	struct report_stored stored;
	struct buf traffic;
	uint32_t dns;
	struct tlsrpt_record record;
	struct delivery deliveries[TLSRPT_TARGETS_MAX];
	unsigned waiting, taken;
	char why[REPORT_WHY_MAX]; /* the last failure */
};

/* ---- the end of one ---- */

static void task_free(struct report_task *task)
{
	struct reports *reports = task->reports;
	struct report_task **at = &reports->tasks;

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	reports->task_count--;
	if (task->dns != 0)
		dns_cancel(reports->relay->dns, task->dns);
	for (size_t i = 0; i < TLSRPT_TARGETS_MAX; i++)
		if (task->deliveries[i].fetch != 0)
			fetch_forget(reports->relay->fetch, task->deliveries[i].fetch);
	buf_fini(&task->traffic);
	free(task);
}

void report_tasks_free(struct reports *reports)
{
	while (reports->tasks != NULL)
		task_free(reports->tasks);
}

static void tell(const struct report_task *task, const char *result)
{
	char end[CLOCK_RFC3339_MAX];
	struct buf row;

	if (task->reports->pass.reply == NULL)
		return;
	clock_format_rfc3339(task->stored.end, end);
	buf_init(&row, 4096);
	buf_add_str(&row, "{\"domain\":");
	json_add_string(&row, span_str(task->stored.domain));
	buf_printf(&row, ",\"until\":\"%s\",\"result\":\"%s\",\"why\":", end, result);
	json_add_string(&row, span_str(task->why));
	buf_add_char(&row, '}');
	if (!buf_failed(&row))
		control_reply_row(task->reports->pass.reply, buf_span(&row));
	buf_fini(&row);
}

static void finish(struct report_task *task)
{
	struct reports *reports = task->reports;

	task_free(task);
	reports_pump(reports);
}

static void not_wanted(struct report_task *task, const char *why)
{
	report_forget(task->reports, task->stored.key);
	snprintf(task->why, sizeof(task->why), "%s", why);
	task->reports->pass.unasked++;
	tell(task, "not asked for");
	finish(task);
}

/* RFC 8460 section 5.5: for a day, with longer and longer waits. */
static void again(struct report_task *task)
{
	struct report_stored *s = &task->stored;
	struct reports *reports = task->reports;
	unsigned doubled = s->attempts < 5 ? s->attempts : 5;
	int64_t now = clock_wall(), wait = (int64_t)REPORT_RETRY_S << doubled;
	struct err err = {0};
	bool over;

	s->attempts++;
	s->first = s->first != 0 && s->first <= now ? s->first : now;
	s->next = now + (wait < REPORT_RETRY_MAX_S ? wait : REPORT_RETRY_MAX_S);
	over = s->next > s->first + REPORT_LIFETIME_S;
	reports->pass.failed++;
	if (over)
		report_forget(reports, s->key);
	else if (report_save(reports, s, &err) != 0)
		log_event(EV_relay_report_error, daemon_log(reports->relay->daemon), F_ERR(&err));
	log_event(over ? EV_relay_report_dropped : EV_relay_report_deferred, daemon_log(reports->relay->daemon), F_STR("domain", s->domain), F_U64("attempts", s->attempts),
	    F_STR("error", task->why));
	tell(task, over ? "given up" : "put off");
	finish(task);
}

static void fail(struct report_task *task, const char *why)
{
	snprintf(task->why, sizeof(task->why), "%s", why);
	again(task);
}

/* One place has it, and that is enough (section 3): what failed elsewhere is not tried again. */
static void all_answered(struct report_task *task)
{
	struct reports *reports = task->reports;

	if (task->taken == 0) {
		again(task);
		return;
	}
	report_forget(reports, task->stored.key);
	reports->pass.sent++;
	log_event(EV_relay_report_sent, daemon_log(reports->relay->daemon), F_STR("domain", task->stored.domain), F_U64("places", task->taken), F_STR("error", task->why));
	tell(task, "sent");
	finish(task);
}

/* why: NULL, the place has it. task may be gone afterwards. */
static void answered(struct delivery *d, const char *why)
{
	struct report_task *task = d->task;
	const struct tlsrpt_target *target = &task->record.targets[d - task->deliveries];

	d->mail = d->fetch = 0;
	task->taken += why == NULL;
	if (why != NULL)
		snprintf(task->why, sizeof(task->why), "%.80s: %.100s", target->text, why);
	if (--task->waiting == 0)
		all_answered(task);
}

/* ---- the places ---- */

static void on_fetched(void *arg, const struct fetch_answer *answer)
{
	struct delivery *d = arg;
	char why[REPORT_WHY_MAX] = "";

	if (answer->code != 0)
		snprintf(why, sizeof(why), "%s (%.*s)", err_text(answer->code), SPAN_ARG(span_sub(answer->text, 0, 100)));
	else if (answer->status < 200 || answer->status > 299)
		snprintf(why, sizeof(why), "it answers %u", answer->status);
	answered(d, why[0] != '\0' ? why : NULL);
}

/* Section 5.4. */
static void post(struct delivery *d, const char *url, struct span gzip)
{
	struct relay *relay = d->task->reports->relay;
	struct fetch_request ask = {.url = span_str(url), .accept = SPAN_LIT("*/*"), .content_type = SPAN_LIT("application/tlsrpt+gzip"), .body = gzip, .timeout_ms = REPORT_FETCH_MS};

	d->fetch = fetch_ask(relay->fetch, &ask, on_fetched, d);
	if (d->fetch == 0)
		answered(d, "too many requests are on their way");
}

static void mail(struct delivery *d, const struct tlsrpt_report *report, const char *to, struct span gzip)
{
	struct reports *reports = d->task->reports;
	struct relay_mail body = {.sender = span_str(report->contact), .recipient = span_str(to)};
	struct buf text;

	buf_init(&text, TLSRPT_MAIL_MAX);
	tlsrpt_mail(report, to, gzip, clock_wall(), &text);
	body.content = buf_span(&text);
	d->mail = ++reports->last_mail != 0 ? reports->last_mail : ++reports->last_mail;
	if (buf_failed(&text) || channel_mail(reports->relay, d->mail, &body) != 0)
		answered(d, "the queue cannot take it now");
	buf_fini(&text);
}

static struct delivery *find_mail(struct reports *reports, uint32_t id)
{
	for (struct report_task *task = reports->tasks; task != NULL; task = task->next)
		for (size_t i = 0; i < TLSRPT_TARGETS_MAX; i++)
			if (task->deliveries[i].mail != 0 && (id == 0 || task->deliveries[i].mail == id))
				return &task->deliveries[i];
	return NULL;
}

void reports_mailed(struct relay *relay, uint32_t id, int code)
{
	struct delivery *d = relay->reports != NULL && id != 0 ? find_mail(relay->reports, id) : NULL;

	if (d != NULL)
		answered(d, code == 0 ? NULL : err_text(code));
}

/* Those of another channel fail with them, and are tried again as well: there is one at a time. */
void reports_mail_lost(struct relay *relay)
{
	struct delivery *d;

	while (relay->reports != NULL && (d = find_mail(relay->reports, 0)) != NULL)
		answered(d, "the queue is away");
}

/* ---- the report ---- */

/* postmaster at our name is who the rest of the world knows already: RFC 5321 section 4.5.1. */
static void take_contact(const struct relay *relay, char out[REPORT_ADDRESS_MAX])
{
	const struct conf *conf = daemon_conf(relay->daemon);
	struct span contact = conf_text(conf, CONF_relay_tls_reports_contact, NULL);

	if (contact.len > 0 && contact.len < REPORT_ADDRESS_MAX)
		span_copy(contact, out, REPORT_ADDRESS_MAX);
	else
		snprintf(out, REPORT_ADDRESS_MAX, "postmaster@%.*s", SPAN_ARG(relay->self.hostname));
}

static void take_organization(const struct relay *relay, char out[REPORT_WHY_MAX])
{
	struct span name = conf_text(daemon_conf(relay->daemon), CONF_relay_tls_reports_organization, NULL);

	span_copy(name.len > 0 ? name : relay->self.hostname, out, REPORT_WHY_MAX);
}

/* What a report is made of besides what was counted. */
struct heading {
	char contact[REPORT_ADDRESS_MAX], organization[REPORT_WHY_MAX], id[REPORT_KEY_MAX + REPORT_ADDRESS_MAX + 32];
};

static void make_heading(const struct reports *reports, const struct report_stored *stored, const struct tlsrpt_traffic *traffic, struct heading *h, struct tlsrpt_report *out)
{
	take_contact(reports->relay, h->contact);
	take_organization(reports->relay, h->organization);
	*out = (struct tlsrpt_report){.organization = h->organization, .contact = h->contact, .domain = stored->domain, .id = h->id, .begin = traffic->begin, .end = stored->end, .traffic = traffic};
	snprintf(h->id, sizeof(h->id), "%lld.%lld.%s@%s", (long long)out->begin, (long long)out->end, stored->domain, tlsrpt_submitter(out));
}

int report_render(struct reports *reports, const struct report_stored *stored, struct buf *out)
{
	struct tlsrpt_traffic *traffic;
	struct tlsrpt_report report;
	struct heading heading;
	int r = tlsrpt_traffic_decode(stored->traffic, &traffic);

	if (r != 0)
		return r;
	make_heading(reports, stored, traffic, &heading, &report);
	tlsrpt_report_json(&report, out);
	tlsrpt_traffic_free(&traffic);
	return buf_failed(out) ? E_NOMEM : 0;
}

/* Each place that is answered at once may be the last one: so is task's life. */
static void deliver(struct report_task *task, const struct tlsrpt_report *report, struct span gzip)
{
	task->waiting = (unsigned)task->record.count + 1;
	for (size_t i = 0; i < task->record.count; i++) {
		struct delivery *d = &task->deliveries[i];
		const struct tlsrpt_target *target = &task->record.targets[i];

		d->task = task;
		if (!report_place_take(task->reports, target))
			answered(d, "it has had as many reports today as a place gets");
		else if (target->kind == TLSRPT_HTTPS)
			post(d, target->text, gzip);
		else
			mail(d, report, target->text, gzip);
	}
	if (--task->waiting == 0)
		all_answered(task);
}

static void send_report(struct report_task *task)
{
	struct tlsrpt_traffic *traffic;
	struct tlsrpt_report report;
	struct heading heading;
	struct buf json, gzip;
	int r = tlsrpt_traffic_decode(buf_span(&task->traffic), &traffic);

	if (r != 0) {
		fail(task, err_text(r));
		return;
	}
	make_heading(task->reports, &task->stored, traffic, &heading, &report);
	buf_init(&json, TLSRPT_JSON_MAX);
	buf_init(&gzip, TLSRPT_GZIP_MAX);
	tlsrpt_report_json(&report, &json);
	r = buf_failed(&json) ? E_NOMEM : tlsrpt_compress(buf_span(&json), &gzip);
	if (r == 0)
		deliver(task, &report, buf_span(&gzip));
	else
		fail(task, err_text(r));
	buf_fini(&json);
	buf_fini(&gzip);
	tlsrpt_traffic_free(&traffic);
}

/* ---- does the domain ask? ---- */

/* RFC 8460 section 3: those of another kind do not count, and of this one there is exactly one. */
static int read_records(struct report_task *task, struct span records)
{
	char text[4096], found[sizeof(text)];
	size_t count = 0, len, found_len = 0;
	struct span rdata;

	while (dns_record_next(&records, &rdata))
		if (dns_txt_parse(rdata, text, sizeof(text), &len) && tlsrpt_is_record(span_of(text, len))) {
			memcpy(found, text, len);
			found_len = len;
			count++;
		}
	return count == 1 ? tlsrpt_record_parse(span_of(found, found_len), &task->record) : count == 0 ? E_NOTFOUND : E_EXISTS;
}

static void on_record(void *arg, const struct dns_answer *answer)
{
	struct report_task *task = arg;
	int r;

	task->dns = 0;
	if (answer->result == DNS_TEMPORARY || answer->result == DNS_IS_BOGUS) {
		fail(task, "whether it asks for reports cannot be told now (DNS)");
		return;
	}
	r = answer->result == DNS_FOUND ? read_records(task, answer->records) : E_NOTFOUND;
	if (r == 0)
		send_report(task);
	else
		not_wanted(task, r == E_SYNTAX ? "its TLSRPT record is not right" : r == E_EXISTS ? "it has several TLSRPT records" : "it has no TLSRPT record that can be used");
}

static bool keep(struct report_task *task, const struct report_stored *report)
{
	task->stored = *report;
	task->stored.domain = task->stored.key + (report->domain - report->key);
	buf_init(&task->traffic, STATE_VALUE_MAX);
	buf_add_span(&task->traffic, report->traffic);
	task->stored.traffic = buf_span(&task->traffic);
	return !buf_failed(&task->traffic);
}

void report_send(struct reports *reports, const struct report_stored *report)
{
	struct report_task *task = calloc(1, sizeof(*task));
	char question[DNS_NAME_TEXT + 16];

	if (task == NULL)
		return; /* it is looked at again in the next pass */
	task->reports = reports;
	task->next = reports->tasks;
	reports->tasks = task;
	reports->task_count++;
	if (!keep(task, report)) {
		task_free(task);
		return;
	}
	snprintf(question, sizeof(question), "_smtp._tls.%s", task->stored.domain);
	task->dns = dns_ask(reports->relay->dns, span_str(question), DNS_TXT, REPORT_DNS_MS, on_record, task);
	if (task->dns == 0)
		task_free(task);
}

/* ---- one after the other ---- */

struct pick {
	const struct reports *reports;
	int64_t now;
	bool found;
	struct report_stored report;
	struct buf traffic;
	char cursor[REPORT_KEY_MAX];
};

/* Later than ever one is put off: by a clock that was ahead. */
static bool is_due(const struct report_stored *r, int64_t now)
{
	return r->next <= now || r->next > now + REPORT_RETRY_MAX_S;
}

static bool pick_one(void *arg, struct span key, struct span value)
{
	struct pick *pick = arg;
	const struct report_pass *pass = &pick->reports->pass;
	struct report_stored *r = &pick->report;

	if (span_eq(key, span_str(pass->cursor)) || key.len >= sizeof(pick->cursor))
		return true;
	span_copy(key, pick->cursor, sizeof(pick->cursor));
	if (!report_parse(key, value, r) || (pass->reply == NULL && !is_due(r, pick->now)))
		return true;
	if (pass->domain[0] != '\0' && strcmp(r->domain, pass->domain) != 0)
		return true;
	buf_add_span(&pick->traffic, r->traffic);
	pick->found = true;
	return false;
}

static void end_pass(struct reports *reports)
{
	struct report_pass pass = reports->pass;

	reports->pass = (struct report_pass){0};
	if (pass.reply != NULL)
		control_reply_done(pass.reply, pass.failed == 0 ? EX_OK : EX_TEMPFAIL, "%u sent, %u not asked for, %u put off or given up", pass.sent, pass.unasked, pass.failed);
}

/*
 * When it is tried next is written down before it is sent: while the disk takes nothing, what has been sent cannot be forgotten either,
 * and would be sent again and again.
 */
static bool put_ahead(struct reports *reports, struct report_stored report)
{
	struct err err = {0};

	report.next = clock_wall() + REPORT_RETRY_S;
	if (report_save(reports, &report, &err) == 0)
		return true;
	log_event(EV_relay_report_error, daemon_log(reports->relay->daemon), F_ERR(&err));
	return false;
}

/* Nobody is sent any while they are off: those of before do not come later. */
static void begin_one(struct reports *reports, struct pick *pick)
{
	bool can_ask = strlen(pick->report.domain) + strlen("_smtp._tls.") <= DNS_NAME_MAX;

	pick->report.traffic = buf_span(&pick->traffic);
	if (!can_ask || !reports_are_on(reports->relay))
		report_forget(reports, pick->report.key);
	else if (put_ahead(reports, pick->report))
		report_send(reports, &pick->report);
}

void reports_pump(struct reports *reports)
{
	struct report_pass *pass = &reports->pass;

	while (pass->active && !pass->ended && reports->task_count < REPORT_RUNNING_MAX) {
		struct pick pick = {.reports = reports, .now = clock_wall()};

		snprintf(pick.cursor, sizeof(pick.cursor), "%s", pass->cursor);
		buf_init(&pick.traffic, STATE_VALUE_MAX);
		state_each(reports->state, STATE_REPORTS, span_str(pass->cursor), pick_one, &pick);
		snprintf(pass->cursor, sizeof(pass->cursor), "%s", pick.cursor);
		if (pick.found)
			begin_one(reports, &pick);
		else
			pass->ended = true;
		buf_fini(&pick.traffic);
	}
	if (pass->active && pass->ended && reports->task_count == 0)
		end_pass(reports);
}
