/* Sessions counted, stored and read again, and the report they make (RFC 8460 sections 4 and 5). */
#include "tests/unit/test.h"

#include "base/err.h"
#include "tlsrpt/report.h"

#include <jansson.h>
#include <stdio.h>
#include <zlib.h>

static const struct tlsrpt_session good = {.type = TLSRPT_TLSA, .domain = {"mx.example.com", 14}, .strings = {"3 1 1 00ff\n2 0 1 11ee\n", 22}, .host = {"mx.example.com", 14}};
static const struct tlsrpt_session plain = {.type = TLSRPT_NO_POLICY, .domain = {"example.com", 11}, .result = TLSRPT_STARTTLS_NOT_SUPPORTED,
    .host = {"mx2.example.com", 15}, .our_address = {"192.0.2.1", 9}, .address = {"192.0.2.2", 9}};

static struct tlsrpt_session bad(enum tlsrpt_result result, const char *reason)
{
	struct tlsrpt_session s = good;

	s.result = result;
	s.reason = span_str(reason);
	return s;
}

static void add(struct tlsrpt_traffic *t, struct tlsrpt_session s, unsigned times)
{
	while (times-- > 0)
		assert_int_equal(tlsrpt_traffic_add(t, &s), 0);
}

static struct tlsrpt_traffic *some(void)
{
	struct tlsrpt_traffic *t = tlsrpt_traffic_new(1700006400);

	add(t, good, 3);
	add(t, bad(TLSRPT_CERTIFICATE_EXPIRED, "it is \"old\"\ttab"), 2);
	add(t, bad(TLSRPT_CERTIFICATE_EXPIRED, "another"), 1);
	add(t, plain, 4);
	return t;
}

static const char *stored(const struct tlsrpt_traffic *t)
{
	static char text[TLSRPT_TRAFFIC_MAX];
	struct buf out;

	buf_init(&out, sizeof(text) - 1);
	tlsrpt_traffic_encode(t, &out);
	assert_false(buf_failed(&out));
	snprintf(text, sizeof(text), "%s", buf_cstr(&out));
	buf_fini(&out);
	return text;
}

static const char form[] = "B\t1700006400\n"
			   "P\ttlsa\t3\t3\tmx.example.com\nS\t3 1 1 00ff\nS\t2 0 1 11ee\n"
			   "F\tcertificate-expired\t2\t\t\tmx.example.com\tit is \"old\" tab\n"
			   "F\tcertificate-expired\t1\t\t\tmx.example.com\tanother\n"
			   "P\tno-policy-found\t0\t4\texample.com\n"
			   "F\tstarttls-not-supported\t4\t192.0.2.1\t192.0.2.2\tmx2.example.com\t\n";

static void what_is_stored_is_read_again(void **state)
{
	struct tlsrpt_traffic *t = some(), *again;

	(void)state;
	assert_string_equal(stored(t), form);
	assert_int_equal(tlsrpt_traffic_decode(span_str(form), &again), 0);
	assert_string_equal(stored(again), form);
	add(again, good, 1); /* it goes on where it was */
	add(again, plain, 1);
	assert_int_equal(again->policy_count, 2);
	assert_int_equal(again->policies[0].successes, 4);
	assert_int_equal(again->policies[1].failures, 5);
	assert_int_equal(again->detail_count, 3);
	tlsrpt_traffic_free(&t);
	tlsrpt_traffic_free(&again);
	assert_null(again);
}

static void what_is_damaged_is_refused(void **state)
{
	static const char *const texts[] = {"", "B\t1", "B\t-1\n", "B\n", "X\t1\n", "S\tx\n", "P\ttlsa\t1\t2\n", "P\tdane\t1\t2\tx\n", "P\ttlsa\tx\t2\tx\n", "P\ttlsa\t1\t2\tx\ty\n",
	    "F\ttlsa-invalid\t1\t\t\t\t\n", "P\ttlsa\t1\t2\tx\nF\t\t1\t\t\t\t\n", "P\ttlsa\t1\t2\tx\nF\ttlsa-invalid\t1\t\t\t\n", "P\ttlsa\t1\t99999999999999999999\tx\n",
	    "P\ttlsa\t1\t2\tx\nF\ttlsa-invalid\t1\t\t\t\t\t\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct tlsrpt_traffic *t;

		if (tlsrpt_traffic_decode(span_str(texts[i]), &t) != E_CORRUPT || t != NULL)
			fail_msg("taken: %s", texts[i]);
	}
}

static void there_is_a_limit_to_everything(void **state)
{
	static char lines[TLSRPT_STRINGS_MAX * 2];
	struct tlsrpt_traffic *t = tlsrpt_traffic_new(0), *again;
	struct tlsrpt_session s = good;
	char name[16];

	(void)state;
	for (unsigned i = 0; i < TLSRPT_DETAILS_MAX + 50; i++) {
		snprintf(name, sizeof(name), "%u", i);
		add(t, bad(TLSRPT_VALIDATION_FAILURE, name), 1);
	}
	assert_int_equal(t->detail_count, TLSRPT_DETAILS_MAX);
	assert_int_equal(t->policies[0].failures, TLSRPT_DETAILS_MAX + 50);
	memset(lines, 'x', sizeof(lines));
	for (size_t i = 99; i < sizeof(lines); i += 100)
		lines[i] = '\n';
	s.strings = s.mx = span_of(lines, sizeof(lines));
	for (unsigned i = 0; i < TLSRPT_POLICIES_MAX; i++) {
		snprintf(name, sizeof(name), "host%u", i);
		s.domain = span_str(name);
		assert_int_equal(tlsrpt_traffic_add(t, &s), i < TLSRPT_POLICIES_MAX - 1 ? 0 : E_LIMIT);
	}
	assert_int_equal(t->policies[1].strings.len, 4000);
	assert_int_equal(tlsrpt_traffic_decode(span_str(stored(t)), &again), 0);
	s.domain = SPAN_LIT("host0");
	add(again, s, 1);
	assert_int_equal(again->policies[1].successes, 2);
	tlsrpt_traffic_free(&t);
	tlsrpt_traffic_free(&again);
}

/* ---- reports ---- */

static const struct tlsrpt_report head = {.organization = "Example \"Inc\"", .contact = "tls@mail.example.net", .domain = "example.com", .id = "1.2@mail.example.net",
    .begin = 1700006400, .end = 1700092799};

static json_t *json_of(const struct tlsrpt_traffic *t, struct buf *text)
{
	struct tlsrpt_report report = head;
	json_t *json;

	report.traffic = t;
	buf_init(text, TLSRPT_JSON_MAX);
	tlsrpt_report_json(&report, text);
	json = json_loadb(buf_span(text).ptr, buf_len(text), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	return json;
}

static void the_report_is_json(void **state)
{
	struct tlsrpt_traffic *t = some();
	const char *organization, *begin, *end, *contact, *id, *type, *string, *domain, *result, *reason, *host, *ours, *theirs, *other;
	int successes, failures, count, none;
	struct buf text;
	json_t *json = json_of(t, &text), *policies;

	(void)state;
	assert_int_equal(json_unpack(json, "{s:s s:{s:s s:s !} s:s s:s s:o !}", "organization-name", &organization, "date-range", "start-datetime", &begin, "end-datetime", &end, "contact-info",
			     &contact, "report-id", &id, "policies", &policies),
	    0);
	assert_string_equal(organization, "Example \"Inc\"");
	assert_string_equal(begin, "2023-11-15T00:00:00Z");
	assert_string_equal(end, "2023-11-15T23:59:59Z");
	assert_string_equal(contact, "tls@mail.example.net");
	assert_int_equal(json_array_size(policies), 2);
	assert_int_equal(json_unpack(json_array_get(policies, 0), "{s:{s:s s:[s,s!] s:s !} s:{s:i s:i !} s:[{s:s s:s s:i s:s !},o!] !}", "policy", "policy-type", &type, "policy-string", &string,
			     &other, "policy-domain", &domain, "summary", "total-successful-session-count", &successes, "total-failure-session-count", &failures, "failure-details", "result-type",
			     &result, "receiving-mx-hostname", &host, "failed-session-count", &count, "failure-reason-code", &reason, &policies),
	    0);
	assert_string_equal(type, "tlsa");
	assert_string_equal(string, "3 1 1 00ff");
	assert_string_equal(domain, "mx.example.com");
	assert_string_equal(result, "certificate-expired");
	assert_string_equal(reason, "it is \"old\" tab");
	assert_int_equal(successes * 100 + failures * 10 + count, 332);
	assert_int_equal(json_unpack(json_array_get(json_object_get(json, "policies"), 1), "{s:{s:s s:s !} s:{s:i s:i !} s:[{s:s s:s s:s s:s s:i !}!] !}", "policy", "policy-type", &type,
			     "policy-domain", &domain, "summary", "total-successful-session-count", &none, "total-failure-session-count", &failures, "failure-details", "result-type", &result,
			     "sending-mta-ip", &ours, "receiving-mx-hostname", &host, "receiving-ip", &theirs, "failed-session-count", &count),
	    0);
	assert_string_equal(type, "no-policy-found");
	assert_string_equal(result, "starttls-not-supported");
	assert_string_equal(ours, "192.0.2.1");
	assert_string_equal(theirs, "192.0.2.2");
	assert_int_equal(none * 100 + failures * 10 + count, 44);
	json_decref(json);
	buf_fini(&text);
	tlsrpt_traffic_free(&t);
}

/* Of MTA-STS the patterns of hosts are told as well. */
static void the_report_of_a_policy_of_mta_sts(void **state)
{
	struct tlsrpt_session s = {.type = TLSRPT_STS, .domain = SPAN_LIT("example.com"), .strings = SPAN_LIT("version: STSv1\nmode: enforce\n"), .mx = SPAN_LIT("*.example.com\n")};
	struct tlsrpt_traffic *t = tlsrpt_traffic_new(0);
	const char *version, *mode, *pattern;
	struct buf text;
	json_t *json;

	(void)state;
	add(t, s, 1);
	json = json_of(t, &text);
	assert_int_equal(json_unpack(json_array_get(json_object_get(json, "policies"), 0), "{s:{s:s s:[s,s!] s:s s:[s!] !} s:o !}", "policy", "policy-type", &version, "policy-string", &version,
			     &mode, "policy-domain", &pattern, "mx-host", &pattern, "summary", &(json_t *){NULL}),
	    0);
	assert_string_equal(mode, "mode: enforce");
	assert_string_equal(pattern, "*.example.com");
	json_decref(json);
	buf_fini(&text);
	tlsrpt_traffic_free(&t);
}

static void gzip_brings_it_back(void **state)
{
	char out[400];
	z_stream z = {.next_out = (unsigned char *)out, .avail_out = sizeof(out)};
	struct buf gzip;

	(void)state;
	buf_init(&gzip, TLSRPT_GZIP_MAX);
	assert_int_equal(tlsrpt_compress(SPAN_LIT("{\"a\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"), &gzip), 0);
	assert_memory_equal(buf_span(&gzip).ptr, "\x1f\x8b", 2);
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)buf_span(&gzip).ptr;
	z.avail_in = (unsigned)buf_len(&gzip);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_span_equal(span_of(out, z.total_out), "{\"a\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}");
	inflateEnd(&z);
	buf_fini(&gzip);
	buf_init(&gzip, 10);
	assert_int_equal(tlsrpt_compress(SPAN_LIT("what does not fit at all"), &gzip), E_TOOBIG);
	buf_fini(&gzip);
}

/* The largest there can be still fits between our daemons. */
static void the_largest_report_fits(void **state)
{
	static char lines[TLSRPT_STRINGS_MAX];
	struct tlsrpt_traffic *t = tlsrpt_traffic_new(0);
	struct tlsrpt_session s = {.type = TLSRPT_TLSA, .result = TLSRPT_VALIDATION_FAILURE};
	char name[TLSRPT_REASON_MAX + 1];
	struct buf text, gzip, mail;
	struct tlsrpt_report report = head;
	unsigned seed = 1;

	(void)state;
	for (unsigned i = 0; i < TLSRPT_DETAILS_MAX; i++) {
		for (size_t k = 0; k < sizeof(lines); k++)
			lines[k] = "0123456789abcdef"[(seed = seed * 1103515245 + 12345) >> 20 & 15];
		lines[sizeof(lines) - 1] = '\n';
		memcpy(name, lines, sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		snprintf(name, 12, "%u", i % TLSRPT_POLICIES_MAX);
		name[strlen(name)] = 'x';
		s.domain = span_sub(span_str(name), 0, 11);
		s.strings = i < TLSRPT_POLICIES_MAX ? span_of(lines, sizeof(lines)) : t->policies[i % TLSRPT_POLICIES_MAX].strings;
		s.domain = i < TLSRPT_POLICIES_MAX ? s.domain : t->policies[i % TLSRPT_POLICIES_MAX].domain;
		s.reason = span_sub(span_of(lines, sizeof(lines)), 0, TLSRPT_REASON_MAX);
		add(t, s, 1);
	}
	assert_int_equal(t->detail_count, TLSRPT_DETAILS_MAX);
	report.traffic = t;
	buf_init(&text, TLSRPT_JSON_MAX);
	buf_init(&gzip, TLSRPT_GZIP_MAX);
	buf_init(&mail, TLSRPT_MAIL_MAX);
	tlsrpt_report_json(&report, &text);
	assert_false(buf_failed(&text));
	assert_int_equal(tlsrpt_compress(buf_span(&text), &gzip), 0);
	tlsrpt_mail(&report, "reports@example.com", buf_span(&gzip), 1700100000, &mail);
	assert_false(buf_failed(&mail));
	buf_fini(&text);
	buf_fini(&gzip);
	buf_fini(&mail);
	tlsrpt_traffic_free(&t);
}

static void the_message_has_its_fields(void **state)
{
	static const char *const lines[] = {"From: <tls@mail.example.net>", "To: <reports@example.com>", "Subject: Report Domain: example.com\r\n Submitter: mail.example.net\r\n Report-ID: <1.2@mail.example.net>",
	    "TLS-Report-Domain: example.com", "TLS-Report-Submitter: mail.example.net", "TLS-Required: No", "Content-Type: multipart/report; report-type=\"tlsrpt\";", "Content-Type: application/tlsrpt+gzip",
	    "\tfilename=\"mail.example.net!example.com!1700006400!1700092799.json.gz\""};
	struct tlsrpt_traffic *t = some();
	struct tlsrpt_report report = head;
	struct buf mail;

	(void)state;
	report.traffic = t;
	buf_init(&mail, TLSRPT_MAIL_MAX);
	tlsrpt_mail(&report, "reports@example.com", SPAN_LIT("not gzip"), 1700100000, &mail);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char line[300];

		snprintf(line, sizeof(line), "\r\n%s\r\n", lines[i]);
		if (strstr(buf_cstr(&mail), line) == NULL)
			fail_msg("lacks %s", lines[i]);
	}
	assert_non_null(strstr(buf_cstr(&mail), "\r\nbm90IGd6aXA=\r\n--"));
	buf_fini(&mail);
	tlsrpt_traffic_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_stored_is_read_again),
	    cmocka_unit_test(what_is_damaged_is_refused),
	    cmocka_unit_test(there_is_a_limit_to_everything),
	    cmocka_unit_test(the_report_is_json),
	    cmocka_unit_test(the_report_of_a_policy_of_mta_sts),
	    cmocka_unit_test(gzip_brings_it_back),
	    cmocka_unit_test(the_largest_report_fits),
	    cmocka_unit_test(the_message_has_its_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
