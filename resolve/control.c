/* run/resolve.sock: one question for an administrator, what is kept thrown away, how much there was to do. */
#include "resolve/resolve.h"

#include "base/json.h"
#include "net/control.h"
#include "resolve/present.h"

#include <stdlib.h>
#include <sysexits.h>

enum { ROW_MAX = 512 * 1024 };

/* `resolve query` under way. */
struct query {
	struct control_reply *reply;
	struct flight_waiter waiter;
	unsigned type;
	char name[DNS_NAME_TEXT];
};

static const char *security_text(const struct dns_reply *reply)
{
	static const char *const texts[] = {[DNS_INSECURE] = "insecure", [DNS_SECURE] = "secure", [DNS_BOGUS] = "bogus"};

	return reply->code != 0 ? "" : texts[reply->security];
}

static void add_rcode(const struct dns_reply *reply, struct buf *out)
{
	static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};

	if (reply->code != 0)
		buf_add_str(out, reply->code == E_TIMEOUT ? "TIMEOUT" : "NONE");
	else if (reply->rcode < sizeof(names) / sizeof(names[0]))
		buf_add_str(out, names[reply->rcode]);
	else
		buf_printf(out, "RCODE%u", reply->rcode);
}

static struct span why_nothing(const struct dns_reply *reply)
{
	if (reply->why.len > 0)
		return reply->why;
	return reply->rcode == 0 ? SPAN_LIT("the name exists, without records of this type") : SPAN_LIT("the name does not exist");
}

/* data: NULL for an answer without records. */
static void send_row(const struct query *query, const struct dns_reply *reply, struct buf *data)
{
	struct span name = reply->canonical.len > 0 ? reply->canonical : span_str(query->name);
	struct buf out;

	buf_init(&out, ROW_MAX);
	buf_add_str(&out, "{\"name\":");
	json_add_string(&out, name);
	buf_add_str(&out, ",\"type\":\"");
	present_type(query->type, &out);
	buf_printf(&out, "\",\"ttl\":%u,\"rcode\":\"", reply->ttl);
	add_rcode(reply, &out);
	buf_printf(&out, "\",\"security\":\"%s\",", security_text(reply));
	if (data != NULL) {
		buf_add_str(&out, "\"data\":");
		json_add_string(&out, buf_span(data));
	} else {
		buf_add_str(&out, "\"why\":");
		json_add_string(&out, why_nothing(reply));
	}
	buf_add_char(&out, '}');
	if (!buf_failed(&out))
		control_reply_row(query->reply, buf_span(&out));
	buf_fini(&out);
}

static void send_records(const struct query *query, const struct dns_reply *reply)
{
	struct span records = reply->records, rdata;
	struct buf data;

	buf_init(&data, ROW_MAX);
	while (dns_record_next(&records, &rdata)) {
		buf_clear(&data);
		present_rdata(query->type, rdata, &data);
		send_row(query, reply, &data);
	}
	buf_fini(&data);
}

static void on_done(void *arg, const struct dns_reply *reply)
{
	struct query *query = arg;

	if (reply->records.len > 0)
		send_records(query, reply);
	else
		send_row(query, reply, NULL);
	if (reply->why.len > 0)
		control_reply_done(query->reply, EX_TEMPFAIL, "%s: %.*s", query->name, SPAN_ARG(reply->why));
	else
		control_reply_done(query->reply, EX_OK, "%s", reply->cut ? "there are more records, which had no room" : "");
	free(query);
}

static void query(struct resolve *resolve, struct control_reply *reply, const struct span *args, size_t count)
{
	struct query *query = calloc(1, sizeof(*query));

	if (query == NULL) {
		control_reply_done(reply, EX_TEMPFAIL, "%s", err_text(E_NOMEM));
		return;
	}
	query->reply = reply;
	query->type = DNS_A;
	if (count < 3 || dns_name_normalize(args[2], query->name) != 0)
		control_reply_done(reply, EX_USAGE, "a name of a domain is missing, or it is none");
	else if (count > 3 && !present_type_find(args[3], &query->type))
		control_reply_done(reply, EX_USAGE, "'%.*s' is not a type such as A, AAAA, MX, TXT, TLSA or TYPE65", SPAN_ARG(span_sub(args[3], 0, 40)));
	else {
		flights_ask(resolve->flights, span_str(query->name), query->type, &query->waiter, on_done, query);
		return;
	}
	free(query);
}

static void flush(struct resolve *resolve, struct control_reply *reply)
{
	struct err err = {0};

	if (flights_flush(resolve->flights, &err) != 0)
		control_reply_done(reply, EX_TEMPFAIL, "%s; what is kept stays", err.text);
	else
		control_reply_done(reply, EX_OK, "all that was kept is thrown away");
}

static void stats(struct resolve *resolve, struct control_reply *reply)
{
	const struct flights_stats *s = flights_stats(resolve->flights);
	struct buf out;

	buf_init(&out, 1024);
	buf_printf(&out, "{\"questions\":%llu,\"shared\":%llu,\"under-way\":%zu,\"timeouts\":%llu,\"failures\":%llu,\"bogus\":%llu}",
	    (unsigned long long)s->questions, (unsigned long long)s->shared, s->under_way, (unsigned long long)s->timeouts,
	    (unsigned long long)s->failures, (unsigned long long)s->bogus);
	control_reply_row(reply, buf_span(&out));
	buf_fini(&out);
	control_reply_done(reply, EX_OK, "%s", "");
}

static void on_request(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input, struct span secret)
{
	struct span verb = count > 1 ? args[1] : SPAN_LIT("");

	(void)input;
	(void)secret;
	if (span_eq(verb, SPAN_LIT("query")))
		query(arg, reply, args, count);
	else if (span_eq(verb, SPAN_LIT("flush")))
		flush(arg, reply);
	else if (span_eq(verb, SPAN_LIT("stats")))
		stats(arg, reply);
	else
		control_reply_done(reply, EX_USAGE, "it is query, flush or stats, not %.*s", SPAN_ARG(span_sub(verb, 0, 40)));
}

int resolve_control_open(struct resolve *resolve)
{
	resolve->control = control_server_new(resolve->daemon, on_request, resolve);
	return resolve->control != NULL ? 0 : E_NOMEM;
}
