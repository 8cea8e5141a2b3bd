/* DATA and BDAT: the content on its way, its limits, its end. */
#include "smtp/server_private.h"

#include "base/utf8.h"

#include <stdio.h>

static void chunk_end(struct smtp_server *s);
static void refuse_content(struct smtp_server *s);

static void content_begin(struct smtp_server *s)
{
	s->frame = (struct smtp_frame){.state = FRAME_LINE_START, .line_max = SMTP_TEXT_LINE_MAX};
	s->in_header = true;
	s->has_parts = false;
	s->chunk_cr = false;
	s->header_len = 0;
	s->received_lines = 0;
	s->tls_required = (struct tls_required){0};
	s->line_len = 0;
	s->drop_code = 0;
}

void smtp_command_data(struct smtp_server *s, struct span args)
{
	if (span_trim(args).len > 0) {
		smtp_refuse(s, 501, "5.5.4", "DATA takes no argument");
		return;
	}
	/* RFC 3030 section 3: lines mean nothing in a BINARYMIME message. */
	if (s->tx->body == SMTP_BODY_BINARYMIME) {
		smtp_refuse(s, 503, "5.5.1", "BINARYMIME goes with BDAT only");
		return;
	}
	content_begin(s);
	s->chunk_left = 0;
	smtp_set_state(s, SMTP_WAIT_READY);
	s->frame.state = FRAME_LINE_START;
	s->chunk_last = false;
	s->callbacks->data_begin(s->arg, s);
}

/* bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ] */
static bool parse_bdat(struct smtp_server *s, struct span args)
{
	size_t blank = span_find(args, ' ');
	struct span last = span_trim(span_from(args, blank));

	s->chunk_last = span_caseeq(last, SPAN_LIT("LAST"));
	return span_u64(span_sub(args, 0, blank), UINT64_MAX / 2, &s->chunk_left) && (last.len == 0 || s->chunk_last);
}

static void drop(struct smtp_server *s, int code, const char *text)
{
	if (s->drop_code != 0)
		return;
	s->drop_code = code;
	err_set(&s->drop, code, "%s", text);
}

static const char chunk_wrong[] = "Bare CR, bare LF or NUL in a chunk, which needs BODY=BINARYMIME";

/*
 * A chunk that cannot fit is refused before it is stored; what of it is taken is only thrown away. One that is larger
 * than any message is not worth its time.
 */
static void chunk_begin(struct smtp_server *s)
{
	smtp_set_state(s, SMTP_CHUNK);
	if (s->chunk_left > s->config.limits.message_size - s->tx->size)
		drop(s, E_TOOBIG, "The message is too large");
	if (s->chunk_left > s->config.limits.message_size) {
		refuse_content(s);
		s->state = SMTP_ENDED;
	} else if (s->chunk_left == 0) {
		chunk_end(s);
	}
}

/*
 * The octets of a chunk follow whatever is answered, so that they must be taken
 * even when the command is refused: they would be read as commands.
 */
void smtp_command_bdat(struct smtp_server *s, struct span args)
{
	bool first = s->state != SMTP_BDAT;

	if (!parse_bdat(s, args)) {
		smtp_end_transaction(s);
		smtp_refuse(s, 501, "5.5.4", "BDAT takes a size and perhaps LAST");
		if (s->state != SMTP_ENDED) {
			smtp_reply(s, 421, "4.7.0", "The size of the chunk is not known, closing");
			s->state = SMTP_ENDED;
		}
		return;
	}
	if (s->state != SMTP_RCPT && s->state != SMTP_BDAT) {
		if (s->chunk_left > s->config.limits.message_size) {
			smtp_end_transaction(s);
			smtp_refuse(s, 552, "5.3.4", "The chunk is larger than any message may be");
			s->state = SMTP_ENDED;
			return;
		}
		s->drop_code = E_PROTO;
		err_set(&s->drop, E_PROTO, "BDAT is out of order: RCPT first");
		s->state = SMTP_CHUNK; /* swallowed, then refused */
		if (s->chunk_left == 0)
			chunk_end(s);
		return;
	}
	if (!first) {
		chunk_begin(s);
		return;
	}
	content_begin(s);
	smtp_set_state(s, SMTP_WAIT_READY);
	s->frame.state = FRAME_END; /* no dots in chunks */
	s->callbacks->data_begin(s->arg, s);
}

void smtp_server_data_ready(struct smtp_server *s, int code, const struct err *err)
{
	bool chunked = s->frame.state == FRAME_END;

	invariant(s->state == SMTP_WAIT_READY);
	s->started = code == 0;
	if (chunked) {
		if (code != 0)
			drop(s, code, err->text);
		chunk_begin(s);
		return;
	}
	if (code != 0) {
		smtp_end_transaction(s);
		smtp_set_state(s, SMTP_READY);
		smtp_refuse(s, err_smtp_code(code), err_smtp_enhanced(code), "%s", err->text);
		s->data_refused = true;
		return;
	}
	smtp_set_state(s, SMTP_DATA);
	smtp_reply(s, 354, NULL, "End with CR LF . CR LF");
}

/* ---- the header section, looked at while it passes ---- */

/* A value that is folded, or longer than what is looked at, may say so too. */
static bool names_parts(struct span line)
{
	struct span field = SPAN_LIT("Content-Type:");
	struct span value = span_trim(span_from(line, field.len));

	return span_startscase(line, field) && (value.len == 0 || span_startscase(value, SPAN_LIT("multipart/")) || span_startscase(value, SPAN_LIT("message/")));
}

/*
 * RFC 6531 section 3.5: which of a message is more than 8BITMIME has room for, so that only hosts with SMTPUTF8 may get it: its header section,
 * and those of its parts. Clients ask for SMTPUTF8 with messages that need none of it.
 */
static void watch_utf8(struct smtp_server *s, struct span bytes)
{
	if (s->tx->smtputf8 && (s->in_header || s->has_parts) && !utf8_is_ascii(bytes))
		s->tx->utf8_content = true;
}

/* The LF of a header line. False: with it there are too many Received lines. */
static bool header_line_end(struct smtp_server *s)
{
	struct span line = span_of(s->line_head, s->line_len < sizeof(s->line_head) ? s->line_len : sizeof(s->line_head));

	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	if (span_startscase(line, SPAN_LIT("Received:")) && ++s->received_lines > s->config.limits.received_lines)
		return false;
	if (line.len == 0)
		s->in_header = false;
	s->has_parts |= names_parts(line);
	tls_required_line(&s->tls_required, line);
	s->tx->tls_optional = s->tls_required.no;
	s->line_len = 0;
	return true;
}

static void header_line_add(struct smtp_server *s, struct span part)
{
	size_t room = s->line_len < sizeof(s->line_head) ? sizeof(s->line_head) - s->line_len : 0;

	watch_utf8(s, part);
	memcpy(s->line_head + sizeof(s->line_head) - room, part.ptr, part.len < room ? part.len : room);
	s->line_len += part.len;
}

/* The octets before the first that the header section may not have; what is wrong with that one is remembered. */
static size_t take_header(struct smtp_server *s, struct span bytes)
{
	struct span rest = bytes;

	while (rest.len > 0 && s->in_header) {
		size_t end = span_find(rest, '\n'), len = end < rest.len ? end + 1 : end;
		uint64_t room = s->config.limits.header_size - s->header_len;

		if (len > room) {
			drop(s, E_TOOBIG, "The header section is too large");
			return bytes.len - rest.len + (size_t)room;
		}
		header_line_add(s, span_sub(rest, 0, end));
		s->header_len += len;
		if (end < rest.len && !header_line_end(s)) {
			drop(s, E_LOOP, "Too many Received lines: the message is going in circles");
			return bytes.len - rest.len + end;
		}
		rest = span_from(rest, len);
	}
	return bytes.len;
}

/* In the order of the octets: what comes before one that cannot be taken is given, whatever pieces they came in. */
static void give(struct smtp_server *s, struct span bytes)
{
	struct span good = bytes;
	struct err err = {0};
	int r = 0;

	if (bytes.len == 0 || s->drop_code != 0)
		return;
	if (bytes.len > s->config.limits.message_size - s->tx->size)
		good.len = (size_t)(s->config.limits.message_size - s->tx->size);
	if (s->in_header)
		good.len = take_header(s, good);
	if (!s->in_header)
		watch_utf8(s, good);
	s->tx->size += good.len;
	if (good.len > 0)
		r = s->callbacks->data(s->arg, s, good, &err);
	if (r != 0) {
		s->drop_code = r;
		s->drop = err;
	} else if (good.len < bytes.len) {
		drop(s, E_TOOBIG, "The message is too large");
	}
}

/* RFC 2033 sections 4.2 and 4.3: one for each recipient, but one to a chunk that is not the last. */
static uint32_t replies_due(const struct smtp_server *s)
{
	bool last = s->state == SMTP_DATA || s->chunk_last;

	return s->config.lmtp && s->tx != NULL && last ? s->tx->recipient_count : 1;
}

static void refuse_content(struct smtp_server *s)
{
	struct err why = s->drop;
	int code = s->drop_code, smtp = err_smtp_code(code);
	uint32_t count = replies_due(s);
	bool greeted = s->helo[0] != '\0';

	smtp_end_transaction(s);
	s->state = greeted ? SMTP_READY : SMTP_GREETED;
	if (count == 0)
		return;
	smtp_refuse_one(s, smtp, err_smtp_enhanced(code), span_str(why.text));
	for (uint32_t i = 1; i < count; i++)
		smtp_reply(s, smtp, err_smtp_enhanced(code), "%s", why.text);
	smtp_limit_errors(s);
}

static void content_end(struct smtp_server *s)
{
	if (s->drop_code != 0) {
		refuse_content(s);
		return;
	}
	s->answered = s->tx->recipients;
	smtp_set_state(s, SMTP_WAIT_DONE);
	s->callbacks->data_end(s->arg, s);
}

static int take_data(struct smtp_server *s, struct span *input)
{
	while (input->len > 0 && s->state == SMTP_DATA) {
		struct err err = {0};
		struct span out;
		int r = smtp_frame_next(&s->frame, input, &out, &err);

		if (r == E_TOOBIG) {
			/* Where the line ends is not known any more: nothing behind it can be trusted. */
			drop(s, E_CONTENT, err.text);
			refuse_content(s);
			s->state = SMTP_ENDED;
			return 0;
		}
		if (r != 0)
			return r;
		give(s, out);
		if (s->frame.state == FRAME_END)
			content_end(s);
	}
	return 0;
}

/*
 * RFC 3030 section 3: only BODY=BINARYMIME lets a chunk be anything but lines that end in CR LF. A bare CR or LF kept
 * here could end the message where it is sent on with DATA. Returns the octets before the first that is wrong.
 */
static size_t chunk_text(struct smtp_server *s, struct span part)
{
	for (size_t i = 0; i < part.len; i++) {
		if ((part.ptr[i] == '\n') != s->chunk_cr || part.ptr[i] == '\0')
			return i;
		s->chunk_cr = part.ptr[i] == '\r';
	}
	return part.len;
}

static void chunk_end(struct smtp_server *s)
{
	if (s->chunk_last && s->chunk_cr)
		drop(s, E_CONTENT, chunk_wrong);
	if (s->drop_code != 0) {
		refuse_content(s);
	} else if (s->chunk_last) {
		content_end(s);
	} else {
		smtp_set_state(s, SMTP_BDAT);
		smtp_reply(s, 250, "2.0.0", "Ok");
	}
}

static void take_chunk(struct smtp_server *s, struct span *input)
{
	struct span part = span_sub(*input, 0, s->chunk_left < input->len ? (size_t)s->chunk_left : input->len);

	if (s->drop_code == 0) {
		size_t good = s->tx->body != SMTP_BODY_BINARYMIME ? chunk_text(s, part) : part.len;

		give(s, span_sub(part, 0, good));
		if (good < part.len)
			drop(s, E_CONTENT, chunk_wrong);
	}
	s->chunk_left -= part.len;
	*input = span_from(*input, part.len);
}

int smtp_take_content(struct smtp_server *s, struct span *input)
{
	if (s->state == SMTP_DATA)
		return take_data(s, input);
	take_chunk(s, input);
	if (s->state == SMTP_CHUNK && s->chunk_left == 0)
		chunk_end(s);
	return 0;
}

/* With the last answer the owner has finished with it; that there were too many refusals is said after all of them. */
void smtp_server_data_done(struct smtp_server *s, int code, struct span text)
{
	struct smtp_recipient *next = s->config.lmtp && s->answered != NULL ? s->answered->next : NULL;

	invariant(s->state == SMTP_WAIT_DONE);
	if (code == 0) {
		s->idle = 0;
		smtp_reply(s, 250, "2.0.0", "%.*s", SPAN_ARG(text));
	} else if (s->config.lmtp) {
		smtp_refuse_delivery(s, code, text);
	} else {
		smtp_refuse_one(s, err_smtp_code(code), err_smtp_enhanced(code), text);
	}
	s->answered = next;
	if (next != NULL)
		return;
	s->started = false;
	smtp_end_transaction(s);
	smtp_set_state(s, SMTP_READY);
	smtp_limit_errors(s);
}
