/*
 * Where IMAP commands end (RFC 3501 section 4.3, RFC 7888): found in the same
 * places however the octets come.
 *
 * Input: a byte for the pieces, then what a client sends.
 */
#include "tests/fuzz/fuzz.h"

#include "imap/reader.h"

#include <stdlib.h>

enum { LINE_HERE = 300, LITERALS_HERE = 500 };

/* Takes what is complete; log: what was found, in order. False at the end. */
static bool run(struct imap_reader *reader, struct buf *in, struct buf *log)
{
	for (;;) {
		size_t len = 0;
		char *copy = fuzz_copy(buf_span(in));
		enum imap_read found = imap_reader_look(reader, span_of(copy, buf_len(in)), &len);

		free(copy);
		if (found == IMAP_READ_MORE) {
			fuzz_assert(buf_len(in) <= LINE_HERE + LITERALS_HERE);
			return true;
		}
		if (found == IMAP_READ_TOO_LONG) {
			buf_add_str(log, "too long\n");
			return false;
		}
		fuzz_assert(len > 0 && len <= buf_len(in) && buf_span(in).ptr[len - 1] == '\n');
		if (found == IMAP_READ_COMMAND) {
			buf_printf(log, "command %zu\n", len);
			buf_take(in, len);
			imap_reader_reset(reader);
			continue;
		}
		buf_printf(log, "literal %zu %llu %d %d\n", len, (unsigned long long)reader->literal, reader->sync, reader->is_binary);
		if (imap_reader_accept(reader, len))
			continue;
		fuzz_assert(reader->literal + reader->kept > LITERALS_HERE);
		/* Not kept: what was there of the command goes; a client that does not wait is lost. */
		if (!reader->sync)
			return false;
		buf_take(in, len);
		imap_reader_reset(reader);
	}
}

static void feed(struct span text, bool whole, unsigned seed, struct buf *log)
{
	struct imap_reader reader;
	struct fuzz_pieces pieces;
	struct span piece;
	struct buf in;
	bool going = true;

	imap_reader_init(&reader, LINE_HERE, LITERALS_HERE);
	buf_init(&in, 4 * 1024 * 1024);
	if (whole) {
		buf_add_span(&in, text);
		run(&reader, &in, log);
	}
	fuzz_pieces_init(&pieces, whole ? (struct span){0} : text, seed);
	while (fuzz_pieces_next(&pieces, &piece)) {
		buf_add_span(&in, piece);
		going = going && run(&reader, &in, log);
	}
	buf_fini(&in);
}

void fuzz_one(struct span input)
{
	unsigned seed = fuzz_byte(&input);
	struct buf text, one, other;

	buf_init(&text, 32 * 1024);
	buf_init(&one, 1024 * 1024);
	buf_init(&other, 1024 * 1024);
	fuzz_expand(input, &text);
	feed(buf_span(&text), true, 0, &one);
	feed(buf_span(&text), false, seed, &other);
	fuzz_assert_same(buf_span(&one), buf_span(&other));
	buf_fini(&text);
	buf_fini(&one);
	buf_fini(&other);
}
