/* The report as a message (RFC 8460 section 5.3). */
#include "tlsrpt/report.h"

#include "base/clock.h"
#include "base/encode.h"

#include <stdio.h>

enum { BASE64_LINE = 57 /* octets that make 76 characters */ };

const char *tlsrpt_submitter(const struct tlsrpt_report *report)
{
	const char *at = strrchr(report->contact, '@');

	return at != NULL ? at + 1 : report->contact;
}

/* filename = sender "!" policy-domain "!" begin-timestamp "!" end-timestamp [ "!" unique-id ] "." extension */
void tlsrpt_filename(const struct tlsrpt_report *report, char out[TLSRPT_FILENAME_MAX])
{
	snprintf(out, TLSRPT_FILENAME_MAX, "%s!%s!%lld!%lld.json.gz", tlsrpt_submitter(report), report->domain, (long long)report->begin, (long long)report->end);
}

static void add_base64(struct buf *out, struct span bytes)
{
	while (bytes.len > 0) {
		base64_encode(out, span_sub(bytes, 0, BASE64_LINE));
		buf_add_str(out, "\r\n");
		bytes = span_from(bytes, BASE64_LINE);
	}
}

/* The subject's form is the RFC's own, and programs read it: tlsrpt-subject of section 5.3. "TLS-Required": RFC 8689 section 3. */
static void add_header(const struct tlsrpt_report *report, const char *to, int64_t now, const char *boundary, struct buf *out)
{
	const char *submitter = tlsrpt_submitter(report);
	char date[CLOCK_RFC5322_MAX];

	buf_printf(out, "Date: %s\r\nFrom: <%s>\r\nTo: <%s>\r\n", clock_format_rfc5322(now, date), report->contact, to);
	buf_printf(out, "Subject: Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>\r\n", report->domain, submitter, report->id);
	buf_printf(out, "Message-ID: <%lld.%s>\r\nAuto-Submitted: auto-generated\r\nTLS-Required: No\r\n", (long long)now, report->id);
	buf_printf(out, "TLS-Report-Domain: %s\r\nTLS-Report-Submitter: %s\r\nMIME-Version: 1.0\r\n", report->domain, submitter);
	buf_printf(out, "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"%s\"\r\n\r\n", boundary);
}

static void add_text(const struct tlsrpt_report *report, struct buf *out)
{
	uint64_t successes = 0, failures = 0;
	char begin[CLOCK_RFC3339_MAX], end[CLOCK_RFC3339_MAX];

	for (size_t i = 0; i < report->traffic->policy_count; i++) {
		successes += report->traffic->policies[i].successes;
		failures += report->traffic->policies[i].failures;
	}
	clock_format_rfc3339(report->begin, begin);
	clock_format_rfc3339(report->end, end);
	buf_printf(out,
	    "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
	    "This is a report about TLS between mail servers (RFC 8460), as\r\n%s asks for in _smtp._tls.\r\n\r\n"
	    "From %s to %s\r\nsessions with TLS as it should be: %llu\r\nothers: %llu\r\n\r\n"
	    "What failed, and how, is in the attached file.\r\n\r\n",
	    report->domain, begin, end, (unsigned long long)successes, (unsigned long long)failures);
}

void tlsrpt_mail(const struct tlsrpt_report *report, const char *to, struct span gzip, int64_t now, struct buf *out)
{
	char boundary[48], filename[TLSRPT_FILENAME_MAX];

	snprintf(boundary, sizeof(boundary), "=_tlsrpt_%lld_%lld", (long long)report->begin, (long long)report->end);
	tlsrpt_filename(report, filename);
	add_header(report, to, now, boundary, out);
	buf_printf(out, "--%s\r\n", boundary);
	add_text(report, out);
	buf_printf(out,
	    "--%s\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n"
	    "Content-Disposition: attachment;\r\n\tfilename=\"%s\"\r\n\r\n",
	    boundary, filename);
	add_base64(out, gzip);
	buf_printf(out, "--%s--\r\n", boundary);
}
