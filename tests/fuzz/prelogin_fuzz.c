/*
 * IMAP before login: the same in every split, one tagged answer for each command,
 * nothing beyond its limits.
 *
 * Input: a byte of options, one for the pieces, then what the client sends.
 */
#include "tests/fuzz/fuzz.h"

#include "imapd/prelogin.h"

#include <stdlib.h>

enum { OPTION_TLS = 1, OPTION_OFFERED = 2, OPTION_PLAIN = 4 };

struct talk {
	struct prelogin login;
	struct buf in, out;
	bool over, in_exchange;
};

static void checked(struct talk *t)
{
	fuzz_assert(strlen(t->login.user) > 0 && strlen(t->login.user) <= PRELOGIN_USER_MAX && strlen(t->login.tag) <= PRELOGIN_TAG_MAX);
	fuzz_assert(t->login.tls || t->login.plain_login);
	buf_printf(&t->out, "%s CHECK ", t->login.tag);
	buf_add_span(&t->out, secret_span(&t->login.password));
	buf_printf(&t->out, " of %s\r\n", t->login.user);
}

/* As auth would: a response of an even length is followed by a challenge, another one ends the exchange. */
static void exchanged(struct talk *t, enum prelogin_event event)
{
	struct span response = buf_span(&t->login.response);

	fuzz_assert(t->login.tls || t->login.plain_login);
	fuzz_assert(sasl_mechanism_is_offered(t->login.mechanism, (struct sasl_terms){.bound = t->login.bound, .certificate = t->login.certificate, .bearer = t->login.bearer, .withheld = t->login.withheld}) && response.len <= SASL_RESPONSE_MAX);
	if (event == PRELOGIN_SASL) {
		fuzz_assert(!t->in_exchange);
		buf_printf(&t->out, "%s %s %d ", t->login.tag, sasl_mechanism_name(t->login.mechanism), t->login.has_response);
	} else {
		fuzz_assert(t->in_exchange);
	}
	t->in_exchange = response.len % 2 == 0;
	if (t->in_exchange)
		prelogin_challenge(&t->login, response, &t->out);
	else
		buf_printf(&t->out, "%s NO %zu octets\r\n", t->login.tag, response.len);
}

static void run(struct talk *t)
{
	while (!t->over) {
		char *copy = fuzz_copy(buf_span(&t->in));
		size_t consumed = 0, before = buf_len(&t->out);
		enum prelogin_event event = prelogin_feed(&t->login, span_of(copy, buf_len(&t->in)), &consumed, &t->out);

		free(copy);
		fuzz_assert(consumed <= buf_len(&t->in));
		buf_take(&t->in, consumed);
		if (event == PRELOGIN_MORE) {
			fuzz_assert(consumed == 0 && buf_len(&t->in) <= PRELOGIN_LINE_MAX + PRELOGIN_LITERALS_MAX);
			return;
		}
		fuzz_assert(consumed > 0 || event == PRELOGIN_CLOSE);
		if (event == PRELOGIN_CHECK)
			checked(t);
		if (event == PRELOGIN_SASL || event == PRELOGIN_RESPONSE)
			exchanged(t, event);
		if (event == PRELOGIN_CANCEL) {
			fuzz_assert(t->in_exchange);
			t->in_exchange = false;
		}
		if (event == PRELOGIN_STARTTLS) {
			/* What was received behind it is dropped by the owner. */
			fuzz_assert(!t->login.tls && t->login.tls_offered);
			t->over = true;
		}
		t->over |= event == PRELOGIN_CLOSE;
		fuzz_assert(buf_len(&t->out) > before && span_startswith(span_from(buf_span(&t->out), buf_len(&t->out) - 2), SPAN_LIT("\r\n")));
	}
}

static void talk(struct talk *t, unsigned options, struct span text, bool whole, unsigned seed)
{
	struct fuzz_pieces pieces;
	struct span piece;

	*t = (struct talk){.login = {.tls = options & OPTION_TLS, .bound = options & OPTION_TLS, .tls_offered = options & OPTION_OFFERED, .plain_login = options & OPTION_PLAIN}};
	prelogin_init(&t->login);
	buf_init(&t->in, 4 * 1024 * 1024);
	buf_init(&t->out, 16 * 1024 * 1024);
	if (whole) {
		buf_add_span(&t->in, text);
		run(t);
	}
	fuzz_pieces_init(&pieces, whole ? (struct span){0} : text, seed);
	while (fuzz_pieces_next(&pieces, &piece)) {
		buf_add_span(&t->in, piece);
		run(t);
	}
	fuzz_assert(!buf_failed(&t->out) && t->login.errors <= PRELOGIN_ERRORS_MAX);
}

static void talk_end(struct talk *t)
{
	prelogin_fini(&t->login);
	buf_fini(&t->in);
	buf_fini(&t->out);
}

void fuzz_one(struct span input)
{
	unsigned options = fuzz_byte(&input), seed = fuzz_byte(&input);
	struct talk one, other;
	struct buf text;

	buf_init(&text, 64 * 1024);
	fuzz_expand(input, &text);
	talk(&one, options, buf_span(&text), true, 0);
	talk(&other, options, buf_span(&text), false, seed);
	fuzz_assert_same(buf_span(&one.out), buf_span(&other.out));
	fuzz_assert(one.over == other.over);
	talk_end(&one);
	talk_end(&other);
	buf_fini(&text);
}
