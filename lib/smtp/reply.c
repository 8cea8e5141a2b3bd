#include "smtp/reply.h"

#include "base/utf8.h"
#include "smtp/framing.h"

#include <stdio.h>

enum { REPLY_CODE = 3 };

static bool is_digits(struct span s, size_t max)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_digit(s.ptr[i]))
			return false;
	return s.len > 0 && s.len <= max;
}

/* "250", and what may be behind it: SP, "-" or nothing. 0: it is none. */
static int take_code(struct span line)
{
	int code = 0;

	if (!is_digits(span_sub(line, 0, REPLY_CODE), REPLY_CODE) || line.len < REPLY_CODE || line.ptr[0] < '2' || line.ptr[0] > '5')
		return 0;
	if (line.len > REPLY_CODE && line.ptr[REPLY_CODE] != ' ' && line.ptr[REPLY_CODE] != '-')
		return 0;
	for (size_t i = 0; i < REPLY_CODE; i++)
		code = code * 10 + (line.ptr[i] - '0');
	return code;
}

/*
 * status-code = class "." subject "." detail (RFC 3463 section 2) in front of the text, and a blank or nothing behind it
 * (RFC 2034 section 4). 0: there is none, or it is not of the reply's class and so not to be believed.
 */
static size_t enhanced_len(struct span text, int code)
{
	struct span word = span_sub(text, 0, span_find(text, ' '));
	size_t second;

	if (word.len < 5 || word.len >= SMTP_ENHANCED_MAX || word.ptr[0] != '0' + code / 100 || word.ptr[1] != '.')
		return 0;
	second = 2 + span_find(span_from(word, 2), '.');
	if (!is_digits(span_sub(word, 2, second - 2), 3) || !is_digits(span_from(word, second + 1), 3))
		return 0;
	return word.len;
}

/* For people: one line, printable. What does not fit is left out, whole characters of it. */
static void keep_text(struct smtp_reply_reader *r, struct span text)
{
	text = span_trim(text);
	if (r->text > 0 && text.len > 0 && r->text < SMTP_REPLY_TEXT_MAX && !r->full)
		r->reply.text[r->text++] = ' ';
	while (text.len > 0) {
		struct span rest = text;
		int32_t cp = utf8_next(&rest);
		size_t len = text.len - rest.len;

		r->full |= r->text + len > SMTP_REPLY_TEXT_MAX;
		if (r->full)
			break;
		if (cp < ' ' || (cp >= 0x7f && cp < 0xa0)) {
			r->reply.text[r->text++] = cp == '\t' ? ' ' : '?';
		} else {
			memcpy(r->reply.text + r->text, text.ptr, len);
			r->text += len;
		}
		text = rest;
	}
	r->reply.text[r->text] = '\0';
}

static int begin_line(struct smtp_reply_reader *r, struct span line, struct err *err)
{
	int code = take_code(line);

	if (r->lines == 0)
		*r = (struct smtp_reply_reader){.reply.code = code};
	if (code == 0)
		return err_set(err, E_REMOTE, "The server's answer is no reply: a line does not begin with a code");
	if (code != r->reply.code)
		return err_set(err, E_REMOTE, "The lines of one reply have different codes, %d and %d", r->reply.code, code);
	return 0;
}

int smtp_reply_next(struct smtp_reply_reader *r, struct span *input, struct span *text, bool *last, struct err *err)
{
	size_t end = span_find(*input, '\n'), len, enhanced;
	struct err why = {0};
	struct span line;

	if (end >= SMTP_REPLY_LINE_MAX)
		return err_set(err, E_REMOTE, "A line of the server's reply is longer than %d octets", SMTP_REPLY_LINE_MAX);
	len = end + 1;
	switch (smtp_line_next(input, &line, &why)) {
	case 0:
		return 0;
	case 1:
		break;
	default:
		return err_set(err, E_REMOTE, "The server's reply is malformed: %s", why.text);
	}
	if (begin_line(r, line, err) != 0)
		return E_REMOTE;
	if (len > SMTP_REPLY_MAX - r->octets)
		return err_set(err, E_REMOTE, "The server's reply is longer than %d octets", SMTP_REPLY_MAX);
	r->octets += len;
	*text = span_from(line, REPLY_CODE + 1);
	enhanced = enhanced_len(*text, r->reply.code);
	if (enhanced > 0 && r->reply.enhanced[0] == '\0')
		span_copy(span_sub(*text, 0, enhanced), r->reply.enhanced, sizeof(r->reply.enhanced));
	keep_text(r, span_from(*text, enhanced));
	*last = line.len == REPLY_CODE || line.ptr[REPLY_CODE] == ' ';
	r->lines = *last ? 0 : r->lines + 1;
	return 1;
}
