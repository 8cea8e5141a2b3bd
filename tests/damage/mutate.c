/* The ways in which a file is damaged. */
#include "tests/damage/damage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, SECTOR = 512, META = 160, EXTRA_MAX = 8192 };

const char *const way_names[WAY_COUNT] = {"bits flipped", "bytes replaced", "truncated", "extended", "zeros", "blocks swapped", "deleted", "emptied",
    "exchanged", "replaced by another", "an older version"};

/* splitmix64 */
uint64_t chance_next(struct chance *c)
{
	uint64_t z = c->state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

size_t chance_below(struct chance *c, size_t below)
{
	return below > 0 ? (size_t)(chance_next(c) % below) : 0;
}

/* The heads of nodes stand before their keys. */
enum { BEFORE = 8 };

static size_t near_record(struct chance *c, size_t size, const struct hints *hints)
{
	size_t i = chance_below(c, hints->count), at;
	unsigned group = (unsigned)chance_below(c, hints->groups); /* a small database is as good as a large one */
	const struct range *r;

	for (size_t tries = 0; hints->ranges[i].group != group && tries < hints->count; tries++)
		i = (i + 1) % hints->count;
	r = &hints->ranges[i];
	at = r->at + chance_below(c, r->len + BEFORE);

	at -= at >= BEFORE ? BEFORE : 0;
	return at < size ? at : chance_below(c, size);
}

static size_t place(struct chance *c, size_t size, const struct hints *hints)
{
	size_t at = chance_below(c, size);

	if (hints == NULL || size < 3 * (size_t)PAGE)
		return at;
	switch (chance_below(c, 6)) {
	case 0:
		return chance_below(c, 2) * PAGE + chance_below(c, META);
	case 1:
		return at / PAGE * PAGE + chance_below(c, 64);
	case 2:
		return at;
	default:
		return near_record(c, size, hints);
	}
}

static void flip_bits(struct chance *c, char *bytes, size_t size, const struct hints *hints)
{
	size_t count = chance_below(c, 3) == 0 ? 1 + chance_below(c, 8) : 1;

	while (count-- > 0) {
		size_t at = place(c, size, hints);

		bytes[at] ^= (char)(1 << chance_below(c, 8));
	}
}

static void replace_bytes(struct chance *c, char *bytes, size_t size, const struct hints *hints)
{
	size_t at = place(c, size, hints), count = 1 + chance_below(c, 64);

	for (; count > 0 && at < size; count--)
		bytes[at++] = (char)chance_next(c);
}

static void write_zeros(struct chance *c, char *bytes, size_t size)
{
	size_t block = chance_below(c, 2) ? PAGE : SECTOR, at = chance_below(c, size) / block * block;

	memset(bytes + at, 0, at + block < size ? block : size - at);
}

static void swap_blocks(struct chance *c, char *bytes, size_t size)
{
	size_t block = size > 2 * (size_t)PAGE ? PAGE : size > 2 * (size_t)SECTOR ? SECTOR : size / 2;
	size_t count = block > 0 ? size / block : 0;
	char *a, *b;

	if (count < 2)
		return;
	a = bytes + chance_below(c, count) * block;
	b = bytes + chance_below(c, count) * block;
	for (size_t i = 0; i < block; i++) {
		char t = a[i];

		a[i] = b[i];
		b[i] = t;
	}
}

/* Bytes of the file itself; *size may change. False: no such way for this file. */
static bool change(struct chance *c, enum way way, char *bytes, size_t *size, const struct hints *hints)
{
	size_t extra;

	if (*size == 0 && way != WAY_EXTEND)
		return false;
	switch (way) {
	case WAY_BIT:
		flip_bits(c, bytes, *size, hints);
		return true;
	case WAY_BYTES:
		replace_bytes(c, bytes, *size, hints);
		return true;
	case WAY_TRUNCATE:
		*size = chance_below(c, *size);
		return true;
	case WAY_EXTEND:
		extra = 1 + chance_below(c, EXTRA_MAX);
		for (size_t i = 0; i < extra; i++)
			bytes[(*size)++] = (char)(chance_below(c, 2) ? chance_next(c) : 0);
		return true;
	case WAY_ZEROS:
		write_zeros(c, bytes, *size);
		return true;
	case WAY_SWAP:
		swap_blocks(c, bytes, *size);
		return true;
	case WAY_EMPTY:
		*size = 0;
		return true;
	default:
		return false;
	}
}

static bool same(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* With another file, or an earlier self. False when there is none that differs. */
static bool replace(struct chance *c, const char *root, const char *old, const struct files *others, struct span content, struct damage *d)
{
	const char *from = d->way == WAY_OLD ? old : root;
	struct span with;
	bool differs;

	snprintf(d->other, sizeof(d->other), "%s", d->way == WAY_OLD ? d->path : others->count > 0 ? others->paths[chance_below(c, others->count)] : "");
	with = file_load(from, d->other);
	differs = with.ptr != NULL && !same(with, content);
	if (differs) {
		file_save(root, d->path, with);
		if (d->way == WAY_EXCHANGE)
			file_save(root, d->other, content);
	}
	free((void *)(uintptr_t)with.ptr);
	return differs;
}

static bool try_way(struct chance *c, const char *root, const char *old, const struct files *others, struct span content, const struct hints *hints, struct damage *d)
{
	size_t size = content.len;
	char *bytes, full[2 * PATH];
	bool done;

	d->other[0] = '\0';
	if (d->way == WAY_DELETE) {
		snprintf(full, sizeof(full), "%s/%s", root, d->path);
		return unlink(full) == 0;
	}
	if (d->way == WAY_EXCHANGE || d->way == WAY_COPY || d->way == WAY_OLD)
		return replace(c, root, old, others, content, d);
	bytes = malloc(size + EXTRA_MAX + 1);
	memcpy(bytes, content.ptr, size);
	done = change(c, d->way, bytes, &size, hints) && !same(span_of(bytes, size), content);
	for (d->at = 0; d->at < size && d->at < content.len && bytes[d->at] == content.ptr[d->at];)
		d->at++;
	d->size = size;
	if (done)
		file_save(root, d->path, span_of(bytes, size));
	free(bytes);
	return done;
}

void damage_do(struct chance *c, const char *root, const char *old, const char *path, const struct files *others, const struct hints *hints, struct damage *d)
{
	/* Most damage is small. */
	static const enum way ways[] = {WAY_BIT, WAY_BIT, WAY_BIT, WAY_BIT, WAY_BIT, WAY_BIT, WAY_BIT, WAY_BIT, WAY_BYTES, WAY_BYTES, WAY_BYTES, WAY_TRUNCATE, WAY_TRUNCATE,
	    WAY_EXTEND, WAY_ZEROS, WAY_ZEROS, WAY_SWAP, WAY_OLD, WAY_EXCHANGE, WAY_COPY, WAY_DELETE, WAY_EMPTY};
	/* Of those, an index that is not even one any more is made again, and that is soon tried enough. */
	size_t count = sizeof(ways) / sizeof(ways[0]) - (hints != NULL && chance_below(c, 8) != 0 ? 4 : 0);
	struct span content = file_load(root, path);

	if (content.ptr == NULL)
		die("%s/%s cannot be read", root, path);
	snprintf(d->path, sizeof(d->path), "%s", path);
	do
		d->way = ways[chance_below(c, count)];
	while (!try_way(c, root, old, others, content, hints, d));
	if (d->other[0] != '\0' || d->way == WAY_DELETE)
		snprintf(d->text, sizeof(d->text), "%.300s: %s%s%.300s", d->path, way_names[d->way], d->other[0] != '\0' ? " with " : "", d->other);
	else
		snprintf(d->text, sizeof(d->text), "%.300s: %s from %zu on, now %zu octets", d->path, way_names[d->way], d->at, d->size);
	free((void *)(uintptr_t)content.ptr);
}
