/* Envelopes: octets are refused, or are the one form of what they say (of version 1, written again as version 2). Input: the octets. */
#include "tests/fuzz/fuzz.h"

#include "spool/spool.h"

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct spool_envelope envelope;
	struct err err;
	struct buf again;
	int r = spool_envelope_decode(input, pool, &envelope, &err);

	fuzz_assert(r == 0 || r == E_CORRUPT);
	if (r == 0) {
		fuzz_assert(envelope.recipient_count >= 1 && envelope.recipient_count <= SPOOL_RECIPIENTS_MAX);
		for (size_t i = 0; i < envelope.recipient_count; i++)
			fuzz_assert(envelope.recipients[i].address.len > 0 && fuzz_within(input, envelope.recipients[i].address));
		buf_init(&again, SPOOL_ENVELOPE_MAX);
		fuzz_assert(spool_envelope_encode(&envelope, &again) == 0);
		if (input.ptr[0] == 2)
			fuzz_assert_same(input, buf_span(&again));
		else
			fuzz_assert(buf_len(&again) == input.len + 16);
		buf_fini(&again);
	}
	pool_free(&pool);
}
