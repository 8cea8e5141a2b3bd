/*
 * The directory's text: import of any text does all of it or nothing, and what is
 * exported gives the same directory again.
 *
 * Input: a byte; 'r': import --replace. Then the text.
 */
#include "tests/fuzz/fuzz.h"

#include "auth/request.h"
#include "net/control.h"
#include "tests/daemon.h"
#include "tests/fuzz/scratch.h"

#include <stdarg.h>
#include <sysexits.h>

static const char base_text[] = "domain example.org\naccount a@example.org quota=10M name=A. Person\n"
				"app-password a@example.org protocols=imap hash=AAAAAAAAAAAAAAAAAAAAAA==:"
				"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= name=my phone\n"
				"account s@example.org system\n"
				"alias b@example.org a@example.org c@example.net\n";
static const char config[] = "config-version 1\nhostname mx.example\ndomain example.com { }\n";

/* ---- what auth's control requests want of the daemon ---- */

struct control_reply {
	struct buf text;
	unsigned exit;
	bool done;
};

void auth_changed(struct auth *auth)
{
	(void)auth;
}

void password_forgive(struct password_pool *pool)
{
	(void)pool;
}

int password_make(struct password_pool *pool, struct span password, password_done *done, void *arg)
{
	(void)pool, (void)password, (void)done, (void)arg;
	return E_UNAVAILABLE;
}

void control_test(struct request *q)
{
	(void)q;
}

void control_reply_row(struct control_reply *reply, struct span json)
{
	(void)reply, (void)json;
}

void control_reply_text(struct control_reply *reply, struct span text)
{
	buf_add_span(&reply->text, text);
}

void control_reply_done(struct control_reply *reply, unsigned exit, const char *fmt, ...)
{
	(void)fmt;
	fuzz_assert(!reply->done);
	reply->exit = exit;
	reply->done = true;
}

/* ---- requests ---- */

static unsigned ask(struct auth *auth, const char *verb, bool replace, struct span input, struct buf *out)
{
	struct span args[3] = {SPAN_LIT("directory"), span_str(verb), SPAN_LIT("--replace")};
	struct control_reply reply = {0};

	buf_init(&reply.text, CONTROL_INPUT_MAX);
	auth_control(auth, &reply, args, replace ? 3 : 2, input, (struct span){0});
	fuzz_assert(reply.done && !buf_failed(&reply.text));
	if (out != NULL) {
		buf_clear(out);
		buf_add_span(out, buf_span(&reply.text));
	}
	buf_fini(&reply.text);
	return reply.exit;
}

static void export(struct auth *auth, struct buf *out)
{
	fuzz_assert(ask(auth, "export", false, (struct span){0}, out) == EX_OK);
}

static struct auth *start(void)
{
	static struct auth auth;
	char path[64];
	struct err err;

	if (auth.directory != NULL)
		return &auth;
	log_init(-1, LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	fuzz_assert(conf_parse(span_str(config), "fuzz", &conf, &err) == 0);
	fuzz_assert(scratch_make(path) == 0 && directory_open(path, &auth.directory, &err) == 0);
	scratch_remove(path); /* it stays open */
	return &auth;
}

void fuzz_one(struct span input)
{
	bool replace = fuzz_byte(&input) == 'r';
	struct auth *auth = start();
	struct buf before, after, again;
	unsigned r;

	buf_init(&before, CONTROL_INPUT_MAX);
	buf_init(&after, CONTROL_INPUT_MAX);
	buf_init(&again, CONTROL_INPUT_MAX);
	fuzz_assert(ask(auth, "import", true, span_str(base_text), NULL) == EX_OK);
	export(auth, &before);
	r = ask(auth, "import", replace, input, NULL);
	fuzz_assert(r == EX_OK || r == EX_DATAERR);
	export(auth, &after);
	if (r != EX_OK)
		fuzz_assert_same(buf_span(&before), buf_span(&after));
	/* Over itself, and over another. */
	fuzz_assert(ask(auth, "import", false, buf_span(&after), NULL) == EX_OK);
	export(auth, &again);
	fuzz_assert_same(buf_span(&after), buf_span(&again));
	fuzz_assert(ask(auth, "import", true, span_str(base_text), NULL) == EX_OK);
	fuzz_assert(ask(auth, "import", true, buf_span(&after), NULL) == EX_OK);
	fuzz_assert(ask(auth, "import", false, buf_span(&after), NULL) == EX_OK);
	buf_fini(&before);
	buf_fini(&after);
	buf_fini(&again);
}
