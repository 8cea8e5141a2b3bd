/* run/relay.sock: a conversation as far as the recipient, for an administrator to see; what is connected. */
#include "relay/relay.h"

#include "base/json.h"
#include "net/control.h"
#include "smtp/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

enum { CONTROL_ROW_MAX = 4096 };

/* `relay test` under way. */
struct probe {
	struct control_reply *reply;
	char address[SMTP_PATH_MAX + 1], sender[SMTP_PATH_MAX + 1];
};

/* ---- test ---- */

static void on_trace(void *arg, const struct job *job, const char *text)
{
	struct probe *probe = arg;
	char line[2300];

	(void)job;
	snprintf(line, sizeof(line), "%s\n", text);
	control_reply_text(probe->reply, span_str(line));
}

static unsigned exit_of(int code)
{
	return code == 0 ? EX_OK : code == E_NOTFOUND ? EX_NOHOST : err_is_temp(code) ? EX_TEMPFAIL : EX_UNAVAILABLE;
}

static void on_result(void *arg, const struct job *job, const struct job_result *r)
{
	struct probe *probe = arg;

	(void)job;
	if (r->code == 0)
		control_reply_done(probe->reply, EX_OK, "%s would be taken by %s [%s], TLS: %s", probe->address, r->host, r->address, r->tls);
	else
		control_reply_done(probe->reply, exit_of(r->code), "%s%s%s: %s", probe->address, r->host[0] != '\0' ? " at " : "", r->host, r->text);
	free(probe);
}

static const struct job_owner owner = {on_result, on_trace, NULL};

static size_t at_of(const char *address)
{
	const char *at = strrchr(address, '@');

	return at ? (size_t)(at - address) : strlen(address);
}

/* What a transport block is looked for by. */
static struct span pattern_for(const struct job *job, const char *address)
{
	const struct conf *conf = daemon_conf(job->relay->daemon);
	char text[SMTP_PATH_MAX + DNS_NAME_TEXT];
	const struct conf_transport *transport;

	snprintf(text, sizeof(text), "%.*s@%.*s", (int)at_of(address), address, SPAN_ARG(job->domain));
	transport = conf_transport_for(conf, span_str(text));
	job_trace(job, "transport: %.*s", SPAN_ARG(transport ? transport->pattern : SPAN_LIT("none, MX records tell the way")));
	return transport ? transport->pattern : SPAN_LIT("");
}

static void begin_test(struct relay *relay, struct probe *probe)
{
	struct job *job = job_new(relay, &owner, probe);
	struct err err = {0};
	int r;

	if (job == NULL || (job->recipients = pool_new_object(job->pool, struct smtp_client_recipient)) == NULL ||
	    !job_take_domain(job, span_from(span_str(probe->address), at_of(probe->address) + 1))) {
		control_reply_done(probe->reply, EX_DATAERR, "'%s' has no domain that can be asked for", probe->address);
		if (job != NULL)
			job_free(job);
		free(probe);
		return;
	}
	job->recipients->address = span_str(probe->address);
	job->message = (struct smtp_client_message){.probe = true, .sender = span_str(probe->sender), .recipients = job->recipients, .recipient_count = 1};
	r = settings_way(relay, job->pool, pattern_for(job, probe->address), job->message.sender, &job->way, &err);
	if (r != 0)
		result_all(job, r, true, err.text);
	else
		job_start(job);
}

static void test(struct relay *relay, struct control_reply *reply, const struct span *args, size_t count)
{
	bool given = count == 5 && span_eq(args[3], SPAN_LIT("--from"));
	struct probe *probe = calloc(1, sizeof(*probe));

	if (probe == NULL) {
		control_reply_done(reply, EX_TEMPFAIL, "%s", err_text(E_NOMEM));
		return;
	}
	probe->reply = reply;
	if ((count == 3 || given) && smtp_address_parse(args[2], SMTP_PATH_UTF8, probe->address) &&
	    smtp_address_parse(given ? args[4] : SPAN_LIT(""), SMTP_PATH_NULL | SMTP_PATH_UTF8, probe->sender)) {
		begin_test(relay, probe);
		return;
	}
	control_reply_done(reply, EX_USAGE, "that is no address: user@example.org");
	free(probe);
}

/* ---- status ---- */

static void add_session(const struct session *s, struct buf *out)
{
	buf_printf(out, "{\"destination\":");
	json_add_string(out, span_str(s->destination->key));
	buf_add_str(out, ",\"host\":");
	json_add_string(out, span_str(s->host));
	buf_printf(out, ",\"address\":\"%s\",\"tls\":\"%s\",\"messages\":%u,\"state\":\"%s\"}", s->address, s->tls, s->messages,
	    s->job != NULL ? "busy" : s->quitting ? "closing" : "idle");
}

static void status(struct relay *relay, struct control_reply *reply)
{
	struct buf row;

	buf_init(&row, CONTROL_ROW_MAX);
	for (const struct session *s = relay->sessions; s != NULL; s = s->next) {
		buf_clear(&row);
		add_session(s, &row);
		if (!buf_failed(&row))
			control_reply_row(reply, buf_span(&row));
	}
	buf_clear(&row);
	outcome_uses(relay, &row);
	control_reply_done(reply, EX_OK, "%u messages on their way, %u connections; since the start %llu recipients served, %llu put off, %llu refused; %llu connections failed; of the others %s",
	    relay->job_count, relay->session_count, (unsigned long long)relay->sent, (unsigned long long)relay->deferred, (unsigned long long)relay->refused,
	    (unsigned long long)relay->failed_sessions, buf_cstr(&row));
	buf_fini(&row);
}

static void on_request(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input, struct span secret)
{
	struct span verb = count > 1 ? args[1] : SPAN_LIT("");

	(void)input;
	(void)secret;
	if (span_eq(verb, SPAN_LIT("test")))
		test(arg, reply, args, count);
	else if (span_eq(verb, SPAN_LIT("status")))
		status(arg, reply);
	else if (span_eq(verb, SPAN_LIT("policies")))
		control_policies(arg, reply, args, count);
	else if (span_eq(verb, SPAN_LIT("forget")))
		control_forget(arg, reply, args, count);
	else if (span_eq(verb, SPAN_LIT("report")))
		reports_command(arg, reply, args, count);
	else
		control_reply_done(reply, EX_USAGE, "it is test, status, policies, forget or report, not %.*s", SPAN_ARG(span_sub(verb, 0, 40)));
}

int control_open(struct relay *relay)
{
	relay->control = control_server_new(relay->daemon, on_request, relay);
	return relay->control != NULL ? 0 : E_NOMEM;
}
