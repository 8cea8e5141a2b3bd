#include "json.h"

#include "utf8.h"

/* Octets at its beginning that stand in a JSON string as they are, those of ASCII only. */
static size_t plain_run(struct span s)
{
	size_t n = 0;

	while (n < s.len && s.ptr[n] >= ' ' && s.ptr[n] < 0x7f && s.ptr[n] != '"' && s.ptr[n] != '\\')
		n++;
	return n;
}

void json_add_string(struct buf *out, struct span s)
{
	buf_add_char(out, '"');
	while (s.len > 0) {
		const char *at = s.ptr;
		size_t run = plain_run(s);
		int32_t cp;

		if (run > 0) {
			buf_add(out, at, run);
			s = span_from(s, run);
			continue;
		}
		cp = utf8_next(&s);
		if (cp < 0)
			buf_add_str(out, "\\ufffd");
		else if (cp == '"' || cp == '\\')
			buf_printf(out, "\\%c", (char)cp);
		else if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
			buf_printf(out, "\\u%04x", (unsigned)cp);
		else
			buf_add(out, at, (size_t)(s.ptr - at));
	}
	buf_add_char(out, '"');
}
