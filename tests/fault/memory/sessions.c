/* Who logs in and what a client says then: SASL, IMAP before and after login, auth's own logins. */
#include "tests/fault/memory/memory.h"

#include "auth/auth.h"
#include "auth/defence.h"
#include "auth/marks.h"
#include "base/log.h"
#include "imapd/prelogin.h"
#include "ipc/ipc.h"
#include "mime/charset.h"
#include "mime/fold.h"
#include "net/ipc_conn.h"
#include "proc/profile.h"
#include "sasl/client.h"
#include "sasl/sasl.h"
#include "tests/daemon.h"
#include "tests/fuzz/scratch.h"
#include "tests/imap_session.h"

#include <event2/event.h>
#include <sodium.h>

/* No files of master's. */
int daemon_file(struct daemon *daemon, const char *name)
{
	(void)daemon, (void)name;
	return -1;
}

void auth_changed(struct auth *auth)
{
	(void)auth;
}

void memory_daemon(void)
{
	static const char config[] = "config-version 1\nhostname mx.example\ndomain example.org { }\npassword-hashes 1\n";
	struct err err;

	if (base != NULL)
		return;
	log_init(-1, LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	base = event_base_new();
	memory_must(base != NULL && conf_parse(span_str(config), "test", &conf, &err) == 0);
}

/* ---- SASL, the server's side ---- */

/* Of the password "pencil", with as few iterations as a client accepts. */
static const char keys_text[] = "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$zHCdol2044/ZyWzPLi7oxApCkamKw9Z+E4U/QApd/5Y=:dd5peBOitVnLNFu7VmwP+HiDaaw4OUCv396eVCWhYiE=";
static const struct sasl_channel channel = {.exporter = SPAN_LIT("exporter"), .plus_offered = true};

static int of_step(enum sasl_step step, enum sasl_step wanted)
{
	return step == wanted ? 0 : step == SASL_STARVED ? E_NOMEM : E_BUG;
}

static int run_plain(void *state)
{
	struct sasl *s = sasl_new(SASL_PLAIN, &channel);
	struct buf response;
	int r = s != NULL ? 0 : E_NOMEM;

	(void)state;
	buf_init(&response, SASL_RESPONSE_MAX);
	if (r == 0)
		r = of_step(sasl_begin(s), SASL_CHALLENGE);
	if (r == 0) {
		enum sasl_line line = sasl_line_decode(SPAN_LIT("AGFAZXhhbXBsZS5vcmcAcGVuY2ls"), true, &response);

		r = line == SASL_LINE_OK ? 0 : line == SASL_LINE_STARVED ? E_NOMEM : E_BUG;
	}
	if (r == 0)
		r = of_step(sasl_respond(s, buf_span(&response)), SASL_PASSWORD);
	if (r == 0)
		memory_must(span_eq(sasl_secret(s), SPAN_LIT("pencil")) && sasl_decide(s, true) == SASL_DONE);
	sasl_free(&s);
	buf_fini(&response);
	return r;
}

static int run_bearer(void *state)
{
	static const struct sasl_refusal refusal = {"invalid_token", SPAN_LIT("a \"b\""), SPAN_LIT("https://id.test/")};
	struct sasl *s = sasl_new(SASL_OAUTHBEARER, &channel);
	int r = s != NULL ? 0 : E_NOMEM;

	(void)state;
	if (r == 0)
		r = of_step(sasl_respond(s, SPAN_LIT("n,a=a@example.org,\1auth=Bearer abc\1\1")), SASL_TOKEN);
	if (r == 0)
		r = of_step(sasl_refuse_token(s, &refusal), SASL_CHALLENGE);
	if (r == 0)
		memory_must(span_eq(sasl_challenge(s), SPAN_LIT("{\"status\":\"invalid_token\",\"scope\":\"a \\\"b\\\"\",\"openid-configuration\":\"https://id.test/\"}")));
	sasl_free(&s);
	return r;
}

/* The client's next word, if it has the memory to say it. */
static int client_says(struct sasl_client *client, const struct sasl *s, struct buf *out)
{
	struct err err = {0};

	buf_clear(out);
	return sasl_client_respond(client, sasl_challenge(s), out, &err);
}

static int exchange(struct sasl *s, struct sasl_client *client, struct buf *said)
{
	struct scram_keys keys;
	struct err err = {0};
	bool has_initial;
	int r = scram_parse(span_str(keys_text), &keys);

	if (r == 0)
		r = sasl_client_begin(client, said, &has_initial, &err);
	if (r == 0)
		r = of_step(sasl_respond(s, buf_span(said)), SASL_KEYS);
	if (r == 0)
		r = of_step(sasl_keys(s, &keys), SASL_CHALLENGE);
	if (r == 0)
		r = client_says(client, s, said);
	if (r == 0)
		r = of_step(sasl_respond(s, buf_span(said)), SASL_CHALLENGE);
	if (r == 0)
		r = client_says(client, s, said);
	return r == 0 ? of_step(sasl_respond(s, buf_span(said)), SASL_DONE) : r;
}

static int run_scram(void *state)
{
	struct sasl *s = sasl_new(SASL_SCRAM_SHA_256_PLUS, &channel);
	struct sasl_client *client = sasl_client_new(SASL_SCRAM_SHA_256_PLUS, SPAN_LIT("a@example.org"), SPAN_LIT("pencil"), &channel);
	struct buf said;
	int r = s != NULL && client != NULL ? 0 : E_NOMEM;

	(void)state;
	buf_init(&said, SASL_RESPONSE_MAX);
	if (r == 0)
		r = exchange(s, client, &said);
	sasl_free(&s);
	sasl_client_free(&client);
	buf_fini_secret(&said);
	return r;
}

/* ---- IMAP before login ---- */

static bool has(const struct buf *text, const char *what)
{
	return buf_len(text) > 0 && memmem(buf_span(text).ptr, buf_len(text), what, strlen(what)) != NULL;
}

/* One command or response; 0 when it came to what it should. */
static int prelogin_says(struct prelogin *login, const char *text, enum prelogin_event wanted)
{
	enum prelogin_event event;
	struct buf out;
	size_t used;
	int r = 0;

	buf_init(&out, 8192);
	event = prelogin_feed(login, span_str(text), &used, &out);
	if (buf_failed(&out) || login->starved || has(&out, " NO [UNAVAILABLE] "))
		r = E_NOMEM;
	else if (event != wanted || has(&out, " BAD ") || has(&out, " NO "))
		r = E_BUG;
	if (r == E_BUG)
		fprintf(stderr, "%s%.*s", text, SPAN_ARG(buf_span(&out)));
	memory_must(login->errors == 0); /* nothing of it is the client's fault */
	buf_fini(&out);
	return r;
}

static int run_prelogin(void *state)
{
	static const struct {
		const char *text;
		enum prelogin_event wanted;
	} talk[] = {{"a CAPABILITY\r\n", PRELOGIN_GO_ON}, {"b ID (\"name\" \"x \\\"y\\\"\")\r\n", PRELOGIN_GO_ON}, {"c LOGIN \"a\\\"b\" {6+}\r\npencil\r\n", PRELOGIN_CHECK},
	    {"d AUTHENTICATE PLAIN AGFAZXhhbXBsZS5vcmcAcGVuY2ls\r\n", PRELOGIN_SASL}, {"e AUTHENTICATE LOGIN\r\n", PRELOGIN_SASL}};
	struct prelogin login = {.tls = true};
	struct buf out;
	int r = 0;

	(void)state;
	prelogin_init(&login);
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(talk) / sizeof(talk[0]) && r == 0; i++)
		r = prelogin_says(&login, talk[i].text, talk[i].wanted);
	if (r == 0)
		prelogin_challenge(&login, SPAN_LIT("Username:"), &out);
	if (r == 0)
		r = buf_failed(&out) ? E_NOMEM : prelogin_says(&login, "YUBleGFtcGxlLm9yZw==\r\n", PRELOGIN_RESPONSE);
	prelogin_fini(&login);
	buf_fini(&out);
	return r;
}

/* ---- IMAP sessions. In place of session_io.c: all there is to say comes at once, and what is said is kept ---- */

static const char talk[] = "a SELECT INBOX\r\n"
			   "d APPEND INBOX (\\Seen new) \"01-Jan-2025 10:00:00 +0000\" {30+}\r\nSubject: appended\r\n\r\nText.\r\n.\r\n"
			   "b FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY.PEEK[HEADER.FIELDS (Subject)] BODYSTRUCTURE BODY[1]<0.3>)\r\n"
			   "c UID SEARCH CHARSET UTF-8 OR (FROM \"a\" NOT SUBJECT {2+}\r\nxy) TEXT \"hello\"\r\n"
			   "e STORE 1:* +FLAGS (\\Flagged other)\r\n"
			   "f COPY 1 Kept\r\n"
			   "g LIST \"\" \"%&APw-*\"\r\n"
			   "h LSUB \"\" *\r\n"
			   "i STATUS Kept (MESSAGES UNSEEN UIDVALIDITY)\r\n"
			   "j CREATE \"Entw&APw-rfe/x\"\r\n"
			   "k RENAME \"Entw&APw-rfe/x\" Other\r\n"
			   "l SUBSCRIBE Other\r\n"
			   "m DELETE Other\r\n"
			   "n IDLE\r\nDONE\r\n"
			   "o UID MOVE 2:* Kept\r\n"
			   "p UID STORE 1:* +FLAGS.SILENT (\\Deleted)\r\n"
			   "q EXPUNGE\r\n"
			   "r LOGOUT\r\n";
static const char letter[] = "From: a@example.org\r\nSubject: =?utf-8?q?x?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello.\r\n--b--\r\n";

static struct buf said;
static bool has_spoken;

int session_fill(struct session *s, int64_t ms, bool watch)
{
	(void)ms, (void)watch;
	if (has_spoken)
		return E_CLOSED;
	has_spoken = true;
	buf_add_span(&s->in, span_str(talk));
	return buf_failed(&s->in) ? E_TOOBIG : 0;
}

void session_flush(struct session *s)
{
	unsigned long rest = memory_pause(); /* the client's own */

	if (buf_failed(&s->out))
		s->broken = E_NOMEM;
	buf_add_span(&said, buf_span(&s->out));
	buf_clear(&s->out);
	memory_resume(rest);
}

bool session_would_wait(struct session *s)
{
	return buf_len(&s->out) >= SESSION_OUTPUT_FLUSH;
}

void session_watch(struct session *s, bool on)
{
	(void)s, (void)on;
}

struct account_state {
	char path[64];
	int dir;
};

static void account_file(struct store *store, const char *name)
{
	struct store_draft *draft;
	struct store_mailbox box;
	struct store_message m;
	struct store_txn *txn;
	struct err err;

	memory_must(store_begin(store, false, &txn, &err) == 0 && store_mailbox_by_name(txn, span_str(name), &box, &err) == 0);
	store_abort(&txn);
	memory_must(store_draft_new(store, box.id, 1700000000, &draft, &err) == 0);
	memory_must(store_draft_write(draft, span_str(letter), &err) == 0 && store_draft_finish(draft, &err) == 0);
	memory_must(store_begin(store, true, &txn, &err) == 0);
	memory_must(store_append(txn, draft, box.id, 0, NULL, 0, NULL, &m, &err) == 0 && store_commit(&txn, &err) == 0);
	store_draft_kept(draft);
	store_draft_free(&draft);
}

static void *account_begin(void)
{
	struct account_state *a = calloc(1, sizeof(*a));
	struct store_options options = {.create = true};
	struct store_txn *txn;
	struct store *store;
	struct err err;
	uint32_t kept;

	mime_charset_preload();
	mime_fold_preload();
	memory_daemon();
	memory_must(scratch_make(a->path) == 0 && chdir(a->path) == 0);
	a->dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memory_must(store_open(&store, a->dir, &options, NULL, &err) == 0);
	memory_must(store_begin(store, true, &txn, &err) == 0 && store_mailbox_create(txn, SPAN_LIT("Kept"), 0, &kept, &err) == 0 && store_commit(&txn, &err) == 0);
	for (int i = 0; i < 3; i++)
		account_file(store, "INBOX");
	store_close(&store);
	return a;
}

static void report(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "%s\n", text);
}

static void account_end(void *state)
{
	struct store_options options = {0};
	struct account_state *a = state;
	bool rebuilt = false;
	struct store *store;
	struct err err;

	memory_must(store_open(&store, a->dir, &options, &rebuilt, &err) == 0 && !rebuilt);
	memory_must(store_check(store, report, NULL) == 0);
	store_close(&store);
	close(a->dir);
	memory_must(chdir("/") == 0);
	scratch_remove(a->path);
	free(a);
	buf_fini(&said);
}

static bool has_said(const char *text)
{
	return has(&said, text);
}

/* Of the second session: where the first was hit, one of its commands on mailboxes was done and the next not. */
static bool is_done_before(char tag)
{
	char exists[] = "\r\n? NO [ALREADYEXISTS]", missing[] = "\r\n? NO [NONEXISTENT]";

	exists[2] = missing[2] = tag;
	return has_said(exists) || has_said(missing);
}

/* Each command has one answer, OK, or NO [UNAVAILABLE] of the one that was hit. */
static int judge_session(int status, bool again)
{
	bool whole = has_said("r OK");

	if (status != 0 || has_said("NO [UNAVAILABLE]") || (!whole && has_said("* BYE ")) || buf_len(&said) == 0)
		return E_NOMEM;
	for (char tag = 'a'; tag <= 'r'; tag++) {
		char ok[] = "\r\n? OK";

		ok[2] = tag;
		if (has_said(ok) || (again && is_done_before(tag)))
			continue;
		fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&said)));
		return whole ? E_BUG : E_NOMEM; /* what cannot be answered ends with the connection */
	}
	return 0;
}

static int run_session(void *state, bool again)
{
	struct account_state *a = state;
	struct session_start_options options = {.fd = open("/dev/null", O_RDWR | O_CLOEXEC), .wake = -1, .dir = a->dir, .message_size = 100000, .timeout_ms = 1000,
	    .user = "a@example.org", .remote = "192.0.2.1", .tag = "a0"};
	int status;

	memory_must(options.fd >= 0);
	buf_fini(&said);
	buf_init(&said, 1 << 20);
	has_spoken = false;
	status = session_main(&options);
	return judge_session(status, again);
}

/* All OK, though there was no memory for something: what is not worth an answer, or is told later. No answer is less than it should be. */
static int run_session_whole(void *state)
{
	static const char *const answers[] = {"* 3 FETCH (UID 3 FLAGS (", " RFC822.SIZE 112 ENVELOPE (NIL \"=?utf-8?q?x?=\" ((NIL NIL \"a\" \"example.org\"))",
	    " BODY[HEADER.FIELDS (\"Subject\")] {26}\r\nSubject: =?utf-8?q?x?=\r\n\r\n", " BODYSTRUCTURE ((\"text\" \"plain\" ", " BODY[1]<0> {3}\r\nHel)",
	    "* SEARCH 1 2 3\r\n", "[APPENDUID ", "* 3 FETCH (FLAGS (\\Flagged \\Seen \\Recent other))", "* LSUB () \"/\" \"INBOX\"\r\n", "* LSUB () \"/\" \"Trash\"\r\n",
	    "* STATUS \"Kept\" (MESSAGES 1 ", "[COPYUID ", " EXPUNGE\r\n"};
	bool again = memory_failed();
	int r = run_session(state, again);

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]) && r == 0 && !again; i++)
		if (!has_said(answers[i])) {
			fprintf(stderr, "%.*s---- without %s\n", SPAN_ARG(buf_span(&said)), answers[i]);
			r = E_BUG;
		}
	return r == 0 && !again && memory_failed() ? MEMORY_LESS : r;
}

/* ---- auth: log-ins by a password, by SCRAM, over a channel ---- */

static struct world {
	struct auth auth;
	struct ipc_conn *service, *client;
	struct sasl_client *sasl;
	int answer;
	bool answered;
} *w;

enum { ASKED = 2, NOT_ANSWERED = 1 };

static int on_asked(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)arg;
	if (m->type == &ipc_auth_login)
		auth_login_begin(&w->auth, conn, m->id, (const void *)m->body);
	else if (m->type == &ipc_auth_sasl_begin)
		auth_sasl_start(&w->auth, conn, m->id, (const void *)m->body);
	else
		auth_sasl_next(&w->auth, conn, m->id, ((const struct auth_sasl_response *)(const void *)m->body)->response);
	return 0;
}

static void answer_is(int code)
{
	w->answer = code;
	w->answered = true;
	event_base_loopbreak(base);
}

/* The client's part of SCRAM. */
static void respond(struct span challenge)
{
	struct auth_sasl_response body;
	struct err err = {0};
	struct buf out;

	buf_init(&out, SASL_RESPONSE_MAX);
	if (sasl_client_respond(w->sasl, challenge, &out, &err) != 0)
		answer_is(E_NOMEM);
	body.response = buf_span(&out);
	if (!w->answered && ipc_conn_send(w->client, &ipc_auth_sasl_response, ASKED, &body, -1) != 0)
		answer_is(E_NOMEM);
	buf_fini(&out);
}

static int on_told(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)arg, (void)conn;
	if (m->type == &ipc_auth_sasl_challenge)
		respond(((const struct auth_sasl_challenge *)(const void *)m->body)->challenge);
	else
		answer_is(((const struct auth_login_answer *)(const void *)m->body)->code);
	return 0;
}

/* An answer that has no room ends the channel: its client asks for another. */
static void on_closed(void *arg, struct ipc_conn *conn)
{
	(void)arg;
	if (conn == w->service) {
		auth_login_forget(&w->auth, conn);
		auth_sasl_forget(&w->auth, conn);
		w->service = NULL;
	} else {
		w->client = NULL;
		answer_is(E_NOMEM);
	}
}

static const struct ipc_conn_callbacks service_callbacks = {on_asked, on_closed}, client_callbacks = {on_told, on_closed};

static void add_account(void)
{
	struct account account = {.address = "a@example.org", .quota = UINT64_MAX};
	struct err err;
	char path[64];

	memory_must(scratch_make(path) == 0 && directory_open(path, &w->auth.directory, &err) == 0);
	scratch_remove(path);
	memory_must(crypto_pwhash_str_alg(account.credentials.hash, "pencil", 6, crypto_pwhash_argon2id_OPSLIMIT_MIN, crypto_pwhash_argon2id_MEMLIMIT_MIN,
			crypto_pwhash_ALG_ARGON2ID13) == 0);
	span_copy(span_str(keys_text), account.credentials.scram_sha_256, sizeof(account.credentials.scram_sha_256));
	span_copy(SPAN_LIT("there are some"), account.credentials.scram_sha_1, sizeof(account.credentials.scram_sha_1));
	memory_must(directory_account_add(w->auth.directory, &account, &err) == 0);
}

/* One for all: what it keeps is auth's for good. */
static void *auth_begin(void)
{
	static struct world world;
	struct err err;

	if (w != NULL)
		return w;
	w = &world;
	memory_daemon();
	add_account();
	w->auth.defence = defence_new(w->auth.secret);
	w->auth.marks = marks_new(&w->auth);
	memory_must(password_pool_new(&w->auth, &w->auth.passwords, &err) == 0);
	return w;
}

static int connect_client(void)
{
	struct err err;
	int fds[2];

	memory_must(ipc_pair(fds, &err) == 0);
	w->service = ipc_conn_new(base, fds[0], &ipc_service_auth, TO_SERVICE, &service_callbacks, w);
	w->client = ipc_conn_new(base, fds[1], &ipc_service_auth, TO_CLIENT, &client_callbacks, w);
	if (w->service == NULL)
		close(fds[0]);
	if (w->client == NULL)
		close(fds[1]);
	return w->service != NULL && w->client != NULL ? 0 : E_NOMEM;
}

static void part(void)
{
	if (w->service != NULL) {
		auth_login_forget(&w->auth, w->service);
		auth_sasl_forget(&w->auth, w->service);
		ipc_conn_free(&w->service);
	}
	if (w->client != NULL)
		ipc_conn_free(&w->client);
	while (w->auth.pending != NULL) /* whose answer comes when nobody waits for it any more */
		event_base_loop(base, EVLOOP_ONCE);
	memory_must(w->auth.pending_count == 0 && w->auth.exchange_count == 0 && w->auth.parked_count == 0);
}

static int answer_to(const struct ipc_type *type, const void *body)
{
	w->answered = false;
	w->answer = NOT_ANSWERED;
	if (ipc_conn_send(w->client, type, ASKED, body, -1) != 0)
		return E_NOMEM;
	while (!w->answered)
		event_base_loop(base, EVLOOP_ONCE);
	return w->answer == E_UNAVAILABLE ? E_NOMEM : w->answer;
}

/* In, though something else was not done that nobody waits for. */
static int or_less(int r, bool again)
{
	return r == 0 && !again && memory_failed() ? MEMORY_LESS : r;
}

static int run_login(void *state)
{
	static const struct auth_login ask = {.service = SPAN_LIT("imap"), .user = SPAN_LIT("a@example.org"), .remote = SPAN_LIT("192.0.2.1"), .password = SPAN_LIT("pencil")};
	bool again = memory_failed();
	int r = connect_client();

	(void)state;
	if (r == 0)
		r = answer_to(&ipc_auth_login, &ask);
	part();
	return or_less(r, again);
}

static int run_sasl(void *state)
{
	struct auth_sasl_begin ask = {.service = SPAN_LIT("imap"), .remote = SPAN_LIT("192.0.2.1"), .mechanism = SPAN_LIT("SCRAM-SHA-256-PLUS"), .initial = 1, .plus_offered = 1,
	    .exporter = channel.exporter};
	struct err err = {0};
	bool has_initial;
	struct buf first;
	bool again = memory_failed();
	int r = connect_client();

	(void)state;
	buf_init(&first, SASL_RESPONSE_MAX);
	w->sasl = sasl_client_new(SASL_SCRAM_SHA_256_PLUS, SPAN_LIT("a@example.org"), SPAN_LIT("pencil"), &channel);
	if (r == 0)
		r = w->sasl != NULL ? sasl_client_begin(w->sasl, &first, &has_initial, &err) : E_NOMEM;
	ask.response = buf_span(&first);
	if (r == 0)
		r = answer_to(&ipc_auth_sasl_begin, &ask);
	part();
	sasl_client_free(&w->sasl);
	buf_fini(&first);
	return or_less(r, again);
}

const struct scenario session_scenarios[] = {
    {.name = "SASL, PLAIN", .run = run_plain},
    {.name = "SASL, a token that is refused", .run = run_bearer},
    {.name = "SASL, SCRAM", .run = run_scram},
    {.name = "IMAP before login", .run = run_prelogin},
    {.name = "IMAP session", .begin = account_begin, .run = run_session_whole, .end = account_end, .may_be_less = true},
    {.name = "log-in by a password", .begin = auth_begin, .run = run_login, .may_be_less = true},
    {.name = "log-in by SCRAM", .begin = auth_begin, .run = run_sasl, .may_be_less = true},
    {0},
};
