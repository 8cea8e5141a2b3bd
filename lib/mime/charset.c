#include "mime/charset.h"

#include "base/utf8.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

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

/* What is unknown or was not opened; needs nothing but this table. */
static void from_windows_1252(struct span text, struct buf *out)
{
	static const uint16_t upper[32] = {0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
	    0x0152, 0, 0x017d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,
	    0x017e, 0x0178};

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		uint32_t cp = c >= 0x80 && c < 0xa0 ? upper[c - 0x80] : c;
		char utf8[4];

		if (cp == 0 && c != 0)
			put_replacement(out);
		else
			buf_add(out, utf8, utf8_put(cp, utf8));
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

/* Some hold the last letter back, for a mark that may follow it. */
static void flush_iconv(iconv_t cd, struct buf *out)
{
	enum { HELD_MAX = 32 };
	char *to = buf_reserve(out, HELD_MAX), *start = to;
	size_t left = HELD_MAX;

	if (to == NULL)
		return;
	iconv(cd, NULL, NULL, &to, &left);
	buf_added(out, (size_t)(to - start));
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
	flush_iconv(cd, out);
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
		from_windows_1252(text, out);
}
