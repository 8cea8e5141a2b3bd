/*
 * Queue's clock on the disk (spool/spool.h): what nobody sealed is refused; what is sealed is read, and written again as the same; once
 * changed it is refused.
 *
 * Input: an octet that says which octet is changed; then the lines of the file, without the last.
 */
#include "tests/fuzz/fuzz.h"

#include "spool/seal.h"

#include <stdlib.h>

static const unsigned char key[SPOOL_KEY] = "of the fuzz target";

void fuzz_one(struct span input)
{
	unsigned place = fuzz_byte(&input);
	struct spool_clock clock;
	struct err err = {0};
	struct buf text, again;
	char *copy;

	fuzz_assert(spool_clock_decode(input, key, &clock, &err) == E_CORRUPT);
	buf_init(&text, 4 * SPOOL_CLOCK_SIZE);
	buf_init(&again, SPOOL_CLOCK_SIZE);
	buf_add_span(&text, span_sub(input, 0, 2 * SPOOL_CLOCK_SIZE));
	seal_add(&text, key, SEAL_CLOCK);
	copy = fuzz_copy(buf_span(&text));
	if (spool_clock_decode(span_of(copy, buf_len(&text)), key, &clock, &err) == 0) {
		struct spool_clock twice;
		int64_t extra;

		fuzz_assert(spool_clock_encode(&clock, key, &again) == 0);
		fuzz_assert(spool_clock_decode(buf_span(&again), key, &twice, &err) == 0);
		fuzz_assert(twice.queue_ms == clock.queue_ms && twice.wall_ms == clock.wall_ms && twice.since_boot_ms == clock.since_boot_ms && strcmp(twice.boot, clock.boot) == 0);
		fuzz_assert(spool_clock_resume(&clock, &twice, &extra) == clock.queue_ms);
	}
	copy[place % buf_len(&text)] ^= 1;
	fuzz_assert(spool_clock_decode(span_of(copy, buf_len(&text)), key, &clock, &err) == E_CORRUPT);
	free(copy);
	buf_fini(&again);
	buf_fini(&text);
}
