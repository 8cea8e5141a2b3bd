/*
 * Twice the input, twice the time, as in linear_time_test.c: logins, tokens, DNS and what is read of it, files of ours, and what sendmail -t
 * reads.
 */
#include "tests/unit/lib/linear_time.h"

#include "dns/private.h"
#include "imap/runs.h"
#include "intake/mend.h"
#include "local/complete.h"
#include "local/drop.h"
#include "local/extract.h"
#include "local/lines.h"
#include "mime/parts.h"
#include "mime/structure.h"
#include "oauth/private.h"
#include "sasl/client.h"
#include "sasl/sasl.h"
#include "spool/spool.h"
#include "sts/sts.h"
#include "tlsrpt/record.h"
#include "tlsrpt/report.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- logins ---- */

static void respond(enum sasl_mechanism mechanism, struct span response)
{
	struct sasl *s = sasl_new(mechanism, &(struct sasl_channel){0});

	assert_non_null(s);
	sasl_begin(s);
	sasl_respond(s, response);
	sasl_free(&s);
}

static void scram(struct span input)
{
	respond(SASL_SCRAM_SHA_256, input);
}

static void bearer(struct span input)
{
	respond(SASL_OAUTHBEARER, input);
}

static void response_line(struct span input)
{
	struct buf out;

	buf_init(&out, input.len);
	sasl_line_decode(input, true, &out);
	buf_fini(&out);
}

static void prepare(struct span input)
{
	struct buf out;

	buf_init(&out, 16 * input.len);
	(void)sasl_prepare(input, &out);
	buf_fini(&out);
}

static void scram_text(struct span input)
{
	struct scram_keys keys;

	(void)scram_parse(input, &keys);
}

/* Of another server, to our client. */
static void challenge(struct span input)
{
	struct sasl_client *c = sasl_client_new(SASL_SCRAM_SHA_256, SPAN_LIT("u"), SPAN_LIT("p"), &(struct sasl_channel){0});
	struct err err;
	bool has_initial;
	struct buf out;

	buf_init(&out, SASL_RESPONSE_MAX);
	assert_int_equal(sasl_client_begin(c, &out, &has_initial, &err), 0);
	buf_clear(&out);
	(void)sasl_client_respond(c, input, &out, &err);
	buf_fini(&out);
	sasl_client_free(&c);
}

static void json(struct span input)
{
	bool starved = false;

	json_decref(oauth_json_object(input, &starved));
}

static void key_set(struct span input)
{
	struct oauth_keys *keys = NULL;
	struct err err;

	(void)oauth_keys_parse(input, &keys, &err);
	oauth_keys_free(&keys);
}

static void introspection(struct span input)
{
	const struct oauth_policy policy = {.scope = SPAN_LIT("a b c")};
	struct oauth_claims claims;

	(void)oauth_introspection_check(input, &policy, 0, &claims);
}

static void token(struct span input)
{
	static struct oauth_keys *keys;
	const struct oauth_policy policy = {.skew_s = 60};
	struct oauth_claims claims;
	struct err err;

	if (keys == NULL)
		assert_int_equal(oauth_keys_parse(SPAN_LIT("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"), &keys, &err), 0);
	assert_int_not_equal(oauth_jwt_check(input, keys, &policy, 0, &claims), OAUTH_GOOD);
}

#define ED25519_KEY "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"#\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

/* What has a limit of its own, as tokens of 8 KB and key sets of 56 KB, has that as its longest size of make check. */
static void logins(void **state)
{
	static const struct shape shapes[] = {
	    {"attributes of SCRAM", "n,,n=u,r=x", ",a=b", "", scram, 12},
	    {"commas of SCRAM", "n,,", ",", "", scram, 12},
	    {"escapes of a name", "n,,n=", "=2C", ",r=x", scram, 12},
	    {"pairs of a bearer token", "n,,\x01", "a=b\x01", "\x01", bearer, 12},
	    {"a response", "", "QUJD", "", response_line, 3},
	    {"equals signs of a response", "", "=", "", response_line, 3},
	    {"ASCII to be prepared", "", "a", "", prepare, 5},
	    {"keys as text", "SCRAM-SHA-256$4096:", "QUJD", "$a:b", scram_text, 3},
	    {"dollars of keys", "SCRAM-SHA-256$4096:", "$", ":", scram_text, 3},
	    {"a challenge", "r=", "x", ",s=QUJD,i=4096", challenge, 3},
	    {"attributes of a challenge", "r=x", ",a=b", "", challenge, 3},
	    {"names of JSON", "{\"active\":true", ",\"a#\":1", "}", introspection, 9},
	    {"escapes of JSON", "{\"a\":\"", "\\u00e4", "\"}", json, 4},
	    {"surrogates of JSON", "{\"a\":\"", "\\ud83d\\ude00", "\"}", json, 4},
	    {"lists of JSON", "{\"a\":", "[", "", json, 4},
	    {"digits of JSON", "{\"a\":", "9", "}", json, 4},
	    {"blanks of JSON", "{", " ", "}", json, 4},
	    {"keys", "{\"keys\":[{}", "," ED25519_KEY, "]}", key_set, 9},
	    {"keys of no use", "{\"keys\":[{}", ",{\"kty\":\"oct\"}", "]}", key_set, 9},
	    {"scopes", "{\"active\":true,\"sub\":\"a\",\"scope\":\"", "a ", "\"}", introspection, 9},
	    {"audiences", "{\"active\":true,\"sub\":\"a\",\"aud\":[\"a\"", ",\"b\"", "]}", introspection, 9},
	    {"a token", "eyJhbGciOiJFZERTQSJ9.", "e30", ".AAAA", token, 12},
	    {"dots of a token", "", ".", "", token, 12},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* ---- DNS, and what is read of it ---- */

/* Records of so many octets of the input. */
static void make_records(struct span input, size_t each, struct buf *out)
{
	buf_init(out, 2 * input.len + 64);
	for (; input.len > 0; input = span_from(input, each)) {
		struct span rdata = span_sub(input, 0, each);

		buf_add_char(out, (char)(rdata.len & 0xff));
		buf_add_char(out, (char)(rdata.len >> 8));
		buf_add_span(out, rdata);
	}
	assert_false(buf_failed(out));
}

static void read_rdata(struct span rdata)
{
	struct sockaddr_storage address;
	char name[DNS_NAME_TEXT], *text = malloc(rdata.len + 1);
	struct span wire = rdata;
	struct dns_mx mx;
	struct dns_srv srv;
	struct dns_tlsa tlsa;
	size_t len;

	assert_non_null(text);
	(void)dns_name_parse(&wire, name);
	(void)dns_mx_parse(rdata, &mx);
	(void)dns_srv_parse(rdata, &srv);
	(void)dns_tlsa_parse(rdata, &tlsa);
	(void)dns_address_parse(DNS_AAAA, rdata, &address);
	(void)dns_txt_parse(rdata, text, rdata.len, &len);
	free(text);
}

static void records_of(struct span input, size_t each)
{
	struct dns_reply reply = {0};
	struct dns_answer answer;
	struct span rdata;
	struct buf records;
	char id[STS_ID_MAX + 1];
	struct err err;

	make_records(input, each, &records);
	reply.records = buf_span(&records);
	assert_int_equal(dns_answer_read(&reply, &answer), 0);
	(void)sts_records_read(answer.records, id, &err);
	while (dns_record_next(&answer.records, &rdata))
		read_rdata(rdata);
	buf_fini(&records);
}

static void short_records(struct span input)
{
	records_of(input, 21);
}

static void long_records(struct span input)
{
	records_of(input, UINT16_MAX);
}

static void domain(struct span input)
{
	char out[DNS_NAME_TEXT];

	(void)dns_name_normalize(input, out);
}

static void sts_txt(struct span input)
{
	char id[STS_ID_MAX + 1];
	struct err err;

	(void)sts_record_parse(input, id, &err);
}

static void sts_file(struct span input)
{
	struct sts_policy policy;
	struct err err;

	(void)sts_type_is_text(input);
	(void)sts_policy_parse(input, &policy, &err);
}

static void tlsrpt_txt(struct span input)
{
	static struct tlsrpt_record record;

	(void)tlsrpt_record_parse(input, &record);
}

static void traffic(struct span input)
{
	const struct tlsrpt_report report = {.organization = "we", .contact = "a@b.example", .domain = "c.example", .id = "1@b.example"};
	struct tlsrpt_report full = report;
	struct tlsrpt_traffic *t;
	struct buf text;

	if (tlsrpt_traffic_decode(input, &t) != 0)
		return;
	full.traffic = t;
	buf_init(&text, 16 * TLSRPT_JSON_MAX);
	tlsrpt_traffic_encode(t, &text);
	tlsrpt_report_json(&full, &text);
	assert_false(buf_failed(&text));
	buf_fini(&text);
	tlsrpt_traffic_free(&t);
}

static void dns_and_policies(void **state)
{
	static const struct shape shapes[] = {
	    {"records of a policy", "", "\x14v=STSv1; id=2026112a", "", short_records, 4},
	    {"records of names", "", "\x01x\x01y\x01z\x01x\x01y\x01z\x01x\x01y\x01z\x03", "", short_records, 4},
	    {"long records of strings", "", "\x01x", "", long_records, 3},
	    {"long records of pointers", "", "\xc0\x0c", "", long_records, 3},
	    {"a domain of dots", "", ".", "", domain, 3},
	    {"a domain beyond ASCII", "", "\xc3\xbc.", "", domain, 5},
	    {"a domain of xn--", "", "xn--a.", "", domain, 5},
	    {"a label", "", "a", ".example", domain, 3},
	    {"fields of an STS record", "v=STSv1; id=a", "; a=b", ";", sts_txt, 3},
	    {"blanks of an STS record", "v=STSv1; id=a", " ", ";", sts_txt, 3},
	    {"lines of a policy", "version: STSv1\n", "a: b\n", "mode: none\n", sts_file, 9},
	    {"hosts of a policy", "version: STSv1\nmode: enforce\nmax_age: 86400\n", "mx: *.a#\r\n", "", sts_file, 9},
	    {"blank lines of a policy", "version: STSv1\n", "\n", "mode: none\n", sts_file, 9},
	    {"a host without an end", "version: STSv1\nmx: ", "a", "\n", sts_file, 9},
	    {"places of a TLSRPT record", "v=TLSRPTv1; rua=mailto:a@b.c", ",mailto:a#@b.c", "", tlsrpt_txt, 3},
	    {"a place without an end", "v=TLSRPTv1; rua=https://", "a", "", tlsrpt_txt, 3},
	    {"fields of a TLSRPT record", "v=TLSRPTv1; rua=mailto:a@b.c", "; a=b", "", tlsrpt_txt, 3},
	    {"percents", "v=TLSRPTv1; rua=mailto:", "%41", "@b.c", tlsrpt_txt, 3},
	    {"failures", "B\t1\nP\tsts\t0\t0\tx\n", "F\ttlsa-invalid\t1\ta\tb\th#\tx\n", "", traffic, 7},
	    {"lines of a report's policy", "B\t1\nP\tsts\t0\t0\tx\n", "S\tmode: enforce\n", "", traffic, 7},
	    {"patterns of a report's policy", "B\t1\nP\tsts\t0\t0\tx\n", "M\t\"\n", "", traffic, 7},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* ---- files of ours ---- */

static const unsigned char spool_key[SPOOL_KEY] = "linear";

/* A record for each sixty-four octets, of two recipients in turn; the file is written as well. */
static void journal(struct span input, enum spool_status status)
{
	enum { EACH = 64, AT_ONCE = 4096 };
	struct spool_recipient recipients[2] = {{.address = SPAN_LIT("a@b")}, {.address = SPAN_LIT("c@d")}};
	const struct spool_envelope envelope = {.source = SPOOL_FROM_SMTP, .recipients = recipients, .recipient_count = 2};
	struct spool_commit commit = {.id = 1};
	static struct spool_record records[AT_ONCE];
	struct pool *pool = pool_new(NULL, 0);
	int fd = memfd_create("spool", MFD_CLOEXEC);
	struct spool_file file;
	struct err err = {0};
	struct buf wire;

	buf_init(&wire, SPOOL_ENVELOPE_MAX);
	assert_int_equal(spool_envelope_encode(&envelope, &wire), 0);
	commit.envelope = buf_span(&wire);
	assert_int_equal(spool_commit(fd, spool_key, &commit, &err), 0);
	while (input.len > 0) {
		size_t count = 0;

		for (; count < AT_ONCE && input.len > 0; input = span_from(input, EACH), count++)
			records[count] = (struct spool_record){.status = status, .recipient = count % 2, .attempts = 1, .when = 2, .next = 3, .text = span_sub(input, 0, EACH)};
		assert_int_equal(spool_append(fd, 1, spool_key, records, count, false, &err), 0);
	}
	/* Of targets that are done there is a limit. */
	if (spool_read(fd, 1, spool_key, true, pool, &file, &err) != 0 && status != SPOOL_TARGET_DONE)
		fail_msg("%s", err.text);
	buf_fini(&wire);
	pool_free(&pool);
	close(fd);
}

static void deferrals(struct span input)
{
	journal(input, SPOOL_DEFERRED);
}

static void targets(struct span input)
{
	journal(input, SPOOL_TARGET_DONE);
}

/* As the index has it. */
static void parts_table(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct mime_part *root = mime_structure_parse(input, pool);
	static const uint32_t path[] = {UINT32_MAX};
	struct mime_place place;
	struct buf table;
	size_t index;

	buf_init(&table, 64 * input.len + 64);
	mime_parts_encode(root, &table);
	for (size_t i = 0; mime_parts_get(buf_span(&table), i, input.len, &place); i++)
		continue;
	assert_false(mime_parts_find(buf_span(&table), input.len, path, 1, &place, &index));
	buf_fini(&table);
	pool_free(&pool);
}

static void runs(struct span input)
{
	uint32_t first, last = 0;

	while (input.len > 0 && imap_runs_take(&input, &first, &last))
		continue;
}

static void drop(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct letter letter;
	struct err err;
	size_t len;

	(void)drop_head_length(input);
	(void)drop_decode(input, pool, &letter, &len, &err);
	pool_free(&pool);
}

#define DROP_FRONT "mailwain-drop 1\nhandover 00112233445566778899aabbccddeeff\nuser a\n"

static void files(void **state)
{
	static const struct shape shapes[] = {
	    {"attempts in the journal", "", "450 4.2.0 busy: come again, and then once more, and once again..", "", deferrals, 4},
	    {"targets in the journal", "", "a#@example.org                  ", "", targets, 4},
	    {"one target in the journal", "", "aa@example.org                  ", "", targets, 4},
	    {"a table of parts", "Content-Type: multipart/mixed; boundary=x\r\n\r\n", "--x\r\n\r\ny\r\n", "--x--\r\n", parts_table, 2},
	    {"runs of UIDs", "", "\x01\x01", "", runs, 2},
	    {"a number without an end", "", "\xff", "", runs, 2},
	    {"recipients of a letter", DROP_FRONT, "recipient a#@b.c\n", "\n", drop, 4},
	    {"original recipients of a letter", DROP_FRONT, "orcpt rfc822;a\n", "recipient a@b.c\n\n", drop, 4},
	    {"a letter's name without an end", DROP_FRONT "name ", "a", "", drop, 3},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

/* ---- sendmail -t: what it reads, and what pickup makes of it ---- */

static void to_lines(struct span input, struct buf *out)
{
	struct lines lines = {.from_skip = true};

	buf_init(out, 2 * input.len + 64);
	for (; input.len > 0; input = span_from(input, 16384))
		lines_feed(&lines, span_sub(input, 0, 16384), out);
	lines_end(&lines, out);
	assert_false(buf_failed(out));
}

static void extract(struct span message)
{
	struct pool *pool = pool_new(NULL, 0);
	struct recipient_list list;
	struct err err;

	assert_int_equal(recipients_init(&list, pool), 0);
	(void)recipients_extract(&list, span_sub(message, 0, local_header_length(message)), pool, &err);
	pool_free(&pool);
}

static void letter(struct span input)
{
	struct buf message, mended, out;
	struct complete complete;
	struct mend mend;

	to_lines(input, &message);
	extract(buf_span(&message));
	buf_init(&mended, 2 * input.len + 4096);
	buf_init(&out, 16 * input.len + 4096);
	mend_init(&mend, "today", "<a@b>");
	complete_init(&complete, SPAN_LIT("d.test"));
	for (struct span rest = buf_span(&message); rest.len > 0; rest = span_from(rest, 16384))
		mend_feed(&mend, span_sub(rest, 0, 16384), &mended);
	mend_end(&mend, &mended);
	for (struct span rest = buf_span(&mended); rest.len > 0; rest = span_from(rest, 16384))
		complete_feed(&complete, span_sub(rest, 0, 16384), &out);
	complete_end(&complete, &out);
	complete_fini(&complete);
	assert_false(buf_failed(&mended) || buf_failed(&out));
	buf_fini(&message);
	buf_fini(&mended);
	buf_fini(&out);
}

static void letters(void **state)
{
	static const struct shape shapes[] = {
	    {"recipients of -t", "To: a", ", b#", "\n\n", letter, 5},
	    {"fields of recipients", "", "Bcc: a@b\nTo: c\n", "\n", letter, 4},
	    {"fields of a resent message", "", "Resent-To: a\nResent-From: b\n", "\n", letter, 4},
	    {"folded recipients", "To: a", ",\n b", "\n\n", letter, 5},
	    {"open comments of recipients", "Cc: ", "(", "\n\n", letter, 5},
	    {"open quotes of recipients", "Cc: ", "\"\\", "\n\n", letter, 5},
	    {"groups of recipients", "Cc: ", "g:a;,", "\n\n", letter, 5},
	    {"angles of recipients", "Cc: ", "<", "\n\n", letter, 5},
	    {"lines of an mbox", "", "From a\n", "To: b\n\n", letter, 3},
	    {"lone carriage returns of a letter", "To: b\n\n", "\r", "\n", letter, 3},
	    {"empty lines of a letter", "To: b\n\n", "\n", "", letter, 3},
	    {"a letter that is no message", "", "x", "", letter, 3},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(logins),
	    cmocka_unit_test(dns_and_policies),
	    cmocka_unit_test(files),
	    cmocka_unit_test(letters),
	    cmocka_unit_test(figures),
	};

	begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
