/*
 * The end of a message, in every way it can be written with up to seven octets of {CR, LF, '.', NUL, 'a'}, at
 * every cut into two segments (seven octets in LMTP and with BINARYMIME: at one), through framing and engine: SMTP and LMTP, DATA and BDAT. A plain and slow definition says what
 * becomes of it: one message of exactly these octets, an error, or none yet; never two.
 *
 * A check that has never found anything may be unable to: the Makefile links smtp_frame_next through __wrap_, which
 * stands for framings that other servers have had, and each of them must be found.
 */
#include "tests/unit/test.h"

#include "smtp/framing.h"
#include "smtp/server.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEQUENCE_MAX = 7, ALL_CUTS_MAX = 6, LETTERS = 5, STREAM_MAX = 256, MESSAGES = 4 };
#if defined(__SANITIZE_ADDRESS__)
enum { LENGTH_HERE = 5 };
#else
enum { LENGTH_HERE = SEQUENCE_MAX };
#endif

static const char alphabet[LETTERS] = {'\r', '\n', '.', '\0', 'a'};

/* ---- planted faults ---- */

enum planted {
	PLANT_NONE,
	PLANT_LF_DOT_LF,	/* every line may end in LF; this and the next three let an attacker send two messages as one */
	PLANT_CRLF_DOT_LF,	/* the last one may */
	PLANT_LF_DOT_CRLF,	/* the one before the dot may */
	PLANT_DOT_CR,		/* what follows ".CR" does not matter */
	PLANT_DOTS_KEPT,
	PLANT_SEGMENT,		/* a segment begins a line */
	PLANTS,
};

static enum planted planted;

int __real_smtp_frame_next(struct smtp_frame *frame, struct span *input, struct span *out, struct err *err);
int __wrap_smtp_frame_next(struct smtp_frame *frame, struct span *input, struct span *out, struct err *err);

static int take_as(struct smtp_frame *frame, struct span *input, struct span *out, enum smtp_frame_state state, struct span bytes)
{
	*input = span_from(*input, 1);
	*out = bytes;
	frame->state = state;
	return 0;
}

/* One octet at a time, so that the fault sees where it is. */
int __wrap_smtp_frame_next(struct smtp_frame *frame, struct span *input, struct span *out, struct err *err)
{
	static const char *segment_end;
	struct span one = span_sub(*input, 0, 1), nothing = SPAN_LIT("");
	enum smtp_frame_state before = frame->state;
	char c = *input->ptr;
	bool begins = input->ptr + input->len != segment_end;
	int r;

	if (planted == PLANT_NONE)
		return __real_smtp_frame_next(frame, input, out, err);
	segment_end = input->ptr + input->len;
	if (planted == PLANT_SEGMENT && begins && c == '.' && before == FRAME_IN_LINE)
		return take_as(frame, input, out, FRAME_DOT, nothing);
	if ((planted == PLANT_CRLF_DOT_LF || planted == PLANT_LF_DOT_LF) && c == '\n' && before == FRAME_DOT)
		return take_as(frame, input, out, FRAME_END, nothing);
	if ((planted == PLANT_LF_DOT_CRLF || planted == PLANT_LF_DOT_LF) && c == '\n' && before == FRAME_IN_LINE)
		return take_as(frame, input, out, FRAME_LINE_START, SPAN_LIT("\r\n"));
	if (planted == PLANT_DOT_CR && before == FRAME_DOT_CR)
		return take_as(frame, input, out, FRAME_END, nothing);
	if (planted == PLANT_DOTS_KEPT && before == FRAME_DOT && c == '.')
		return take_as(frame, input, out, FRAME_IN_LINE, SPAN_LIT(".."));
	r = __real_smtp_frame_next(frame, &one, out, err);
	*input = span_from(*input, 1 - one.len);
	return r;
}

/* ---- what must become of it ---- */

struct outcome {
	char texts[STREAM_MAX * 2];
	size_t len;		/* of all texts */
	size_t ends[MESSAGES];	/* where each ends */
	size_t messages;
	bool closed;		/* the engine ended the session */
};

static void add(struct outcome *o, char c)
{
	assert_true(o->len < sizeof(o->texts));
	o->texts[o->len++] = c;
}

static void end_message(struct outcome *o)
{
	assert_true(o->messages < MESSAGES);
	o->ends[o->messages++] = o->len;
}

static bool is_at(struct span s, size_t i, const char *what)
{
	return span_startswith(span_from(s, i < s.len ? i : s.len), span_str(what));
}

/*
 * RFC 5321 sections 4.5.2 and 2.3.8, octet by octet: the text is lines that end in CR LF; the line "." is its end; of
 * another that begins with a dot this one is left out; CR and LF stand nowhere else, NUL nowhere. Returns the octets up
 * to the end; 0: no end yet, or an error.
 */
static size_t define_data(struct span s, struct outcome *o)
{
	bool begins = true; /* a line */
	size_t i = 0, start = o->len;

	while (i < s.len) {
		if (begins && is_at(s, i, ".\r\n")) {
			end_message(o);
			return i + 3;
		}
		if (begins && s.ptr[i] == '.') {
			/* ".CR" and something else: a bare CR. ".", ".CR" at the end: open. */
			begins = false;
			i++;
			continue;
		}
		if (is_at(s, i, "\r\n")) {
			add(o, '\r');
			add(o, '\n');
			begins = true;
			i += 2;
			continue;
		}
		if (s.ptr[i] == '\n' || s.ptr[i] == '\0' || (s.ptr[i] == '\r' && i + 1 < s.len)) {
			o->closed = true;
			break;
		}
		if (s.ptr[i] == '\r')
			break; /* what follows decides */
		add(o, s.ptr[i++]);
		begins = false;
	}
	o->len = start; /* no message */
	return 0;
}

/* Commands behind the end; each line ends in CR LF and has no CR or NUL else. Returns when the session ends or all is used up. */
static void define_commands(struct span s, struct outcome *o)
{
	bool mail = false, rcpt = false, data_refused = false;

	while (s.len > 0 && !o->closed) {
		size_t lf = span_find(s, '\n');
		struct span line = span_sub(s, 0, lf);
		bool data;

		if (lf == s.len)
			return;
		if (line.len == 0 || line.ptr[--line.len] != '\r' || memchr(line.ptr, '\r', line.len) || memchr(line.ptr, '\0', line.len)) {
			o->closed = true;
			return;
		}
		s = span_from(s, lf + 1);
		data = span_eq(line, SPAN_LIT("DATA"));
		if (data && rcpt) {
			size_t used = define_data(s, o);

			if (used == 0)
				return;
			s = span_from(s, used);
			mail = rcpt = false;
		} else if (data) {
			data_refused = true;
		} else if (span_startswith(line, SPAN_LIT("MAIL "))) {
			mail = true;
			data_refused = false;
		} else if (span_startswith(line, SPAN_LIT("RCPT "))) {
			rcpt = mail;
			data_refused = false;
		} else {
			o->closed = data_refused;
		}
	}
}

/* The text of a message, and what the client sends behind it. */
static void define_stream(struct span s, struct outcome *o)
{
	size_t used = define_data(s, o);

	if (used > 0)
		define_commands(span_from(s, used), o);
}

/* A chunk is taken as it is; but for BINARYMIME it is text (RFC 3030 section 3). */
static void define_chunk(struct span s, bool binary, struct outcome *o)
{
	for (size_t i = 0; i < s.len && !binary; i++) {
		if (is_at(s, i, "\r\n"))
			i++;
		else if (s.ptr[i] == '\r' || s.ptr[i] == '\n' || s.ptr[i] == '\0')
			return;
	}
	for (size_t i = 0; i < s.len; i++)
		add(o, s.ptr[i]);
	end_message(o);
}

/* ---- what becomes of it ---- */

struct session {
	struct smtp_server *server;
	struct buf in, out;
	enum smtp_event event;
	struct outcome got;
	size_t started; /* where the running text began */
};

static void on_rcpt(void *arg, struct smtp_server *server, struct span address)
{
	(void)arg, (void)address;
	smtp_server_rcpt_done(server, 0, NULL, NULL);
}

static void on_begin(void *arg, struct smtp_server *server)
{
	struct session *s = arg;

	s->started = s->got.len;
	smtp_server_data_ready(server, 0, NULL);
}

static int on_data(void *arg, struct smtp_server *server, struct span bytes, struct err *err)
{
	struct session *s = arg;

	(void)server, (void)err;
	for (size_t i = 0; i < bytes.len; i++)
		add(&s->got, bytes.ptr[i]);
	return 0;
}

static void on_end(void *arg, struct smtp_server *server)
{
	struct session *s = arg;

	end_message(&s->got);
	smtp_server_data_done(server, 0, SPAN_LIT("queued"));
}

static void on_abort(void *arg, struct smtp_server *server)
{
	struct session *s = arg;

	(void)server;
	s->got.len = s->started;
}

static void on_refused(void *arg, struct smtp_server *server, struct span reply)
{
	(void)arg, (void)server, (void)reply;
}

static const struct smtp_server_callbacks callbacks = {.rcpt = on_rcpt, .data_begin = on_begin, .data = on_data, .data_end = on_end, .data_abort = on_abort, .refused = on_refused};

static void session_begin(struct session *s, bool lmtp)
{
	struct smtp_server_config config = {.hostname = SPAN_LIT("mx.example"), .lmtp = lmtp,
	    .limits = {.message_size = 100000, .header_size = 10000, .received_lines = 100, .recipients = 100, .errors = 1000}};

	s->server = smtp_server_new(&config, &callbacks, s, &s->out);
	assert_non_null(s->server);
	s->event = SMTP_MORE;
}

static void session_feed(struct session *s, struct span segment)
{
	size_t consumed;

	if (s->event == SMTP_CLOSE)
		return;
	buf_add_span(&s->in, segment);
	s->event = smtp_server_feed(s->server, buf_span(&s->in), &consumed);
	buf_take(&s->in, consumed);
}

/* One session: greeting and envelope, the stream in two segments, the connection's end. */
static void session_run(struct session *s, bool lmtp, struct span front, struct span stream, size_t cut)
{
	buf_clear(&s->in);
	buf_clear(&s->out);
	s->got.len = s->got.messages = 0;
	s->got.closed = false;
	session_begin(s, lmtp);
	session_feed(s, front);
	assert_int_equal(s->event, SMTP_MORE);
	session_feed(s, span_sub(stream, 0, cut));
	session_feed(s, span_from(stream, cut));
	s->got.closed = s->event == SMTP_CLOSE;
	smtp_server_free(&s->server);
}

/* ---- every sequence ---- */

struct rig {
	struct session session;
	uint64_t sequences, sessions;
	bool smuggling; /* only what gives more messages than there are counts */
	bool found; /* something was not as it must be */
	char report[2048];
};

static void print_octets(char *out, size_t size, struct span s)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < s.len && at + 8 < size; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		const char *name = c == '\r' ? "<CR>" : c == '\n' ? "<LF>" : c == '\0' ? "<NUL>" : NULL;

		at += (size_t)(name ? snprintf(out + at, size - at, "%s", name) : snprintf(out + at, size - at, "%c", c));
	}
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return a->messages == b->messages && a->closed == b->closed && a->len == b->len && memcmp(a->texts, b->texts, a->len) == 0 &&
	       memcmp(a->ends, b->ends, a->messages * sizeof(a->ends[0])) == 0;
}

static void compare(struct rig *rig, const struct outcome *expected, struct span stream, size_t cut, const char *what)
{
	const struct outcome *got = &rig->session.got;
	char octets[800], texts[400], wanted[400];

	rig->sessions++;
	if (rig->found || same(expected, got) || (rig->smuggling && got->messages < expected->messages + 2))
		return;
	rig->found = true;
	print_octets(octets, sizeof(octets), stream);
	print_octets(texts, sizeof(texts), span_of(got->texts, got->len));
	print_octets(wanted, sizeof(wanted), span_of(expected->texts, expected->len));
	snprintf(rig->report, sizeof(rig->report), "%s, cut at %zu of %s: %zu messages%s, %s; must be %zu%s, %s", what, cut, octets,
	    got->messages, got->closed ? " and closed" : "", texts, expected->messages, expected->closed ? " and closed" : "", wanted);
}

#define SMUGGLED "MAIL FROM:<evil@example>\r\nRCPT TO:<a@b>\r\nDATA\r\nsmuggled\r\n.\r\n"


static struct span join(char *out, const char *a, struct span b, const char *c)
{
	size_t front = strlen(a), tail = strlen(c);

	assert_true(front + b.len + tail <= STREAM_MAX);
	memcpy(out, a, front);
	memcpy(out + front, b.ptr, b.len);
	memcpy(out + front + b.len, c, tail);
	return span_of(out, front + b.len + tail);
}

/* HELO where it will do: its answer takes less time. */
#define HELLO_SMTP "HELO a\r\n"
#define HELLO_LMTP "LHLO a\r\n"
#define ENVELOPE "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"

/* Behind a text that ends anyhow, and at a message's very beginning; with nothing behind it, and with what an attacker would have there. */
static void try_data(struct rig *rig, struct span sequence)
{
	static const char *const before[] = {"", "S: x\r\n\r\nx"}, *const behind[] = {"", SMUGGLED};

	for (int n = 0; n < 8; n++) {
		bool lmtp = n >= 4;
		const char *front = before[n & 1], *tail = behind[n >> 1 & 1];
		struct outcome expected = {.len = 0};
		char octets[STREAM_MAX];
		struct span stream = join(octets, front, sequence, tail);
		size_t first = strlen(front), last = first + sequence.len;

		define_stream(stream, &expected);
		/* LMTP is the same engine: of the longest one cut, another for each sequence. */
		if (lmtp && sequence.len > ALL_CUTS_MAX)
			first = last = first + rig->sequences % (sequence.len + 1);
		for (size_t cut = first; cut <= last; cut++) {
			session_run(&rig->session, lmtp, lmtp ? SPAN_LIT(HELLO_LMTP ENVELOPE "DATA\r\n") : SPAN_LIT(HELLO_SMTP ENVELOPE "DATA\r\n"),
			    stream, cut);
			compare(rig, &expected, stream, cut, lmtp ? "LMTP DATA" : "DATA");
		}
	}
}

/* As one chunk in two segments, and as two chunks. What is behind the chunk is commands, whatever the chunk holds. */
static void try_chunks(struct rig *rig, struct span sequence)
{
	for (int n = 0; n < 4; n++) {
		bool binary = n & 1, two = n & 2;
		struct span front = binary ? SPAN_LIT("EHLO a\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\n")
					   : SPAN_LIT(HELLO_SMTP ENVELOPE);
		struct outcome expected = {.len = 0};
		size_t first = 0, last = sequence.len;

		define_chunk(sequence, binary, &expected);
		define_commands(SPAN_LIT(SMUGGLED), &expected);
		/* Octets that mean nothing: of the longest one cut, another for each sequence. */
		if (binary && sequence.len > ALL_CUTS_MAX)
			first = last = rig->sequences % (sequence.len + 1);
		for (size_t cut = first; cut <= last; cut++) {
			char octets[STREAM_MAX], chunks[64];
			struct span stream;
			int len;

			if (two) {
				len = snprintf(chunks, sizeof(chunks), "BDAT %zu\r\n", cut);
				memcpy(chunks + len, sequence.ptr, cut);
				len += (int)cut + snprintf(chunks + len + cut, sizeof(chunks) - (size_t)len - cut, "BDAT %zu LAST\r\n", sequence.len - cut);
				memcpy(chunks + len, sequence.ptr + cut, sequence.len - cut);
				stream = join(octets, "", span_of(chunks, (size_t)len + sequence.len - cut), SMUGGLED);
			} else {
				len = snprintf(chunks, sizeof(chunks), "BDAT %zu LAST\r\n", sequence.len);
				stream = join(octets, chunks, sequence, SMUGGLED);
			}
			session_run(&rig->session, false, front, stream, two ? stream.len : (size_t)len + cut);
			compare(rig, &expected, stream, cut, two ? "two chunks" : "a chunk");
		}
	}
}

/* All sequences of up to length letters, or as far as something is found. */
static void try_all(struct rig *rig, size_t length, bool chunks)
{
	buf_init(&rig->session.in, 100000);
	buf_init(&rig->session.out, 100000);
	for (size_t len = 0; len <= length; len++) {
		uint64_t count = 1;

		for (size_t i = 0; i < len; i++)
			count *= LETTERS;
		for (uint64_t n = 0; n < count && !rig->found; n++) {
			char sequence[SEQUENCE_MAX];
			uint64_t rest = n;

			for (size_t i = 0; i < len; i++, rest /= LETTERS)
				sequence[i] = alphabet[rest % LETTERS];
			try_data(rig, span_of(sequence, len));
			if (chunks)
				try_chunks(rig, span_of(sequence, len));
			rig->sequences++;
		}
	}
	buf_fini(&rig->session.in);
	buf_fini(&rig->session.out);
}

static void one_message_or_an_error_never_two(void **state)
{
	struct rig rig = {0};

	(void)state;
	planted = PLANT_NONE;
	try_all(&rig, LENGTH_HERE, true);
	if (rig.found)
		fail_msg("%s", rig.report);
	print_message("%llu sequences in %llu sessions\n", (unsigned long long)rig.sequences, (unsigned long long)rig.sessions);
}

static void every_planted_framing_is_found(void **state)
{
	static const char *const names[PLANTS] = {"", "LF . LF ends", "CR LF . LF ends", "LF . CR LF ends", ". CR and anything ends",
	    "dots are kept", "a segment begins a line"};

	(void)state;
	for (int plant = PLANT_NONE + 1; plant < PLANTS; plant++) {
		struct rig rig = {.smuggling = plant <= PLANT_DOT_CR};

		planted = (enum planted)plant;
		try_all(&rig, LENGTH_HERE, false);
		planted = PLANT_NONE;
		if (!rig.found)
			fail_msg("not found: %s", names[plant]);
		print_message("%s: found: %s\n", names[plant], rig.report);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_message_or_an_error_never_two),
	    cmocka_unit_test(every_planted_framing_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
