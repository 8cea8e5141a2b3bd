/* The list of paused destinations: text for people, and a checksum that queue alone can make. */
#include "spool/seal.h"

static const struct span first_line = SPAN_LIT("mailwain-paused 1\n");

bool spool_paused_is_name(struct span name)
{
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] < ' ' || name.ptr[i] == 0x7f)
			return false;
	return name.len > 0 && name.len <= SPOOL_PAUSED_NAME;
}

int spool_paused_encode(const struct span *names, size_t count, const unsigned char key[SPOOL_KEY], struct buf *out)
{
	if (count > SPOOL_PAUSED_MAX)
		return E_LIMIT;
	buf_add_span(out, first_line);
	for (size_t i = 0; i < count; i++) {
		if (!spool_paused_is_name(names[i]))
			return E_SYNTAX;
		buf_add_span(out, names[i]);
		buf_add_char(out, '\n');
	}
	seal_add(out, key, SEAL_PAUSED);
	return buf_failed(out) ? E_NOMEM : 0;
}

int spool_paused_decode(struct span text, const unsigned char key[SPOOL_KEY], struct span names[SPOOL_PAUSED_MAX], size_t *count, struct err *err)
{
	*count = 0;
	if (text.len > SPOOL_PAUSED_SIZE || !seal_take(&text, key, SEAL_PAUSED) || !span_startswith(text, first_line))
		return err_set(err, E_CORRUPT, "the checksum does not fit: the list of paused destinations was changed, or cut");
	text = span_from(text, first_line.len);
	while (text.len > 0) {
		size_t end = span_find(text, '\n');
		struct span name = span_sub(text, 0, end);

		if (end == text.len || *count == SPOOL_PAUSED_MAX || !spool_paused_is_name(name))
			return err_set(err, E_CORRUPT, "a line of the list of paused destinations is no name of one");
		names[(*count)++] = name;
		text = span_from(text, end + 1);
	}
	return 0;
}
