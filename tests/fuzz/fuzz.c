/* What the targets share. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void fuzz_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not true: %s\n", file, line, cond);
	abort();
}

static void show(const char *name, struct span s)
{
	fprintf(stderr, "%s (%zu): ", name, s.len);
	for (size_t i = 0; i < s.len && i < 2000; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '\n')
			fputs("\\n\n", stderr);
		else if (c < ' ' || c >= 0x7f || c == '\\')
			fprintf(stderr, "\\x%02x", c);
		else
			fputc(c, stderr);
	}
	fputc('\n', stderr);
}

void fuzz_same(struct span a, struct span b, const char *cond, const char *file, int line)
{
	if (span_eq(a, b))
		return;
	show("one", a);
	show("other", b);
	fuzz_failed(cond, file, line);
}

unsigned fuzz_byte(struct span *input)
{
	unsigned char c;

	if (input->len == 0)
		return 0;
	c = (unsigned char)*input->ptr;
	*input = span_from(*input, 1);
	return c;
}

struct span fuzz_until(struct span *input, char c)
{
	size_t end = span_find(*input, c);
	struct span part = span_sub(*input, 0, end);

	*input = span_from(*input, end + 1);
	return part;
}

char *fuzz_copy(struct span s)
{
	char *copy = malloc(s.len > 0 ? s.len : 1);

	if (copy == NULL)
		abort();
	if (s.len > 0)
		memcpy(copy, s.ptr, s.len);
	return copy;
}

void fuzz_pieces_init(struct fuzz_pieces *p, struct span text, unsigned seed)
{
	*p = (struct fuzz_pieces){.rest = text, .seed = seed, .state = seed};
}

/* Mostly a few octets, now and then many. */
static size_t piece_len(struct fuzz_pieces *p)
{
	unsigned n;

	if (p->seed == 0)
		return 1;
	p->state = p->state * 1103515245U + 12345U;
	n = p->state >> 16 & 0x7fff;
	return n % 16 == 0 ? 1 + n / 16 : 1 + n % 16;
}

bool fuzz_pieces_next(struct fuzz_pieces *p, struct span *out)
{
	free(p->copy);
	p->copy = NULL;
	if (p->rest.len == 0)
		return false;
	*out = span_sub(p->rest, 0, piece_len(p));
	p->rest = span_from(p->rest, out->len);
	out->ptr = p->copy = fuzz_copy(*out);
	return true;
}

void fuzz_expand(struct span input, struct buf *out)
{
	while (input.len > 0) {
		buf_add_span(out, fuzz_until(&input, '\x1f'));
		if (input.len >= 2) {
			size_t count = (fuzz_byte(&input) + 1) * 64;
			char c = (char)fuzz_byte(&input), *room = buf_reserve(out, count);

			if (room == NULL)
				return;
			memset(room, c, count);
			buf_added(out, count);
		}
	}
}

bool fuzz_within(struct span s, struct span part)
{
	return part.ptr >= s.ptr && part.ptr <= s.ptr + s.len && part.len <= (size_t)(s.ptr + s.len - part.ptr);
}
