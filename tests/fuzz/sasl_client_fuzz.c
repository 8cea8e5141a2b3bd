/*
 * The client's side of SASL and a server that says anything: it lets nobody be a server that does not know the password, it is never kept
 * busy, and what it says fits into a line.
 *
 * Input: a byte for the mechanism, one for the channel, then challenges, each ended by LF; '@' in one stands for the client's nonce, '#'
 * for what the right server's verifier would be.
 */
#include "tests/fuzz/fuzz.h"

#include "base/encode.h"
#include "sasl/client_private.h"

static const enum sasl_mechanism mechanisms[] = {SASL_PLAIN, SASL_LOGIN, SASL_SCRAM_SHA_1, SASL_SCRAM_SHA_1_PLUS, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_256_PLUS,
    SASL_XOAUTH2};

static void write_challenge(const struct sasl_client *c, struct span text, bool *right, struct buf *out)
{
	*right = false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '@') {
			buf_add_str(out, c->nonce);
		} else if (text.ptr[i] == '#') {
			*right = true;
			base64_encode(out, span_of(c->signature, scram_size(c->mechanism)));
		} else {
			buf_add_char(out, text.ptr[i]);
		}
	}
}

static void respond(struct sasl_client *c, struct span text, bool *knows)
{
	struct buf challenge, out;
	struct err err = {0};
	bool right, was_proved = c->proved;
	int r;

	buf_init(&challenge, 64 * 1024);
	buf_init(&out, SASL_RESPONSE_MAX);
	write_challenge(c, text, &right, &challenge);
	r = sasl_client_respond(c, buf_span(&challenge), &out, &err);
	fuzz_assert(r == 0 || (r == err.code && err.text[0] != '\0'));
	fuzz_assert(buf_len(&out) <= SASL_RESPONSE_MAX);
	*knows |= right;
	fuzz_assert(was_proved || !c->proved || *knows);
	buf_fini(&challenge);
	buf_fini(&out);
}

void fuzz_one(struct span input)
{
	enum sasl_mechanism mechanism = mechanisms[fuzz_byte(&input) % (sizeof(mechanisms) / sizeof(mechanisms[0]))];
	unsigned how = fuzz_byte(&input);
	const struct sasl_channel channel = {.plus_offered = how & 1, .exporter = how & 2 ? SPAN_LIT("exporter") : SPAN_LIT(""),
	    .endpoint = how & 4 ? SPAN_LIT("endpoint") : SPAN_LIT("")};
	struct sasl_client *c = sasl_client_new(mechanism, SPAN_LIT("u,=\303\266"), SPAN_LIT("pencil"), &channel);
	bool has_initial, knows = false;
	struct err err = {0};
	struct buf out;

	fuzz_assert(c != NULL);
	buf_init(&out, SASL_RESPONSE_MAX);
	if (sasl_client_begin(c, &out, &has_initial, &err) == 0) {
		fuzz_assert(has_initial == (mechanism != SASL_LOGIN) && has_initial == (buf_len(&out) > 0));
		for (int turns = 0; input.len > 0 && turns < 6; turns++)
			respond(c, fuzz_until(&input, '\n'), &knows);
		fuzz_assert(sasl_client_finish(c, &err) != 0 || scram_size(mechanism) == 0 || knows);
	} else {
		fuzz_assert(err.code == E_UNSUPPORTED && !(how & 6));
	}
	buf_fini(&out);
	sasl_client_free(&c);
}
