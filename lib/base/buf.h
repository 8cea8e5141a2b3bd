/*
 * A bounded buffer: bytes are added at the end and taken from the front.
 *
 * It is born with its maximum. The first append that would pass it, or that
 * finds no memory, marks the buffer failed and adds nothing; later appends do
 * nothing. So a writer may append many times and look once, with buf_failed().
 */
#ifndef MW_BASE_BUF_H
#define MW_BASE_BUF_H

#include "span.h"

#include <stdbool.h>
#include <stdint.h>

struct buf {
	char *data;
	size_t start; /* first byte not yet taken */
	size_t end;   /* one past the last byte */
	size_t size;  /* allocated */
	size_t max;   /* never more than this between start and end */
	bool failed;
	bool starved; /* since buf_init memory was not to be had: a failure may pass, which a full buffer's does not */
};

/* Caller's memory; nothing is allocated until the first append. */
void buf_init(struct buf *buf, size_t max);
void buf_fini(struct buf *buf);

/* As buf_fini, but wipes the bytes first. */
void buf_fini_secret(struct buf *buf);

/* Empties it and clears the failure; memory is kept. */
void buf_clear(struct buf *buf);

static inline struct span buf_span(const struct buf *buf)
{
	return span_from((struct span){buf->data, buf->end}, buf->start);
}

static inline size_t buf_len(const struct buf *buf)
{
	return buf->end - buf->start;
}

static inline bool buf_failed(const struct buf *buf)
{
	return buf->failed;
}

/* Room for len more bytes at the end, to be followed by buf_added; NULL when it fails. */
char *buf_reserve(struct buf *buf, size_t len);
void buf_added(struct buf *buf, size_t len);

/* Drops len bytes from the front (at most what is there). */
void buf_take(struct buf *buf, size_t len);

/* Back to its first len bytes, without a failure: for a piece that is added whole or not at all. */
void buf_cut(struct buf *buf, size_t len);

void buf_add(struct buf *buf, const void *data, size_t len);
void buf_add_span(struct buf *buf, struct span s);
void buf_add_str(struct buf *buf, const char *s);
void buf_add_char(struct buf *buf, char c);
void buf_add_u64(struct buf *buf, uint64_t n);
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* NUL after the last byte (not counted); the text, or "" when failed. Borrowed until the next change. */
const char *buf_cstr(struct buf *buf);

#endif
