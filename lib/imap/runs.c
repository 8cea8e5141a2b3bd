#include "imap/runs.h"

static void put_number(struct buf *out, uint32_t n)
{
	for (; n > 0x7f; n >>= 7)
		buf_add_char(out, (char)(n | 0x80));
	buf_add_char(out, (char)n);
}

/* Of several ways to write a number only the shortest is one. */
static bool take_number(struct span *in, uint32_t *out)
{
	uint64_t n = 0;

	for (unsigned shift = 0; in->len > 0 && shift < 35; shift += 7) {
		unsigned char c = (unsigned char)in->ptr[0];

		*in = span_from(*in, 1);
		n |= (uint64_t)(c & 0x7f) << shift;
		if ((c & 0x80) == 0) {
			*out = (uint32_t)n;
			return n <= UINT32_MAX && (c != 0 || shift == 0);
		}
	}
	return false;
}

void imap_runs_put(const uint32_t *uids, size_t count, struct buf *out)
{
	uint32_t last = 0;

	for (size_t i = 0, run; i < count; i += run) {
		for (run = 1; i + run < count && uids[i + run] == uids[i] + run; run++)
			;
		put_number(out, uids[i] - last - 1);
		put_number(out, (uint32_t)run - 1);
		last = uids[i + run - 1];
	}
}

bool imap_runs_take(struct span *in, uint32_t *first, uint32_t *last)
{
	uint32_t gap, more;
	uint64_t from;

	if (!take_number(in, &gap) || !take_number(in, &more) || (gap == 0 && *last != 0))
		return false;
	from = (uint64_t)*last + 1 + gap;
	if (from + more > UINT32_MAX)
		return false;
	*first = (uint32_t)from;
	*last = (uint32_t)(from + more);
	return true;
}
