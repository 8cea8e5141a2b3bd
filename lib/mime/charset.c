#include "mime/charset.h"

#include "base/utf8.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <utf8proc.h>

/*
 * What senders write and what iconv calls it; no name from a message ever
 * reaches iconv. The first of a kind is its own entry, the others lead to it.
 */
static struct charset {
	const char *name;
	const char *iconv; /* NULL: UTF-8 or ASCII */
	iconv_t cd;
	bool open;
} charsets[] = {
    {.name = "utf-8"},
    {.name = "utf8"},
    {.name = "us-ascii"},
    {.name = "ascii"},
    {.name = "iso-8859-1", .iconv = "WINDOWS-1252"}, /* as the web does it: nobody means the C1 controls */
    {.name = "latin1", .iconv = "WINDOWS-1252"},
    {.name = "windows-1252", .iconv = "WINDOWS-1252"},
    {.name = "cp1252", .iconv = "WINDOWS-1252"},
    {.name = "iso-8859-2", .iconv = "ISO-8859-2"},
    {.name = "iso-8859-5", .iconv = "ISO-8859-5"},
    {.name = "iso-8859-7", .iconv = "ISO-8859-7"},
    {.name = "iso-8859-9", .iconv = "WINDOWS-1254"},
    {.name = "iso-8859-15", .iconv = "ISO-8859-15"},
    {.name = "windows-1250", .iconv = "WINDOWS-1250"},
    {.name = "windows-1251", .iconv = "WINDOWS-1251"},
    {.name = "windows-1253", .iconv = "WINDOWS-1253"},
    {.name = "windows-1254", .iconv = "WINDOWS-1254"},
    {.name = "windows-1255", .iconv = "WINDOWS-1255"},
    {.name = "windows-1256", .iconv = "WINDOWS-1256"},
    {.name = "windows-1257", .iconv = "WINDOWS-1257"},
    {.name = "windows-1258", .iconv = "WINDOWS-1258"},
    {.name = "koi8-r", .iconv = "KOI8-R"},
    {.name = "koi8-u", .iconv = "KOI8-U"},
    {.name = "iso-2022-jp", .iconv = "ISO-2022-JP"},
    {.name = "shift_jis", .iconv = "CP932"},
    {.name = "shift-jis", .iconv = "CP932"},
    {.name = "euc-jp", .iconv = "EUC-JP"},
    {.name = "gb2312", .iconv = "GB18030"},
    {.name = "gbk", .iconv = "GB18030"},
    {.name = "gb18030", .iconv = "GB18030"},
    {.name = "big5", .iconv = "BIG5-HKSCS"},
    {.name = "euc-kr", .iconv = "CP949"},
    {.name = "ks_c_5601-1987", .iconv = "CP949"},
    {.name = "tis-620", .iconv = "TIS-620"},
    {.name = "utf-16", .iconv = "UTF-16"},
    {.name = "utf-16le", .iconv = "UTF-16LE"},
    {.name = "utf-16be", .iconv = "UTF-16BE"},
    {.name = "utf-7", .iconv = "UTF-7"},
};

enum { CHARSETS = sizeof(charsets) / sizeof(charsets[0]) };

static struct charset *charset_find(struct span name)
{
	if (name.len == 0)
		return NULL;
	for (size_t i = 0; i < CHARSETS; i++)
		if (span_caseeq(name, span_str(charsets[i].name)))
			return &charsets[i];
	return NULL;
}

/* Names that mean the same share their conversion. */
static void charset_open(size_t at)
{
	struct charset *c = &charsets[at];

	for (size_t i = 0; i < at; i++)
		if (charsets[i].open && strcmp(charsets[i].iconv, c->iconv) == 0) {
			c->cd = charsets[i].cd;
			c->open = true;
			return;
		}
	c->cd = iconv_open("UTF-8", c->iconv);
	c->open = c->cd != (iconv_t)-1;
}

void mime_charset_preload(void)
{
	for (size_t i = 0; i < CHARSETS; i++)
		if (charsets[i].iconv != NULL && !charsets[i].open)
			charset_open(i);
}

bool mime_charset_is_utf8(struct span name)
{
	const struct charset *c = charset_find(name);

	return name.len == 0 || (c != NULL && c->iconv == NULL);
}

bool mime_charset_is_known(struct span name)
{
	return name.len == 0 || charset_find(name) != NULL;
}

static void put_replacement(struct buf *out)
{
	buf_add(out, "\xef\xbf\xbd", 3);
}

/* Latin-1 needs no table; the quotes of windows-1252 are worth no more than a mark. */
static void from_latin1(struct span text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		char utf8[4];

		if (c < 0x80)
			buf_add_char(out, (char)c);
		else
			buf_add(out, utf8, utf8_put(c, utf8));
	}
}

static void from_utf8(struct span text, struct buf *out)
{
	if (utf8_is_valid(text)) {
		buf_add_span(out, text);
		return;
	}
	while (text.len > 0 && !buf_failed(out)) {
		const char *at = text.ptr;
		int32_t c = utf8_next(&text);

		if (c < 0)
			put_replacement(out);
		else
			buf_add(out, at, (size_t)(text.ptr - at));
	}
}

static void from_iconv(iconv_t cd, struct span text, struct buf *out)
{
	char *in = (char *)(uintptr_t)text.ptr;
	size_t in_left = text.len;

	iconv(cd, NULL, NULL, NULL, NULL);
	while (in_left > 0) {
		size_t room = in_left * 3 + 64, left = room, r;
		char *start = buf_reserve(out, room), *to = start;

		if (start == NULL)
			return;
		r = iconv(cd, &in, &in_left, &to, &left);
		buf_added(out, room - left);
		if (r != (size_t)-1 || errno == E2BIG)
			continue;
		put_replacement(out);
		in++;
		in_left--;
	}
}

void mime_to_utf8(struct span name, struct span text, struct buf *out)
{
	const struct charset *c = charset_find(name);
	bool is_utf8 = name.len == 0 || (c != NULL && c->iconv == NULL);

	if (c != NULL && c->iconv != NULL && c->open)
		from_iconv(c->cd, text, out);
	else if (is_utf8 || (c == NULL && utf8_is_valid(text)))
		from_utf8(text, out);
	else
		from_latin1(text, out);
}

/* Text without a blank is folded in pieces of this length, and at most of that. */
enum { FOLD_PIECE = 64, FOLD_PIECE_MAX = 128 };

/*
 * Up to the next blank, or to a letter: the marks behind one belong to it. Marks are put in order, which takes their
 * number squared: a letter with more of them than any language has is cut.
 */
static size_t fold_length(struct span utf8)
{
	struct span rest = utf8;

	while (rest.len > 0) {
		size_t at = utf8.len - rest.len;
		int32_t c;

		if (at > 0 && (unsigned char)*rest.ptr <= ' ')
			return at;
		c = utf8_next(&rest);
		if (at >= FOLD_PIECE_MAX || (at >= FOLD_PIECE && (c < 0 || utf8proc_get_property(c)->combining_class == 0)))
			return at;
	}
	return utf8.len;
}

static void fold_other(struct span utf8, struct buf *out)
{
	utf8proc_uint8_t *folded = NULL;
	utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)utf8.ptr, (utf8proc_ssize_t)utf8.len, &folded,
	    UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD);

	if (n >= 0)
		buf_add(out, folded, (size_t)n);
	else
		buf_add_span(out, utf8);
	free(folded);
}

void mime_casefold(struct span utf8, struct buf *out)
{
	while (utf8.len > 0 && !buf_failed(out)) {
		size_t ascii = 0, other;
		char *to;

		while (ascii < utf8.len && (unsigned char)utf8.ptr[ascii] < 0x80)
			ascii++;
		if (ascii < utf8.len && ascii > 0)
			ascii--; /* a mark may follow */
		to = buf_reserve(out, ascii);
		if (to == NULL)
			return;
		for (size_t i = 0; i < ascii; i++)
			to[i] = ascii_lower(utf8.ptr[i]);
		buf_added(out, ascii);
		utf8 = span_from(utf8, ascii);
		other = fold_length(utf8);
		if (other > 0)
			fold_other(span_sub(utf8, 0, other), out);
		utf8 = span_from(utf8, other);
	}
}
