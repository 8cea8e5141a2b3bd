/* The report as JSON (RFC 8460 section 4.4), and compressed. */
#include "tlsrpt/report.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"

#include <stdio.h>
#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16 /* zlib: a gzip header */, GZIP_LEVEL = 9, GZIP_MEMORY = 8, GZIP_PIECE = 4096 };

static void add_member(struct buf *out, const char *indent, const char *name, struct span text)
{
	buf_printf(out, "%s\"%s\": ", indent, name);
	json_add_string(out, text);
}

static void add_time(struct buf *out, const char *name, int64_t wall)
{
	char text[CLOCK_RFC3339_MAX];

	clock_format_rfc3339(wall, text);
	add_member(out, "", name, span_str(text));
}

static void add_array(struct buf *out, const char *name, struct span lines)
{
	const char *comma = "";

	buf_printf(out, ",\n        \"%s\": [", name);
	while (lines.len > 0) {
		size_t end = span_find(lines, '\n');

		buf_add_str(out, comma);
		json_add_string(out, span_sub(lines, 0, end));
		lines = span_from(lines, end + 1);
		comma = ", ";
	}
	buf_add_char(out, ']');
}

/* What is not known is left out. */
static void add_known(struct buf *out, const char *name, struct span text)
{
	if (text.len == 0)
		return;
	buf_add_str(out, ", ");
	add_member(out, "", name, text);
}

static void add_detail(struct buf *out, const struct tlsrpt_detail *d)
{
	add_member(out, "        {", "result-type", span_str(tlsrpt_result_name(d->result)));
	add_known(out, "sending-mta-ip", d->our_address);
	add_known(out, "receiving-mx-hostname", d->host);
	add_known(out, "receiving-ip", d->address);
	buf_printf(out, ", \"failed-session-count\": %llu", (unsigned long long)d->count);
	add_known(out, "failure-reason-code", d->reason);
	buf_add_char(out, '}');
}

static void add_details(struct buf *out, const struct tlsrpt_traffic *t, size_t policy)
{
	size_t count = 0;

	for (size_t i = 0; i < t->detail_count; i++)
		if (t->details[i].policy == policy) {
			buf_add_str(out, count++ > 0 ? ",\n" : ",\n      \"failure-details\": [\n");
			add_detail(out, &t->details[i]);
		}
	if (count > 0)
		buf_add_str(out, "\n      ]");
}

static void add_policy(struct buf *out, const struct tlsrpt_report *report, size_t i)
{
	const struct tlsrpt_policy *p = &report->traffic->policies[i];

	buf_add_str(out, "    {\n      \"policy\": {\n");
	add_member(out, "        ", "policy-type", span_str(tlsrpt_policy_name(p->type)));
	if (p->type != TLSRPT_NO_POLICY)
		add_array(out, "policy-string", p->strings);
	add_member(out, ",\n        ", "policy-domain", p->domain);
	if (p->mx.len > 0)
		add_array(out, "mx-host", p->mx);
	buf_printf(out, "\n      },\n      \"summary\": {\"total-successful-session-count\": %llu, \"total-failure-session-count\": %llu}",
	    (unsigned long long)p->successes, (unsigned long long)p->failures);
	add_details(out, report->traffic, i);
	buf_add_str(out, "\n    }");
}

void tlsrpt_report_json(const struct tlsrpt_report *report, struct buf *out)
{
	add_member(out, "{\n  ", "organization-name", span_str(report->organization));
	buf_add_str(out, ",\n  \"date-range\": {");
	add_time(out, "start-datetime", report->begin);
	buf_add_str(out, ", ");
	add_time(out, "end-datetime", report->end);
	buf_add_char(out, '}');
	add_member(out, ",\n  ", "contact-info", span_str(report->contact));
	add_member(out, ",\n  ", "report-id", span_str(report->id));
	buf_add_str(out, ",\n  \"policies\": [\n");
	for (size_t i = 0; i < report->traffic->policy_count; i++) {
		buf_add_str(out, i > 0 ? ",\n" : "");
		add_policy(out, report, i);
	}
	buf_add_str(out, "\n  ]\n}\n");
}

int tlsrpt_compress(struct span json, struct buf *out)
{
	z_stream z = {.next_in = (unsigned char *)(uintptr_t)json.ptr, .avail_in = (unsigned)json.len};
	int r = deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY);

	if (r != Z_OK)
		return E_NOMEM;
	while (r == Z_OK) {
		char *room = buf_reserve(out, GZIP_PIECE);

		if (room == NULL)
			break;
		z.next_out = (unsigned char *)room;
		z.avail_out = GZIP_PIECE;
		r = deflate(&z, Z_FINISH);
		buf_added(out, GZIP_PIECE - z.avail_out);
	}
	deflateEnd(&z);
	return r == Z_STREAM_END ? 0 : out->starved ? E_NOMEM : E_TOOBIG;
}
