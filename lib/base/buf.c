#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUF_FIRST = 256 };

void buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf){.max = max};
}

void buf_fini(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){.max = buf->max};
}

void buf_fini_secret(struct buf *buf)
{
	if (buf->data != NULL)
		explicit_bzero(buf->data, buf->size);
	buf_fini(buf);
}

void buf_clear(struct buf *buf)
{
	buf->start = buf->end = 0;
	buf->failed = false;
}

static bool buf_grow(struct buf *buf, size_t need)
{
	size_t size = buf->size ? buf->size : BUF_FIRST;
	char *data;

	while (size < need)
		size = size > SIZE_MAX / 2 ? need : size * 2;
	data = realloc(buf->data, size);
	if (data == NULL) {
		buf->starved = true;
		return false;
	}
	buf->data = data;
	buf->size = size;
	return true;
}

char *buf_reserve(struct buf *buf, size_t len)
{
	size_t have = buf_len(buf);

	if (buf->failed)
		return NULL;
	if (len > buf->max - have || len >= SIZE_MAX / 2) {
		buf->failed = true;
		return NULL;
	}
	if (buf->start > 0 && buf->end + len + 1 > buf->size) {
		memmove(buf->data, buf->data + buf->start, have);
		buf->start = 0;
		buf->end = have;
	}
	if (buf->end + len + 1 > buf->size && !buf_grow(buf, buf->end + len + 1)) {
		buf->failed = true;
		return NULL;
	}
	return buf->data + buf->end;
}

void buf_added(struct buf *buf, size_t len)
{
	buf->end += len;
}

void buf_take(struct buf *buf, size_t len)
{
	if (len >= buf_len(buf))
		buf->start = buf->end = 0;
	else
		buf->start += len;
}

void buf_cut(struct buf *buf, size_t len)
{
	if (len < buf_len(buf))
		buf->end = buf->start + len;
	buf->failed = false;
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
	char *room = buf_reserve(buf, len);

	if (room == NULL || len == 0)
		return;
	memcpy(room, data, len);
	buf_added(buf, len);
}

void buf_add_span(struct buf *buf, struct span s)
{
	buf_add(buf, s.ptr, s.len);
}

void buf_add_str(struct buf *buf, const char *s)
{
	buf_add(buf, s, strlen(s));
}

void buf_add_char(struct buf *buf, char c)
{
	buf_add(buf, &c, 1);
}

void buf_add_u64(struct buf *buf, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	buf_add(buf, digits + at, sizeof(digits) - at);
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list ap, again;
	char *room;
	int len;

	va_start(ap, fmt);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	room = len < 0 ? NULL : buf_reserve(buf, (size_t)len);
	if (room != NULL) {
		vsnprintf(room, (size_t)len + 1, fmt, again);
		buf_added(buf, (size_t)len);
	}
	va_end(again);
	va_end(ap);
}

const char *buf_cstr(struct buf *buf)
{
	char *room = buf_reserve(buf, 0);

	if (room == NULL)
		return "";
	*room = '\0';
	return buf->data + buf->start;
}
