/* ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 section 7.4.2), and that nothing makes them break the grammar of section 9. */
#include "tests/unit/test.h"

#include "imap/body.h"
#include "imap/facts.h"

#include <stdio.h>
#include <stdlib.h>

static struct pool *pool;

static int setup(void **state)
{
	(void)state;
	pool = pool_new(NULL, MIME_MEMORY_MAX);
	return pool == NULL;
}

static int teardown(void **state)
{
	(void)state;
	pool_free(&pool);
	return 0;
}

/* ---- a strict reader of the grammar ---- */

static bool take(struct span *s, char c)
{
	if (s->len == 0 || *s->ptr != c)
		return false;
	*s = span_from(*s, 1);
	return true;
}

static bool take_number(struct span *s)
{
	size_t n = 0;

	while (n < s->len && ascii_is_digit(s->ptr[n]))
		n++;
	*s = span_from(*s, n);
	return n > 0;
}

/* string = quoted / literal; without NUL, quoted ones in ASCII and without line ends. out: what it says. */
static bool take_string(struct span *s, char *out, size_t size)
{
	size_t len = 0;

	if (take(s, '"')) {
		while (s->len > 0 && *s->ptr != '"') {
			take(s, '\\');
			if (s->len == 0 || *s->ptr <= 0 || *s->ptr == '\r' || *s->ptr == '\n')
				return false;
			if (len + 1 < size)
				out[len++] = *s->ptr;
			*s = span_from(*s, 1);
		}
		out[len] = '\0';
		return take(s, '"');
	}
	if (take(s, '{')) {
		struct span digits = *s;
		uint64_t n;

		if (!take_number(s) || !span_u64(span_sub(digits, 0, digits.len - s->len), 1 << 30, &n) || !take(s, '}') || !take(s, '\r') || !take(s, '\n') || n > s->len)
			return false;
		if (memchr(s->ptr, '\0', n) != NULL)
			return false;
		snprintf(out, size, "%.*s", (int)n, s->ptr);
		*s = span_from(*s, (size_t)n);
		return true;
	}
	return false;
}

static bool take_nil(struct span *s)
{
	return take(s, 'N') && take(s, 'I') && take(s, 'L');
}

static bool take_nstring(struct span *s)
{
	char ignored[8];

	return s->len > 0 && *s->ptr == 'N' ? take_nil(s) : take_string(s, ignored, sizeof(ignored));
}

/* address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")" */
static bool take_addresses(struct span *s)
{
	if (s->len > 0 && *s->ptr == 'N')
		return take_nil(s);
	if (!take(s, '('))
		return false;
	do
		if (!take(s, '(') || !take_nstring(s) || !take(s, ' ') || !take_nstring(s) || !take(s, ' ') || !take_nstring(s) || !take(s, ' ') || !take_nstring(s) || !take(s, ')'))
			return false;
	while (s->len > 0 && *s->ptr == '(');
	return take(s, ')');
}

static bool take_envelope(struct span *s)
{
	if (!take(s, '(') || !take_nstring(s) || !take(s, ' ') || !take_nstring(s))
		return false;
	for (int i = 0; i < 6; i++)
		if (!take(s, ' ') || !take_addresses(s))
			return false;
	return take(s, ' ') && take_nstring(s) && take(s, ' ') && take_nstring(s) && take(s, ')');
}

/* body-fld-param = "(" string SP string *(SP string SP string) ")" / nil */
static bool take_parameters(struct span *s)
{
	char ignored[8];

	if (s->len > 0 && *s->ptr == 'N')
		return take_nil(s);
	if (!take(s, '('))
		return false;
	do
		if (!take_string(s, ignored, sizeof(ignored)) || !take(s, ' ') || !take_string(s, ignored, sizeof(ignored)))
			return false;
	while (take(s, ' '));
	return take(s, ')');
}

/* SP body-fld-dsp SP body-fld-lang SP body-fld-loc */
static bool take_extension(struct span *s)
{
	char ignored[8];

	if (!take(s, ' '))
		return false;
	if (s->len > 0 && *s->ptr == '(') {
		if (!take(s, '(') || !take_string(s, ignored, sizeof(ignored)) || !take(s, ' ') || !take_parameters(s) || !take(s, ')'))
			return false;
	} else if (!take_nil(s)) {
		return false;
	}
	return take(s, ' ') && take_nstring(s) && take(s, ' ') && take_nstring(s);
}

/* Extension data may be left out. */
static bool is_end(const struct span *s)
{
	return s->len > 0 && *s->ptr == ')';
}

static bool take_body(struct span *s, bool extended)
{
	char type[32], subtype[32], encoding[32];
	bool text, message;

	if (!take(s, '('))
		return false;
	if (s->len > 0 && *s->ptr == '(') { /* body-type-mpart */
		while (s->len > 0 && *s->ptr == '(')
			if (!take_body(s, extended))
				return false;
		if (!take(s, ' ') || !take_string(s, subtype, sizeof(subtype)))
			return false;
		return (!extended || is_end(s) || (take(s, ' ') && take_parameters(s) && take_extension(s))) && take(s, ')');
	}
	if (!take_string(s, type, sizeof(type)) || !take(s, ' ') || !take_string(s, subtype, sizeof(subtype)) || !take(s, ' ') || !take_parameters(s) || !take(s, ' ') || !take_nstring(s) || !take(s, ' ') ||
	    !take_nstring(s) || !take(s, ' ') || !take_string(s, encoding, sizeof(encoding)) || !take(s, ' ') || !take_number(s))
		return false;
	text = span_caseeq(span_str(type), SPAN_LIT("text"));
	message = span_caseeq(span_str(type), SPAN_LIT("message")) && (span_caseeq(span_str(subtype), SPAN_LIT("rfc822")) || span_caseeq(span_str(subtype), SPAN_LIT("global")));
	if (message && (!take(s, ' ') || !take_envelope(s) || !take(s, ' ') || !take_body(s, extended)))
		return false;
	if ((text || message) && (!take(s, ' ') || !take_number(s)))
		return false;
	return (!extended || is_end(s) || (take(s, ' ') && take_nstring(s) && take_extension(s))) && take(s, ')');
}

static void assert_grammar(struct span message)
{
	struct imap_facts f;
	struct err err;
	struct span e, b, x;

	pool_reset(pool);
	assert_int_equal(imap_facts_find(message, pool, &f, &err), 0);
	e = f.envelope;
	b = f.body;
	x = f.bodystructure;
	if (!take_envelope(&e) || e.len > 0)
		fail_msg("%.*s\n-- ENVELOPE %.*s", SPAN_ARG(message), SPAN_ARG(f.envelope));
	if (!take_body(&b, false) || b.len > 0)
		fail_msg("%.*s\n-- BODY %.*s", SPAN_ARG(message), SPAN_ARG(f.body));
	if (!take_body(&x, true) || x.len > 0)
		fail_msg("%.*s\n-- BODYSTRUCTURE %.*s", SPAN_ARG(message), SPAN_ARG(f.bodystructure));
}

/* ---- strings ---- */

static void strings_are_quoted_or_literals(void **state)
{
	static const struct {
		struct span text;
		const char *out;
	} rows[] = {{SPAN_LIT(""), "\"\""}, {SPAN_LIT("a b"), "\"a b\""}, {SPAN_LIT("a\"b\\"), "\"a\\\"b\\\\\""}, {SPAN_LIT("a\r\nb"), "{4}\r\na\r\nb"}, {SPAN_LIT("\xc3\xa4"), "{2}\r\n\xc3\xa4"},
	    {SPAN_LIT("\t"), "{1}\r\n\t"}, {SPAN_LIT("\x7f"), "{1}\r\n\x7f"},
	    /* CHAR8 = %x01-ff: a NUL never reaches a client. */
	    {SPAN_LIT("a\0b"), "\"ab\""}, {SPAN_LIT("\xe4\0"), "{1}\r\n\xe4"}, {SPAN_LIT("\0"), "\"\""}};
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(&out);
		imap_string_format(rows[i].text, &out);
		assert_span_equal(buf_span(&out), rows[i].out);
	}
	buf_fini(&out);
}

/* ---- envelopes ---- */

static void assert_envelope(const char *header, const char *want)
{
	struct buf out;

	buf_init(&out, 10000);
	imap_envelope_format(span_str(header), &out);
	if (strcmp(buf_cstr(&out), want) != 0)
		fail_msg("%s\n%s\n%s", header, buf_cstr(&out), want);
	buf_fini(&out);
}

/* RFC 3501 section 8. */
static void the_example_of_the_rfc(void **state)
{
	(void)state;
	assert_envelope("Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\nSubject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n"
			"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\nMessage-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n",
	    "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
	    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) "
	    "NIL NIL \"<B27397-0100000@cac.washington.edu>\")");
}

/* Absent is NIL; present and empty is the empty string, for addresses NIL. Sender and Reply-To stand in for From. */
static void what_is_absent_or_empty(void **state)
{
	(void)state;
	assert_envelope("\r\n", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
	assert_envelope("Date:\r\nSubject: \r\nFrom:\r\nSender:\r\nTo: ,\r\nCc: (nobody)\r\nIn-Reply-To:\r\nMessage-ID:\r\n\r\n", "(\"\" \"\" NIL NIL NIL NIL NIL NIL \"\" \"\")");
	assert_envelope("From: a@b\r\nSender:\r\nReply-To: c@d\r\n\r\n", "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")) NIL NIL NIL NIL NIL)");
	assert_envelope("Sender: s@t\r\n\r\n", "(NIL NIL NIL ((NIL NIL \"s\" \"t\")) NIL NIL NIL NIL NIL NIL)");
	assert_envelope("Bcc: x@y\r\nIn-Reply-To: <1@x>\r\n <2@x>\r\n\r\n", "(NIL NIL NIL NIL NIL NIL NIL ((NIL NIL \"x\" \"y\")) \"<1@x> <2@x>\" NIL)");
}

/* Group: host NIL, the name as mailbox; its end: mailbox NIL too. The local part comes without its quoting. */
static void addresses_of_each_kind(void **state)
{
	(void)state;
	assert_envelope("To: A Group:Ed Jones <c@a.test>,joe@where.test;, <@r.test,@s.test:m@n.test>\r\n\r\n",
	    "(NIL NIL NIL NIL NIL ((NIL NIL \"A Group\" NIL)(\"Ed Jones\" NIL \"c\" \"a.test\")(NIL NIL \"joe\" \"where.test\")(NIL NIL NIL NIL)(NIL \"@r.test,@s.test\" \"m\" \"n.test\")) NIL NIL NIL NIL)");
	assert_envelope("To: Undisclosed recipients:;\r\n\r\n", "(NIL NIL NIL NIL NIL ((NIL NIL \"Undisclosed recipients\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL)");
	assert_envelope("To: \"john smith\"@x.test, <\"a>b\\\"@c\"@y.test>, local\r\n\r\n",
	    "(NIL NIL NIL NIL NIL ((NIL NIL \"john smith\" \"x.test\")(NIL NIL \"a>b\\\"@c\" \"y.test\")(NIL NIL \"local\" \"\")) NIL NIL NIL NIL)");
}

/* ---- bodies ---- */

static void assert_bodies(const char *message, const char *body, const char *extended)
{
	struct imap_facts f;
	struct err err;

	assert_int_equal(imap_facts_find(span_str(message), pool, &f, &err), 0);
	if (!span_eq(f.body, span_str(body)))
		fail_msg("%s\n%.*s\n%s", message, SPAN_ARG(f.body), body);
	if (!span_eq(f.bodystructure, span_str(extended)))
		fail_msg("%s\n%.*s\n%s", message, SPAN_ARG(f.bodystructure), extended);
	assert_grammar(span_str(message));
}

static void single_parts(void **state)
{
	(void)state;
	/* RFC 2045 section 5.2: without a type it is text/plain in US-ASCII; section 6.1: 7BIT. */
	assert_bodies("Subject: x\r\n\r\none\r\ntwo\r\n", "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 10 2)",
	    "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 10 2 NIL NIL NIL NIL)");
	assert_bodies("Content-Type: image/png; name=\"a b.png\"\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <i@x>\r\nContent-Description: a\r\n picture\r\nContent-MD5: Q2hlY2s=\r\n"
		      "Content-Disposition: attachment; filename=x; size=5\r\nContent-Language: en, de\r\nContent-Location: http://x.test/\r\n\r\nAAAA\r\n",
	    "(\"image\" \"png\" (\"name\" \"a b.png\") \"<i@x>\" \"a picture\" \"base64\" 6)",
	    "(\"image\" \"png\" (\"name\" \"a b.png\") \"<i@x>\" \"a picture\" \"base64\" 6 \"Q2hlY2s=\" (\"attachment\" (\"filename\" \"x\" \"size\" \"5\")) \"en, de\" \"http://x.test/\")");
	assert_bodies("Content-Type: text/html; charset=utf-8\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: \r\n\r\n", "(\"text\" \"html\" (\"charset\" \"utf-8\") NIL NIL \"7BIT\" 0 0)",
	    "(\"text\" \"html\" (\"charset\" \"utf-8\") NIL NIL \"7BIT\" 0 0 NIL (\"inline\" NIL) NIL NIL)");
	assert_bodies("Content-Type: application/x-thing\r\n\r\nx", "(\"application\" \"x-thing\" NIL NIL NIL \"7BIT\" 1)", "(\"application\" \"x-thing\" NIL NIL NIL \"7BIT\" 1 NIL NIL NIL NIL)");
}

static void multiparts(void **state)
{
	(void)state;
	assert_bodies("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/x\r\n\r\ntwo\r\n--b--\r\n",
	    "((\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0)(\"text\" \"x\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0) \"mixed\")",
	    "((\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0 NIL NIL NIL NIL)(\"text\" \"x\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 0 NIL NIL NIL NIL) \"mixed\" "
	    "(\"boundary\" \"b\") NIL NIL NIL)");
	/* The grammar knows none without a part. */
	assert_bodies("Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n", "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0) \"mixed\")",
	    "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)");
}

#define NO_ENVELOPE "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
#define NO_TEXT "(\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0)"

/* "immediately after the basic fields, the envelope structure, body structure, and size in text lines of the encapsulated message" */
static void messages_within(void **state)
{
	struct imap_facts f;
	struct err err;

	(void)state;
	assert_bodies("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n",
	    "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 18 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1) 3)",
	    "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 18 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3 1 NIL NIL NIL NIL) 3 "
	    "NIL NIL NIL NIL)");
	assert_int_equal(imap_facts_find(SPAN_LIT("Content-Type: message/rfc822\r\n\r\n"), pool, &f, &err), 0);
	assert_span_equal(f.body, "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 0 " NO_ENVELOPE " " NO_TEXT " 0)");
	/* Cut off within its header, and too deep to be looked into: an envelope all the same. */
	assert_grammar(SPAN_LIT("Content-Type: message/rfc822\r\n"));
	assert_grammar(SPAN_LIT("Content-Type: message/rfc822"));
	assert_grammar(SPAN_LIT("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n--b--\r\n"));
	assert_grammar(SPAN_LIT("Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n--b\r\n\r\nSubject: x\r\n--b--\r\n"));
}

static char *repeated(const char *one, size_t n, struct span *out)
{
	size_t len = strlen(one);
	char *text = malloc(n * len + 1);

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		memcpy(text + i * len, one, len);
	*out = span_of(text, n * len);
	return text;
}

/* Deeper than is looked into, more parts than are listed, more text than is told. */
static void past_the_limits(void **state)
{
	static const char *const ones[] = {"Content-Type: message/rfc822\r\n\r\n", "Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n"};
	struct imap_facts f;
	struct err err;
	struct span all;
	struct buf big;
	char *text;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		text = repeated(ones[i], MIME_DEPTH_MAX + 3, &all);
		assert_grammar(all);
		free(text);
	}
	buf_init(&big, 10 << 20);
	buf_add_str(&big, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
	for (int i = 0; i < 12000; i++)
		buf_printf(&big, "--b\r\nContent-Type: message/rfc822\r\nContent-Description: %0200d\r\n\r\n\r\n", i);
	assert_grammar(buf_span(&big));
	assert_int_equal(imap_facts_find(buf_span(&big), pool, &f, &err), 0);
	assert_true(f.bodystructure.len <= IMAP_TEXT_MAX && f.body.len <= IMAP_TEXT_MAX);
	assert_true(span_startswith(f.bodystructure, SPAN_LIT("(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"8BIT\" ")));
	buf_clear(&big);
	for (int i = 0; i < 60; i++) {
		buf_printf(&big, "%s: ", i % 2 ? "To" : "Subject");
		for (int k = 0; k < 30000; k++)
			buf_add_str(&big, "a@b, ");
		buf_add_str(&big, "\r\n");
	}
	for (int i = 0; i < 6; i++) {
		static const char *const names[] = {"From", "Sender", "Reply-To", "Cc", "Bcc", "Date"};

		buf_printf(&big, "%s: ", names[i]);
		for (int k = 0; k < 30000; k++)
			buf_add_str(&big, "aaaaaaaaaaaaaaaaaaa@bbbb,");
		buf_add_str(&big, "\r\n");
	}
	assert_grammar(buf_span(&big));
	assert_int_equal(imap_facts_find(buf_span(&big), pool, &f, &err), 0);
	assert_span_equal(f.envelope, NO_ENVELOPE);
	buf_fini(&big);
}

/* Pieces of messages in any order, octets changed at random: always an answer, always within the grammar. */
static void nothing_breaks_the_grammar(void **state)
{
	static const char *const pieces[] = {"From: a@b\r\n", "To: g: x@y;, \"q\" <z@\xe4>\r\n", "Subject: \xff\"\\\r\n folded\r\n", "Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: multipart/digest; boundary=\"c\"\r\n",
	    "Content-Type: message/rfc822\r\n", "Content-Type: text/plain; charset=\"x\r\n y\"; a*0=b\r\n", "Content-Type: \"/\"\r\n", "Content-Type: a/b;=c;d=\r\n", "Content-Disposition: x; y=z\r\n", "Content-Disposition: ;\r\n",
	    "Content-Transfer-Encoding: \"\r\n", "Content-ID: <\x01>\r\n", "Content-Language:\r\n", "Date: \r\n \r\n", "\r\n", "\r\n", "--b\r\n", "--b--\r\n", "--c\r\n", "--c--\r\n", "text\r\n", "\n", "--b \t\r\n", "Content-Type:"};
	char text[2000];

	(void)state;
	srandom(1);
	for (int i = 0; i < 4000; i++) {
		size_t len = 0;

		for (long k = random() % 25; k > 0; k--) {
			const char *piece = pieces[(size_t)random() % (sizeof(pieces) / sizeof(pieces[0]))];

			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
		}
		for (long k = random() % 4; k > 0 && len > 0; k--)
			text[(size_t)random() % len] = (char)(random() % 3 == 0 ? 0 : random());
		assert_grammar(span_of(text, len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(strings_are_quoted_or_literals),
	    cmocka_unit_test(the_example_of_the_rfc),
	    cmocka_unit_test(what_is_absent_or_empty),
	    cmocka_unit_test(addresses_of_each_kind),
	    cmocka_unit_test_setup_teardown(single_parts, setup, teardown),
	    cmocka_unit_test_setup_teardown(multiparts, setup, teardown),
	    cmocka_unit_test_setup_teardown(messages_within, setup, teardown),
	    cmocka_unit_test_setup_teardown(past_the_limits, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_breaks_the_grammar, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
