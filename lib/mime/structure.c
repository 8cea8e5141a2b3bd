#include "mime/structure.h"

struct walker {
	struct span message;
	struct pool *pool;
	struct mime_part *root, *current; /* the part whose header or body is being read */
	bool in_header;
	bool failed; /* out of memory */
	size_t parts;
	size_t line_count;	 /* line ends passed */
	unsigned open_boundaries; /* multiparts on the way from root to current */
};

static struct mime_part *part_new(struct walker *w, struct mime_part *parent, size_t offset)
{
	struct mime_part *part = pool_new_object(w->pool, struct mime_part);

	if (part == NULL)
		return NULL;
	part->parent = parent;
	part->header_offset = offset;
	part->depth = parent ? parent->depth + 1 : 0;
	if (parent != NULL && parent->last_child != NULL)
		parent->last_child->next = part;
	else if (parent != NULL)
		parent->first_child = part;
	if (parent != NULL)
		parent->last_child = part;
	w->parts++;
	return part;
}

static void begin_part(struct walker *w, struct mime_part *parent, size_t offset)
{
	struct mime_part *part = part_new(w, parent, offset);

	w->failed = part == NULL;
	if (w->failed)
		return;
	w->current = part;
	w->in_header = true;
}

struct span mime_part_header(struct span message, const struct mime_part *part)
{
	return span_sub(message, part->header_offset, part->header_size);
}

bool mime_is_message(const struct mime_content *content)
{
	return span_caseeq(content->type, SPAN_LIT("message")) &&
	       (span_caseeq(content->subtype, SPAN_LIT("rfc822")) || span_caseeq(content->subtype, SPAN_LIT("global")));
}

/* RFC 2046 section 5.1.5: within multipart/digest the default is message/rfc822. */
static void default_type(struct mime_part *part)
{
	bool digest = part->parent != NULL && part->parent->kind == MIME_MULTIPART &&
		      span_caseeq(part->parent->content.subtype, SPAN_LIT("digest"));

	part->content.type = digest ? SPAN_LIT("message") : SPAN_LIT("text");
	part->content.subtype = digest ? SPAN_LIT("rfc822") : SPAN_LIT("plain");
	part->content.parameter_count = 0;
}

static void find_kind(struct walker *w, struct mime_part *part)
{
	struct mime_field field;
	bool deep = part->depth >= MIME_DEPTH_MAX || w->parts >= MIME_PARTS_MAX;

	if (!mime_field_find(mime_part_header(w->message, part), SPAN_LIT("Content-Type"), &field) ||
	    !mime_content_parse(field.value, w->pool, &part->content) || part->content.subtype.len == 0)
		default_type(part);
	if (span_caseeq(part->content.type, SPAN_LIT("text")))
		part->kind = MIME_TEXT;
	else if (!deep && mime_is_message(&part->content))
		part->kind = MIME_MESSAGE;
	else if (span_caseeq(part->content.type, SPAN_LIT("multipart"))) {
		part->boundary = mime_content_parameter(&part->content, SPAN_LIT("boundary"));
		part->kind = !deep && part->boundary.len > 0 && part->boundary.len <= 1000 ? MIME_MULTIPART : MIME_LEAF;
	}
}

/* The header section ended at `end`; the body begins there. */
static void body_begins(struct walker *w, size_t end)
{
	struct mime_part *part = w->current;

	part->header_size = end - part->header_offset;
	part->body_offset = end;
	part->lines = w->line_count;
	find_kind(w, part);
	w->in_header = false;
	if (part->kind == MIME_MULTIPART) {
		w->open_boundaries++;
	} else if (part->kind == MIME_MESSAGE) {
		begin_part(w, part, end);
	}
}

/* end, lines: where the part's parent ends too, unless the part only begins there. */
static void part_close(struct walker *w, struct mime_part *part, size_t *end, size_t *lines)
{
	bool open_header = w->in_header && part == w->current;
	size_t begin = open_header ? part->header_offset : part->body_offset;

	if (*end < begin) { /* the line end before the boundary is that of the line before the part */
		*end = begin;
		*lines = w->line_count;
	}
	if (open_header) { /* a header without an end: the body is empty */
		part->header_size = *end - part->header_offset;
		part->body_offset = *end;
		part->lines = *lines;
		find_kind(w, part);
		if (part->kind == MIME_MULTIPART)
			w->open_boundaries++;
		if (part->kind == MIME_MESSAGE)
			part->kind = MIME_LEAF; /* there is none in it */
	}
	part->body_size = *end - part->body_offset;
	part->lines = *lines - part->lines;
	if (part->kind == MIME_MULTIPART && part->boundary.ptr != NULL) {
		part->boundary = span_str(NULL);
		w->open_boundaries--;
	}
}

/* Does the line "--..." belong to an open multipart? closing: it ends it. */
static struct mime_part *match_boundary(struct walker *w, struct span line, bool *closing)
{
	struct span text = span_from(line, 2);

	while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1]) != NULL && text.ptr[text.len - 1] != '\0')
		text.len--;
	for (struct mime_part *p = w->current; p != NULL; p = p->parent) {
		struct span b = p->boundary;

		if (p->kind != MIME_MULTIPART || b.len == 0)
			continue;
		*closing = text.len == b.len + 2 && text.ptr[b.len] == '-' && text.ptr[b.len + 1] == '-';
		if ((text.len == b.len || *closing) && memcmp(text.ptr, b.ptr, b.len) == 0)
			return p;
	}
	return NULL;
}

/* Everything below `multipart` ends before the line end that belongs to the boundary. */
static void close_below(struct walker *w, struct mime_part *multipart, size_t line_start)
{
	size_t end = line_start, lines = w->line_count;

	if (w->current != multipart) {
		if (end > 0 && w->message.ptr[end - 1] == '\n') {
			end--;
			lines--;
		}
		if (end > 0 && w->message.ptr[end - 1] == '\r')
			end--;
	}
	while (w->current != multipart) {
		part_close(w, w->current, &end, &lines);
		w->in_header = false;
		w->current = w->current->parent;
	}
}

static void at_boundary(struct walker *w, struct mime_part *multipart, bool closing, size_t line_start, size_t line_end)
{
	close_below(w, multipart, line_start);
	w->in_header = false;
	if (closing || w->parts >= MIME_PARTS_MAX) {
		if (closing)
			multipart->boundary = span_of("", 0); /* what follows is epilogue; it still counts as open */
		return;
	}
	begin_part(w, multipart, line_end);
}

static void take_line(struct walker *w, size_t start, size_t end)
{
	struct span line = span_sub(w->message, start, end - start);
	struct mime_part *multipart = NULL;
	size_t line_ends = line.ptr[line.len - 1] == '\n';
	bool closing = false;

	if (w->open_boundaries > 0 && line.len > 2 && line.ptr[0] == '-' && line.ptr[1] == '-')
		multipart = match_boundary(w, line, &closing);
	if (multipart != NULL) {
		at_boundary(w, multipart, closing, start, end);
		w->line_count += line_ends;
		return;
	}
	w->line_count += line_ends;
	if (w->in_header && (line.ptr[0] == '\n' || (line.ptr[0] == '\r' && line.len == 2)))
		body_begins(w, end);
}

/* Where nothing but a boundary can matter, the next line of interest is found by its dashes. */
static size_t skip_body(const struct walker *w, size_t at, size_t *lines)
{
	const char *p = w->message.ptr;

	while (at < w->message.len) {
		const char *lf;

		if (w->open_boundaries > 0 && p[at] == '-' && at + 1 < w->message.len && p[at + 1] == '-')
			return at;
		lf = memchr(p + at, '\n', w->message.len - at);
		if (lf == NULL)
			return w->message.len;
		at = (size_t)(lf - p) + 1;
		(*lines)++;
	}
	return at;
}

struct mime_part *mime_structure_parse(struct span message, struct pool *pool)
{
	struct walker w = {.message = message, .pool = pool, .in_header = true};
	size_t at = 0, end = message.len;

	w.root = w.current = part_new(&w, NULL, 0);
	if (w.root == NULL)
		return NULL;
	while (at < message.len) {
		size_t line_end;

		if (!w.in_header) {
			at = skip_body(&w, at, &w.line_count);
			if (at >= message.len)
				break;
		}
		line_end = at + span_find(span_from(message, at), '\n');
		line_end = line_end < message.len ? line_end + 1 : line_end;
		take_line(&w, at, line_end);
		if (w.failed)
			return NULL;
		at = line_end;
	}
	while (w.current != NULL) {
		part_close(&w, w.current, &end, &w.line_count);
		w.in_header = false;
		w.current = w.current->parent;
	}
	return w.root;
}
