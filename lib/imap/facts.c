#include "imap/facts.h"

#include "imap/body.h"
#include "mime/parts.h"

static struct span keep(struct pool *pool, struct buf *text)
{
	struct span s = pool_span(pool, buf_span(text));

	buf_clear(text);
	return s;
}

static size_t header_end(struct span message)
{
	size_t at = 0;

	while (at < message.len) {
		size_t len = span_find(span_from(message, at), '\n');
		bool empty = len == 0 || (len == 1 && message.ptr[at] == '\r');

		at += len < message.len - at ? len + 1 : len;
		if (empty)
			break;
	}
	return at;
}

/* What needs more memory than a message may cost is one opaque part: mail is delivered all the same. */
static struct mime_part *parse_opaque(struct span message, struct pool *scratch)
{
	struct mime_part *root = pool_new_object(scratch, struct mime_part);
	size_t end = header_end(message);

	if (root != NULL)
		*root = (struct mime_part){.kind = MIME_LEAF, .content = {.type = SPAN_LIT("application"), .subtype = SPAN_LIT("octet-stream")},
		    .header_size = end, .body_offset = end, .body_size = message.len - end};
	return root;
}

/* SEARCH takes the day that the sender's clock showed (RFC 3501 section 6.4.4: disregarding time and timezone). */
static int64_t sent_of(struct span header)
{
	struct mime_field date;
	int64_t when, zone;

	return mime_field_find(header, SPAN_LIT("Date"), &date) && mime_date_parse(date.value, &when, &zone) ? when + zone : INT64_MIN;
}

int imap_facts_find(struct span message, struct pool *pool, struct imap_facts *out, struct err *err)
{
	struct pool *scratch = pool_new(NULL, MIME_MEMORY_MAX);
	struct mime_part *root = scratch ? mime_structure_parse(message, scratch) : NULL;
	struct span header;
	struct buf text;
	bool starved;

	*out = (struct imap_facts){0};
	if (root == NULL && scratch != NULL && !pool_starved(scratch)) {
		pool_reset(scratch);
		root = parse_opaque(message, scratch);
	}
	if (root == NULL) {
		pool_free(&scratch);
		return err_set(err, E_NOMEM, "no memory to look into the message");
	}
	buf_init(&text, IMAP_TEXT_MAX);
	header = mime_part_header(message, root);
	out->header_size = (uint32_t)root->header_size;
	out->sent = sent_of(header);
	imap_envelope_format(header, &text);
	if (buf_failed(&text)) {
		buf_clear(&text);
		buf_add_str(&text, "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
	}
	out->envelope = keep(pool, &text);
	imap_body_format(message, root, false, &text);
	out->body = keep(pool, &text);
	imap_body_format(message, root, true, &text);
	out->bodystructure = keep(pool, &text);
	mime_parts_encode(root, &text);
	out->parts = keep(pool, &text);
	/* What was left out would be left out for ever: these are kept with the message. */
	starved = text.starved || pool_starved(scratch);
	buf_fini(&text);
	pool_free(&scratch);
	return !starved && out->parts.ptr && out->bodystructure.ptr && out->envelope.ptr && out->body.ptr ? 0 : err_set(err, E_NOMEM, "out of memory");
}
