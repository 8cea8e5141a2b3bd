/* Recipients as queue packs them: any octets are refused, or packed again are the same. */
#include "tests/fuzz/fuzz.h"

#include "relay/recipients.h"

static void pack_text(struct span text, struct buf *out)
{
	buf_add_char(out, (char)(text.len & 0xff));
	buf_add_char(out, (char)(text.len >> 8));
	buf_add_span(out, text);
}

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, 1024 * 1024);
	struct smtp_client_recipient *recipients;
	size_t count;
	struct buf again;

	fuzz_assert(pool != NULL);
	if (recipients_decode(pool, input, &recipients, &count) == 0) {
		buf_init(&again, input.len + 1);
		fuzz_assert(count > 0 && count <= RELAY_RECIPIENTS_MAX);
		for (size_t i = 0; i < count; i++) {
			fuzz_assert(recipients[i].address.len > 0);
			pack_text(recipients[i].address, &again);
			pack_text(recipients[i].orcpt, &again);
			buf_add_char(&again, (char)recipients[i].notify);
		}
		fuzz_assert_same(buf_span(&again), input);
		buf_fini(&again);
	}
	pool_free(&pool);
}
