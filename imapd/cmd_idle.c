/* IDLE (RFC 2177): the spawner watches the account's index, nothing polls. */
#include "imapd/session.h"

#include "base/clock.h"

enum {
	IDLE_RESUMED_MS = 2000,
	IDLE_AGAIN_MS = 1000, /* after a look at the index that failed; twice as long each time, up to */
	IDLE_AGAIN_MAX_MS = 60 * 1000,
};

/* The line that ends it; false while it has not come. */
static bool take_done(struct session *s, bool *is_done)
{
	struct span rest = buf_span(&s->in);
	size_t end = span_find(rest, '\n');
	struct span line = span_sub(rest, 0, end);

	if (end == rest.len)
		return false;
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	*is_done = span_caseeq(line, SPAN_LIT("DONE"));
	buf_take(&s->in, end + 1);
	return true;
}

/* After a while it needs no process. E_CLOSED: it has been handed over. */
static int wait_for_something(struct session *s, int64_t *left_ms, int64_t hibernate_ms)
{
	log_flush();
	for (;;) {
		int64_t first_ms = hibernate_ms > 0 && hibernate_ms < *left_ms ? hibernate_ms : *left_ms;
		int64_t begun = clock_monotonic_ms();
		int r = session_fill(s, first_ms, true);

		if (r != E_TIMEOUT) { /* what is no news for the client does not begin its time anew */
			*left_ms -= clock_monotonic_ms() - begun;
			return r;
		}
		*left_ms -= first_ms;
		if (*left_ms <= 0)
			return E_TIMEOUT;
		if (session_hibernate(s, *left_ms))
			return E_CLOSED;
	}
}

/* What has changed was told by the spawner once. */
static int wait_to_look_again(struct session *s, int64_t *left_ms, int64_t again_ms)
{
	int64_t wait_ms = *left_ms < again_ms ? *left_ms : again_ms;
	int r = session_fill(s, wait_ms, true);

	if (r != E_TIMEOUT)
		return r;
	*left_ms -= wait_ms;
	return *left_ms > 0 ? E_AGAIN : E_TIMEOUT;
}

/* 0 when the client ended it. */
static int idle_until_done(struct session *s, int64_t left_ms, int64_t hibernate_ms, bool *is_done)
{
	int64_t again_ms = IDLE_AGAIN_MS;

	for (;;) {
		bool looked = view_sync(s, true);
		int r;

		pool_reset(s->pool);
		if (buf_len(&s->out) > 0)
			left_ms = s->timeout_ms;
		session_flush(s);
		if (s->closing || s->broken != 0)
			return E_CLOSED;
		if (take_done(s, is_done))
			return 0;
		if (buf_len(&s->in) > IMAP_LINE_MAX)
			return E_TOOBIG;
		r = looked ? wait_for_something(s, &left_ms, hibernate_ms) : wait_to_look_again(s, &left_ms, again_ms);
		again_ms = looked ? IDLE_AGAIN_MS : again_ms < IDLE_AGAIN_MAX_MS / 2 ? 2 * again_ms : IDLE_AGAIN_MAX_MS;
		if (r == E_AGAIN)
			session_watch(s, true); /* from now on, once more; what came before is seen by the sync above */
		else if (r != 0)
			return r;
	}
}

static void idle(struct session *s, int64_t left_ms, int64_t hibernate_ms)
{
	bool is_done = false;
	int r;

	session_watch(s, true);
	r = idle_until_done(s, left_ms, hibernate_ms, &is_done);
	if (s->hibernates)
		return;
	session_watch(s, false);
	if (s->closing || s->broken != 0)
		return;
	if (r == E_TIMEOUT)
		session_bye(s, "Silent for too long");
	else if (r == E_UNAVAILABLE)
		session_bye_wanted(s);
	else if (r != 0)
		s->broken = r;
	else if (is_done)
		session_ok(s, "Done waiting");
	else
		session_bad(s, "DONE ends IDLE");
}

void command_idle(struct session *s, struct imap_lex *lex)
{
	if (!imap_lex_end(lex)) {
		session_bad(s, lex->wrong);
		return;
	}
	/* The command's own line lies in front of what comes next. */
	buf_take(&s->in, s->command_len);
	s->command_len = 0;
	buf_add_str(&s->out, "+ Waiting\r\n");
	idle(s, s->timeout_ms, s->hibernate_ms);
}

void idle_resume(struct session *s, int64_t left_ms)
{
	/* Woken by a change alone, it has said all it had to say: the client is likely to ask now, or not for long. */
	idle(s, left_ms, s->hibernate_ms < IDLE_RESUMED_MS ? s->hibernate_ms : IDLE_RESUMED_MS);
}
