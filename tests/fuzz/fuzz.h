/*
 * What every fuzz target includes. A target is one function that looks at one
 * input and ends the process when something is not as it must be; driver.c
 * runs it under libFuzzer, replay.c over files without it.
 */
#ifndef MW_TESTS_FUZZ_FUZZ_H
#define MW_TESTS_FUZZ_FUZZ_H

#include "base/buf.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/span.h"

/* The target. input: a copy of exactly its length, so that a look past its end is found. */
void fuzz_one(struct span input);

#define fuzz_assert(cond) ((cond) ? (void)0 : fuzz_failed(#cond, __FILE__, __LINE__))
_Noreturn void fuzz_failed(const char *cond, const char *file, int line);
/* As fuzz_assert(span_eq(a, b)), and shows both. */
#define fuzz_assert_same(a, b) fuzz_same((a), (b), #a " is " #b, __FILE__, __LINE__)
void fuzz_same(struct span a, struct span b, const char *cond, const char *file, int line);

/* The first byte of the input, taken off; 0 when there is none. */
unsigned fuzz_byte(struct span *input);
/* Up to the next c, which is taken as well; all when there is none. */
struct span fuzz_until(struct span *input, char c);

/* A heap copy of exactly this length; free() it. */
char *fuzz_copy(struct span s);

/*
 * Input in pieces, each a copy of its own. seed 0: octet by octet. The same
 * seed gives the same pieces of the same text.
 */
struct fuzz_pieces {
	struct span rest;
	unsigned seed, state;
	char *copy;
};
void fuzz_pieces_init(struct fuzz_pieces *pieces, struct span text, unsigned seed);
/* False at the end, when nothing is left to be freed either. */
bool fuzz_pieces_next(struct fuzz_pieces *pieces, struct span *out);

/*
 * Appends input with runs written out: 0x1f, n, c stands for c (n + 1) * 64
 * times, so that a short input reaches the limits of lines and texts.
 */
void fuzz_expand(struct span input, struct buf *out);

/* Whether p lies within s. */
bool fuzz_within(struct span s, struct span part);

#endif
