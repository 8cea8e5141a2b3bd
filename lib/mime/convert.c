/*
 * First a plan is made: which octets of the message are copied, encoded anew, or replaced by a line of ours, in the order of the
 * message. Then it is carried out piece by piece.
 */
#include "mime/convert.h"

#include "mime/encode.h"
#include "mime/structure.h"

#include <stdlib.h>

enum { INPUT_PIECE = 4 * 1024, BOUNDARY_MAX = 200 };

enum how {
	HOW_COPY,
	HOW_ENCODE, /* `from` undone, `to` made */
	HOW_SCRUB,  /* outside of all parts: lines that are not fit are left out */
	HOW_LINE,   /* a line of ours */
};

struct segment {
	struct segment *next;
	enum how how;
	struct span text; /* of the message, or ours */
	enum mime_encoding from, to;
};

struct mime_converter {
	struct span message;
	struct pool *pool;
	struct segment *first, **tail;
	struct segment *version; /* where MIME-Version would stand */
	bool starved;
	struct mime_conversion facts;
	/* under way */
	struct segment *current;
	bool begun;
	size_t at; /* octets of the current segment that are done */
	struct mime_decoder decoder;
	struct mime_encoder encoder;
	struct buf decoded;
};

/* ---- what is not fit ---- */

enum { FAULT_EIGHT = 1, FAULT_NUL = 2, FAULT_BARE = 4, FAULT_LONG = 8 };

static unsigned faults_of(struct span s)
{
	unsigned faults = 0;
	size_t line = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '\r' && i + 1 < s.len && s.ptr[i + 1] == '\n') {
			line = 0;
			i++;
			continue;
		}
		if (c >= 0x80)
			faults |= FAULT_EIGHT;
		else if (c == '\0')
			faults |= FAULT_NUL;
		else if (c == '\r' || c == '\n')
			faults |= FAULT_BARE;
		line = c == '\n' ? 0 : line + 1;
		if (line > MIME_TEXT_LINE_MAX)
			faults |= FAULT_LONG;
	}
	return faults;
}

/* ---- the plan ---- */

static struct segment *plan(struct mime_converter *c, enum how how, struct span text)
{
	struct segment *s = pool_new_object(c->pool, struct segment);

	if (s == NULL) {
		c->starved = true;
		return NULL;
	}
	s->how = how;
	s->text = text;
	*c->tail = s;
	c->tail = &s->next;
	return s;
}

static bool is_signed(const struct mime_part *part)
{
	for (; part != NULL; part = part->parent)
		if (part->kind == MIME_MULTIPART && span_caseeq(part->content.subtype, SPAN_LIT("signed")))
			return true;
	return false;
}

static void note_change(struct mime_converter *c, const struct mime_part *part)
{
	c->facts.changed = true;
	c->facts.signature_broken |= is_signed(part);
}

/* Octets of the empty line that ends a header section; 0 when it does not end. */
static size_t blank_len(struct span header)
{
	size_t n = header.len;

	if (n == 0 || header.ptr[n - 1] != '\n')
		return 0;
	if (n == 1 || header.ptr[n - 2] == '\n')
		return 1;
	return header.ptr[n - 2] == '\r' && (n == 2 || header.ptr[n - 3] == '\n') ? 2 : 0;
}

static const char *const encoding_lines[] = {
    [MIME_ENCODING_NONE] = "Content-Transfer-Encoding: 7bit\r\n",
    [MIME_ENCODING_BASE64] = "Content-Transfer-Encoding: base64\r\n",
    [MIME_ENCODING_QUOTED_PRINTABLE] = "Content-Transfer-Encoding: quoted-printable\r\n",
};

/* The fields copied, with this encoding in place of what is said of one. */
static void plan_fields_with(struct mime_converter *c, struct span header, enum mime_encoding encoding)
{
	struct span rest = header, copied = header;
	struct mime_field field;
	bool said = false;

	while (mime_field_next(&rest, &field)) {
		if (!span_caseeq(field.name, SPAN_LIT("Content-Transfer-Encoding")))
			continue;
		plan(c, HOW_COPY, span_of(copied.ptr, (size_t)(field.whole.ptr - copied.ptr)));
		if (!said)
			plan(c, HOW_LINE, span_str(encoding_lines[encoding]));
		said = true;
		copied = span_from(header, (size_t)(field.whole.ptr - header.ptr) + field.whole.len);
	}
	plan(c, HOW_COPY, copied);
	if (!said)
		plan(c, HOW_LINE, span_str(encoding_lines[encoding]));
}

static void plan_header(struct mime_converter *c, const struct mime_part *part, bool change, enum mime_encoding encoding)
{
	struct span header = mime_part_header(c->message, part);
	size_t blank = blank_len(header);
	struct span fields = span_sub(header, 0, header.len - blank);
	struct mime_field field;

	if (faults_of(header) & (FAULT_EIGHT | FAULT_NUL | FAULT_LONG))
		c->facts.left = true;
	if (change) {
		note_change(c, part);
		plan_fields_with(c, fields, encoding);
	} else {
		plan(c, HOW_COPY, fields);
	}
	if (part->parent == NULL && blank > 0 && !mime_field_find(header, SPAN_LIT("MIME-Version"), &field))
		c->version = plan(c, HOW_LINE, span_str(""));
	plan(c, HOW_COPY, span_from(header, fields.len));
}

/* The value of Content-Transfer-Encoding; empty when there is none. */
static struct span encoding_of(const struct mime_converter *c, const struct mime_part *part)
{
	struct mime_field field;

	if (!mime_field_find(mime_part_header(c->message, part), SPAN_LIT("Content-Transfer-Encoding"), &field))
		return span_str("");
	return span_trim(field.value);
}

/* "8bit" and "binary" of what is 7 bit, or will be. No signature is broken for the word alone. */
static bool is_to_be_renamed(const struct mime_part *part, struct span encoding)
{
	return (span_startscase(encoding, SPAN_LIT("8bit")) || span_startscase(encoding, SPAN_LIT("binary"))) && !is_signed(part);
}

static size_t end_of(const struct mime_part *part)
{
	return part->body_offset + part->body_size;
}

/* A message without a body within another ends with the line end that stands before the boundary: the encoded one has none. */
static bool has_no_end(const struct mime_converter *c, const struct mime_part *part)
{
	size_t end = end_of(part);

	return end < c->message.len && c->message.ptr[end] != '\r' && c->message.ptr[end] != '\n';
}

static void plan_leaf(struct mime_converter *c, const struct mime_part *part)
{
	struct span body = span_sub(c->message, part->body_offset, part->body_size), encoding = encoding_of(c, part);
	enum mime_encoding from = mime_encoding_find(encoding), to = from;
	struct segment *s;

	if (faults_of(body) == 0) {
		plan_header(c, part, is_to_be_renamed(part, encoding), MIME_ENCODING_NONE);
		plan(c, HOW_COPY, body);
		return;
	}
	if (from == MIME_ENCODING_NONE)
		to = part->kind == MIME_TEXT ? MIME_ENCODING_QUOTED_PRINTABLE : MIME_ENCODING_BASE64;
	plan_header(c, part, true, to);
	s = plan(c, HOW_ENCODE, body);
	if (s != NULL) {
		s->from = from;
		s->to = to;
	}
	if (has_no_end(c, part))
		plan(c, HOW_LINE, SPAN_LIT("\r\n"));
}

/*
 * Between the children of a multipart: boundaries, and what nobody is shown. A boundary that is not fit itself cannot be told
 * apart from the rest, and has to stay.
 */
static void plan_gap(struct mime_converter *c, const struct mime_part *multipart, size_t begin, size_t end)
{
	struct span gap = span_sub(c->message, begin, end - begin), boundary = mime_content_parameter(&multipart->content, SPAN_LIT("boundary"));
	bool fit = boundary.len <= BOUNDARY_MAX && faults_of(boundary) == 0;
	bool faulty = faults_of(gap) & (FAULT_EIGHT | FAULT_NUL | FAULT_LONG);

	if (faulty && fit) {
		note_change(c, multipart);
		c->facts.left_out = true;
	} else if (faulty) {
		c->facts.left = true;
	}
	plan(c, faulty && fit ? HOW_SCRUB : HOW_COPY, gap);
}

/* message/global may be encoded itself (RFC 6532 section 3.7), which keeps its header fields as they are; message/rfc822 may not. */
static bool is_composite(const struct mime_part *part)
{
	if (part->first_child == NULL)
		return false;
	return part->kind == MIME_MULTIPART || !span_caseeq(part->content.subtype, SPAN_LIT("global"));
}

/* Behind a part: what comes before its next sibling, or before its parent's end, and so on upwards. The next part to look at. */
static const struct mime_part *leave(struct mime_converter *c, const struct mime_part *part)
{
	while (part->parent != NULL) {
		const struct mime_part *parent = part->parent;

		if (parent->kind == MIME_MULTIPART)
			plan_gap(c, parent, end_of(part), part->next != NULL ? part->next->header_offset : end_of(parent));
		if (part->next != NULL)
			return part->next;
		part = parent;
	}
	return NULL;
}

static void plan_all(struct mime_converter *c, const struct mime_part *root)
{
	const struct mime_part *part = root;

	while (part != NULL && !c->starved) {
		if (!is_composite(part)) {
			plan_leaf(c, part);
			part = leave(c, part);
			continue;
		}
		plan_header(c, part, is_to_be_renamed(part, encoding_of(c, part)), MIME_ENCODING_NONE);
		if (part->kind == MIME_MULTIPART)
			plan_gap(c, part, part->body_offset, part->first_child->header_offset);
		part = part->first_child;
	}
	if (c->facts.changed && c->version != NULL)
		c->version->text = SPAN_LIT("MIME-Version: 1.0\r\n");
}

/* A message that is fit stays as it is, whatever it says of itself. */
static bool make_plan(struct mime_converter *c)
{
	struct mime_part *root;

	if (c->pool == NULL)
		return false;
	if (faults_of(c->message) == 0) {
		plan(c, HOW_COPY, c->message);
	} else {
		root = mime_structure_parse(c->message, c->pool);
		if (root == NULL)
			return false;
		plan_all(c, root);
	}
	return !c->starved && !pool_starved(c->pool);
}

struct mime_converter *mime_converter_new(struct span message)
{
	struct mime_converter *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->message = message;
	c->tail = &c->first;
	c->pool = pool_new(NULL, MIME_MEMORY_MAX);
	buf_init(&c->decoded, 2 * INPUT_PIECE);
	if (make_plan(c))
		c->current = c->first;
	else
		mime_converter_free(&c);
	return c;
}

void mime_converter_free(struct mime_converter **cp)
{
	struct mime_converter *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	pool_free(&c->pool);
	buf_fini(&c->decoded);
	free(c);
}

const struct mime_conversion *mime_converter_facts(const struct mime_converter *c)
{
	return &c->facts;
}

/* ---- carried out ---- */

/* A boundary may be too long for the blanks behind it. */
static struct span without_blanks_behind(struct span line)
{
	while (line.len > 0 && strchr(" \t\r\n", line.ptr[line.len - 1]) != NULL && line.ptr[line.len - 1] != '\0')
		line.len--;
	return line;
}

/* A whole line, or what is left of it; returns its octets. Whatever is written in its place might look like a boundary: nothing is. */
static size_t scrub_line(struct mime_converter *c, struct span rest, struct buf *out)
{
	struct span line = span_sub(rest, 0, span_find(rest, '\n') + 1), text = without_blanks_behind(line);

	if ((faults_of(line) & ~(unsigned)FAULT_BARE) == 0) {
		mime_encode(&c->encoder, line, out);
	} else if (span_startswith(text, SPAN_LIT("--")) && (faults_of(text) & ~(unsigned)FAULT_BARE) == 0) {
		mime_encode(&c->encoder, text, out);
		mime_encode(&c->encoder, SPAN_LIT("\r\n"), out);
	}
	return line.len;
}

static void begin_segment(struct mime_converter *c, const struct segment *s)
{
	c->begun = true;
	c->at = 0;
	mime_decoder_init(&c->decoder, s->from);
	mime_encoder_init(&c->encoder, s->to);
}

/* Returns the octets of it that are done. */
static size_t write_piece(struct mime_converter *c, const struct segment *s, size_t max, struct buf *out)
{
	struct span piece = span_sub(s->text, c->at, max);

	switch (s->how) {
	case HOW_SCRUB:
		return scrub_line(c, span_from(s->text, c->at), out);
	case HOW_ENCODE:
		buf_clear(&c->decoded);
		mime_decode(&c->decoder, piece, &c->decoded);
		mime_encode(&c->encoder, buf_span(&c->decoded), out);
		break;
	case HOW_COPY:
	case HOW_LINE:
		mime_encode(&c->encoder, piece, out);
		break;
	}
	return piece.len;
}

static void end_segment(struct mime_converter *c, struct buf *out)
{
	buf_clear(&c->decoded);
	mime_decode_end(&c->decoder, &c->decoded);
	mime_encode(&c->encoder, buf_span(&c->decoded), out);
	mime_encode_end(&c->encoder, out);
	c->current = c->current->next;
	c->begun = false;
}

int mime_converter_next(struct mime_converter *c, struct buf *out)
{
	for (size_t done = 0; c->current != NULL && done < INPUT_PIECE;) {
		size_t taken;

		if (!c->begun)
			begin_segment(c, c->current);
		taken = write_piece(c, c->current, INPUT_PIECE - done, out);
		c->at += taken;
		done += taken + 1; /* a plan of empty segments ends as well */
		if (c->at == c->current->text.len)
			end_segment(c, out);
		if (c->decoded.starved || buf_failed(out))
			return E_NOMEM;
	}
	return c->current != NULL;
}
