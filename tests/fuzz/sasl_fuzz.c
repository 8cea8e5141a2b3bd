/*
 * The SASL engine and its lines: whatever a client says, steps come in order, and nobody gets in without the owner's word or
 * a proof that cannot be guessed.
 *
 * Input: an octet for the mechanism, one for the owner's answers (a bit each), then responses, each ended by LF; one that
 * begins with '#' goes through the decoder of lines.
 */
#include "tests/fuzz/fuzz.h"

#include "sasl/sasl.h"

static const unsigned char secret[32] = "fuzz";

static bool is_question(enum sasl_step step)
{
	return step == SASL_PASSWORD || step == SASL_KEYS || step == SASL_TOKEN || step == SASL_IDENTITY;
}

static enum sasl_step answer(struct sasl *s, enum sasl_mechanism mechanism, enum sasl_step step, bool yes)
{
	const struct sasl_refusal refusal = {"invalid_token", SPAN_LIT("a \"b\""), SPAN_LIT("https://id.test/")};
	struct scram_keys keys;

	fuzz_assert(sasl_user(s).len <= SASL_USER_MAX && sasl_authzid(s).len <= SASL_USER_MAX);
	fuzz_assert(sasl_respond(s, SPAN_LIT("too early")) == SASL_MALFORMED);
	if (step != SASL_KEYS) {
		if (step != SASL_IDENTITY)
			fuzz_assert(sasl_secret(s).len > 0 && sasl_secret(s).len <= SASL_RESPONSE_MAX);
		return yes || mechanism < SASL_OAUTHBEARER ? sasl_decide(s, yes) : sasl_refuse_token(s, &refusal);
	}
	scram_make_up(scram_size(mechanism), secret, sasl_user(s), &keys);
	keys.iterations = 4096;
	return sasl_keys(s, &keys);
}

static void take_text(struct span text)
{
	struct scram_keys keys;
	struct buf out;
	char again[SCRAM_TEXT_MAX];

	if (scram_parse(text, &keys) == 0) {
		scram_format(&keys, again);
		fuzz_assert(scram_parse(span_str(again), &keys) == 0);
	}
	buf_init(&out, SASL_RESPONSE_MAX);
	if (sasl_prepare(text, &out) == 0) {
		struct buf twice;

		buf_init(&twice, SASL_RESPONSE_MAX);
		/* Some compositions of today's tables come out in a second pass only; what was prepared stays acceptable or is refused. */
		(void)sasl_prepare(buf_span(&out), &twice);
		buf_fini(&twice);
	}
	buf_fini(&out);
}

void fuzz_one(struct span input)
{
	enum sasl_mechanism mechanism = fuzz_byte(&input) % SASL_MECHANISMS;
	unsigned answers = fuzz_byte(&input);
	struct sasl_channel channel = {.plus_offered = answers & 0x80};
	enum sasl_step step;
	bool word = false;
	struct sasl *s;

	take_text(input);
	if (answers & 0x40) {
		channel.exporter = SPAN_LIT("exporter");
		channel.unique = SPAN_LIT("unique");
		channel.endpoint = SPAN_LIT("endpoint");
		channel.certificate = SPAN_LIT("a@b.test");
	}
	s = sasl_new(mechanism, &channel);
	fuzz_assert(s != NULL);
	step = sasl_begin(s);
	while (input.len > 0 && (step == SASL_CHALLENGE || is_question(step))) {
		struct span line = fuzz_until(&input, '\n');
		struct buf decoded;

		buf_init(&decoded, SASL_RESPONSE_MAX);
		if (span_startswith(line, SPAN_LIT("#")) && sasl_line_decode(span_from(line, 1), answers & 0x20, &decoded) == SASL_LINE_OK)
			line = buf_span(&decoded);
		step = sasl_respond(s, line);
		buf_fini(&decoded);
		if (is_question(step)) {
			word |= answers & 1;
			step = answer(s, mechanism, step, answers & 1);
			answers >>= 1;
		}
		fuzz_assert(sasl_challenge(s).len <= SASL_CHALLENGE_MAX);
	}
	if (step == SASL_DONE)
		fuzz_assert(word && scram_size(mechanism) == 0);
	sasl_free(&s);
}
