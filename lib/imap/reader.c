#include "imap/reader.h"

bool imap_literal_find(struct span line, uint64_t *size, bool *sync, bool *is_binary)
{
	size_t open = line.len;
	struct span digits;

	if (line.len < 3 || line.ptr[line.len - 1] != '}')
		return false;
	while (open > 0 && line.ptr[open - 1] != '{')
		open--;
	if (open == 0)
		return false;
	digits = span_sub(line, open, line.len - 1 - open);
	*sync = digits.len == 0 || digits.ptr[digits.len - 1] != '+';
	if (!*sync)
		digits.len--;
	*is_binary = open >= 2 && line.ptr[open - 2] == '~';
	return span_u64(digits, UINT64_MAX / 2, size);
}

void imap_reader_init(struct imap_reader *reader, size_t line_max, size_t literals_max)
{
	*reader = (struct imap_reader){.line_max = line_max, .literals_max = literals_max};
}

/* A line ends in LF; the CR before it may be missing. */
enum imap_read imap_reader_look(struct imap_reader *reader, struct span input, size_t *len)
{
	struct span rest, line;
	size_t end;

	if (input.len <= reader->at)
		return IMAP_READ_MORE; /* a literal is not complete */
	rest = span_from(input, reader->at);
	end = span_find(rest, '\n');
	if (reader->line + end > reader->line_max)
		return IMAP_READ_TOO_LONG;
	if (end == rest.len)
		return IMAP_READ_MORE;
	line = span_sub(rest, 0, end);
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	*len = reader->at + end + 1;
	reader->literal = 0;
	return imap_literal_find(line, &reader->literal, &reader->sync, &reader->is_binary) ? IMAP_READ_LITERAL
											   : IMAP_READ_COMMAND;
}

bool imap_reader_accept(struct imap_reader *reader, size_t len)
{
	if (reader->literal > reader->literals_max || reader->kept + reader->literal > reader->literals_max)
		return false;
	reader->kept += (size_t)reader->literal;
	reader->line += len - reader->at;
	reader->at = len + (size_t)reader->literal;
	return true;
}

void imap_reader_reset(struct imap_reader *reader)
{
	imap_reader_init(reader, reader->line_max, reader->literals_max);
}
