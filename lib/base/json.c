#include "json.h"

#include "utf8.h"

void json_add_string(struct buf *out, struct span s)
{
	buf_add_char(out, '"');
	while (s.len > 0) {
		const char *at = s.ptr;
		int32_t cp = utf8_next(&s);

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
