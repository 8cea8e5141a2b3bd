/*
 * Whole IMAP sessions after login on an account of their own: every command, with its answers, while another session
 * changes the same account. In every split the client hears the same, and whether or not its session hibernates while
 * it waits in IDLE; every answer is well formed, no message is named that it was not told of; the account is sound
 * afterwards.
 *
 * Input: a byte for the pieces (odd: the session hibernates when it can), then what the client sends; 0x1e: it has
 * waited, and meanwhile another client's whole session was as stands up to the next 0x1e.
 */
#include "tests/fuzz/fuzz.h"

#include "ipc/ipc.h"
#include "mime/charset.h"
#include "mime/fold.h"
#include "proc/profile.h"
#include "tests/fuzz/scratch.h"
#include "tests/imap_session.h"

static const char letter[] = "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: A. Person <a@example.org>\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
			     "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n"
			     "Content-Transfer-Encoding: quoted-printable\r\n\r\nn=C3=A4chste\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n"
			     "Subject: inner\r\n\r\nbody\r\n--x--\r\n";

/* ---- the connection, in place of imapd/session_io.c ---- */

struct client {
	struct span script;
	struct fuzz_pieces pieces; /* of what it sends before it waits */
	unsigned seed;
	bool whole;
	bool begun;
	bool has_other; /* what is behind the next 0x1e is another's session */
	bool watching;
	bool hibernates, tried; /* in IDLE; once where it waits */
	int dir;
	struct buf said;
};

enum { TIMEOUT_MS = 1000 };

static struct client *client; /* whose session runs */

static void other_session(struct client *c, struct span script);

/* What stands up to the next 0x1e; false when there is nothing more. */
static bool next_flight(struct client *c)
{
	if (c->script.len == 0)
		return false;
	fuzz_pieces_init(&c->pieces, fuzz_until(&c->script, '\x1e'), c->seed);
	c->tried = false;
	return true;
}

/* In one piece, or in several. */
static bool take_piece(struct client *c, struct span *out)
{
	if (!c->whole)
		return fuzz_pieces_next(&c->pieces, out);
	*out = c->pieces.rest;
	c->pieces.rest.len = 0;
	return out->len > 0;
}

int session_fill(struct session *s, int64_t ms, bool watch)
{
	struct client *c = client;
	struct span piece;

	while (!take_piece(c, &piece)) {
		if (c->has_other && c->begun && c->script.len > 0) {
			if (c->hibernates && watch && ms < TIMEOUT_MS && !c->tried) {
				c->tried = true;
				return E_TIMEOUT;
			}
			other_session(c, fuzz_until(&c->script, '\x1e'));
			next_flight(c);
			if (watch && c->watching) {
				c->watching = false; /* told once, as by the spawner */
				return E_AGAIN;
			}
			continue;
		}
		c->begun = true;
		if (!next_flight(c))
			return E_CLOSED;
	}
	buf_add_span(&s->in, piece);
	return buf_failed(&s->in) ? E_TOOBIG : 0;
}

void session_flush(struct session *s)
{
	fuzz_assert(!buf_failed(&s->out));
	buf_add_span(&client->said, buf_span(&s->out));
	buf_clear(&s->out);
}

bool session_would_wait(struct session *s)
{
	return buf_len(&s->out) >= SESSION_OUTPUT_FLUSH;
}

void session_watch(struct session *s, bool on)
{
	(void)s;
	client->watching = on;
}

/* ---- the account ---- */

static void file_letter(int dir)
{
	struct store_options options = {.create = true};
	struct store_draft *draft;
	struct store_mailbox inbox;
	struct store_message m;
	struct store_txn *txn;
	struct store *store;
	struct err err;

	fuzz_assert(store_open(&store, dir, &options, NULL, &err) == 0);
	fuzz_assert(store_begin(store, false, &txn, &err) == 0);
	fuzz_assert(store_mailbox_by_name(txn, SPAN_LIT("INBOX"), &inbox, &err) == 0);
	store_abort(&txn);
	fuzz_assert(store_draft_new(store, inbox.id, 1700000000, &draft, &err) == 0);
	fuzz_assert(store_draft_write(draft, span_str(letter), &err) == 0 && store_draft_finish(draft, &err) == 0);
	fuzz_assert(store_begin(store, true, &txn, &err) == 0);
	fuzz_assert(store_append(txn, draft, inbox.id, 0, NULL, 0, NULL, &m, &err) == 0 && store_commit(&txn, &err) == 0);
	store_draft_kept(draft);
	store_draft_free(&draft);
	store_close(&store);
}

static void report(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
}

static void look_at_account(int dir)
{
	struct store_options options = {0};
	bool rebuilt = false;
	struct store *store;
	struct err err;

	fuzz_assert(store_open(&store, dir, &options, &rebuilt, &err) == 0 && !rebuilt);
	fuzz_assert(store_check(store, report, NULL) == 0);
	store_close(&store);
}

/* ---- what it said ---- */

/* Numbers as "#": validities and dates are of the moment. */
static void without_numbers(struct span s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_digit(s.ptr[i]))
			buf_add_char(out, s.ptr[i]);
		else if (i == 0 || !ascii_is_digit(s.ptr[i - 1]))
			buf_add_char(out, '#');
}

/* "* 3 EXPUNGE" and the like: of a message that the client was told of. SELECT begins anew with EXISTS. */
static void look_at_number(struct span line, uint64_t *exists)
{
	uint64_t n;
	struct span word;

	if (!span_startswith(line, SPAN_LIT("* ")))
		return;
	line = span_from(line, 2);
	word = fuzz_until(&line, ' ');
	if (!span_u64(word, UINT32_MAX, &n))
		return;
	if (span_eq(line, SPAN_LIT("EXISTS"))) {
		*exists = n;
	} else if (span_eq(line, SPAN_LIT("EXPUNGE"))) {
		fuzz_assert(n > 0 && n <= *exists);
		--*exists;
	} else if (span_startswith(line, SPAN_LIT("FETCH "))) {
		fuzz_assert(n > 0 && n <= *exists);
	}
}

/* response-data and response-tagged end in CR LF; octets beyond ASCII, CR and NUL stand in literals alone. */
static void look_at_answers(struct span s)
{
	uint64_t exists = 0;
	bool begins = true;

	while (s.len > 0) {
		size_t end = span_find(s, '\n');
		struct span line = span_sub(s, 0, end);
		uint64_t size;
		bool sync, is_binary;

		fuzz_assert(end < s.len && line.len > 0 && line.ptr[line.len - 1] == '\r');
		line.len--;
		for (size_t i = 0; i < line.len; i++)
			fuzz_assert(line.ptr[i] >= ' ' && (unsigned char)line.ptr[i] < 0x7f);
		s = span_from(s, end + 1);
		if (begins)
			look_at_number(line, &exists);
		begins = !imap_literal_find(line, &size, &sync, &is_binary);
		if (!begins) {
			fuzz_assert(size <= s.len && sync && !is_binary);
			s = span_from(s, (size_t)size);
		}
	}
}

/*
 * As the spawner: takes client and state from a process that has ended. While it sleeps the other session is; that
 * wakes it.
 */
static void wake_up(struct client *c, int wake, struct session_start_options *options, struct buf *state)
{
	static _Alignas(16) char buffer[IPC_MESSAGE_MAX];
	struct ipc_message m;
	struct err err;

	fuzz_assert(ipc_receive(wake, &ipc_service_wake, TO_SERVICE, buffer, &m, &err) == 0);
	while (m.type != &ipc_wake_hibernate)
		fuzz_assert(ipc_receive(wake, &ipc_service_wake, TO_SERVICE, buffer, &m, &err) == 0);
	close(options->fd);
	options->fd = m.fd;
	buf_clear(state);
	fuzz_assert(ipc_encode(m.type, m.id, m.body, state) == 0);
	options->state = buf_span(state);
	options->left_ms = TIMEOUT_MS;
	other_session(c, fuzz_until(&c->script, '\x1e'));
	next_flight(c);
}

/* A session from login to its end, in one process or several; what it said is in c->said. */
static void one_session(struct client *c)
{
	struct session_start_options options = {.fd = open("/dev/null", O_RDWR | O_CLOEXEC), .dir = c->dir, .message_size = 100000,
	    .timeout_ms = TIMEOUT_MS, .hibernate_ms = TIMEOUT_MS / 2, .user = "a@example.org", .remote = "192.0.2.1", .tag = "a0"};
	struct client *before = client;
	struct buf state;
	struct err err;
	int wake[2], r;

	fuzz_assert(options.fd >= 0 && ipc_pair(wake, &err) == 0);
	options.wake = wake[0];
	client = c;
	buf_init(&state, IPC_MESSAGE_MAX);
	buf_init(&c->said, 64 * 1024 * 1024);
	while ((r = session_main(&options)) == SESSION_EXIT_HIBERNATES)
		wake_up(c, wake[1], &options, &state);
	fuzz_assert(r == 0);
	c->pieces.rest.len = 0;
	fuzz_pieces_next(&c->pieces, &(struct span){0});
	look_at_answers(buf_span(&c->said));
	buf_fini(&state);
	close(wake[0]);
	close(wake[1]);
	client = before;
}

/* While c waits, between two commands or in IDLE. It holds no transaction then. */
static void other_session(struct client *c, struct span script)
{
	struct client other = {.script = script, .whole = true, .dir = c->dir};

	one_session(&other);
	buf_fini(&other.said);
}

static void run(struct span input, bool whole, unsigned seed, struct buf *said)
{
	struct client c = {.script = input, .whole = whole, .seed = seed, .has_other = true, .hibernates = seed & 1};
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[64];

	fuzz_assert(here >= 0 && scratch_make(path) == 0 && chdir(path) == 0);
	c.dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_assert(c.dir >= 0);
	file_letter(c.dir);
	one_session(&c);
	buf_init(said, 64 * 1024 * 1024);
	without_numbers(buf_span(&c.said), said);
	buf_fini(&c.said);
	look_at_account(c.dir);
	close(c.dir);
	fuzz_assert(fchdir(here) == 0);
	close(here);
	scratch_remove(path);
}

void fuzz_one(struct span input)
{
	static bool started;
	unsigned seed = fuzz_byte(&input);
	struct buf text, one, other;

	if (!started) {
		log_init(-1, LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
		mime_charset_preload();
		mime_fold_preload();
		started = true;
	}
	buf_init(&text, 256 * 1024);
	fuzz_expand(input, &text);
	run(buf_span(&text), true, 0, &one);
	run(buf_span(&text), false, seed, &other);
	fuzz_assert_same(buf_span(&one), buf_span(&other));
	buf_fini(&text);
	buf_fini(&one);
	buf_fini(&other);
}
