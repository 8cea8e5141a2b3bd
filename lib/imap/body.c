#include "imap/body.h"

enum { BODY_POOL_MAX = 8 * 1024 * 1024 };

/* Where a multipart or a message has nothing inside: the grammar asks for something. */
static const char no_envelope[] = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
static const char no_body[] = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0)";

static void add_literal(struct span s, size_t nuls, struct buf *out)
{
	buf_printf(out, "{%zu}\r\n", s.len - nuls);
	while (nuls-- > 0) {
		size_t nul = span_find(s, '\0');

		buf_add_span(out, span_sub(s, 0, nul));
		s = span_from(s, nul + 1);
	}
	buf_add_span(out, s);
}

void imap_string_format(struct span s, struct buf *out)
{
	bool quotable = true;
	size_t nuls = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		nuls += c == '\0';
		quotable &= c == '\0' || (c >= ' ' && c < 0x7f);
	}
	if (!quotable) {
		add_literal(s, nuls, out);
		return;
	}
	buf_add_char(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			buf_add_char(out, '\\');
		if (s.ptr[i] != '\0')
			buf_add_char(out, s.ptr[i]);
	}
	buf_add_char(out, '"');
}

static void add_nstring(struct span s, struct buf *out)
{
	if (s.len == 0)
		buf_add_str(out, "NIL");
	else
		imap_string_format(s, out);
}

/* ---- the fields of a header section that are told, found in one walk: a hostile one has millions of lines ---- */

enum header_name {
	H_DATE, H_SUBJECT, H_FROM, H_SENDER, H_REPLY_TO, H_TO, H_CC, H_BCC, H_IN_REPLY_TO, H_MESSAGE_ID,
	H_CONTENT_ID, H_CONTENT_DESCRIPTION, H_CONTENT_ENCODING, H_CONTENT_MD5, H_CONTENT_DISPOSITION, H_CONTENT_LANGUAGE, H_CONTENT_LOCATION,
	H_COUNT
};

static const struct span header_names[H_COUNT] = {SPAN_LIT("Date"), SPAN_LIT("Subject"), SPAN_LIT("From"), SPAN_LIT("Sender"),
    SPAN_LIT("Reply-To"), SPAN_LIT("To"), SPAN_LIT("Cc"), SPAN_LIT("Bcc"), SPAN_LIT("In-Reply-To"), SPAN_LIT("Message-ID"),
    SPAN_LIT("Content-ID"), SPAN_LIT("Content-Description"), SPAN_LIT("Content-Transfer-Encoding"), SPAN_LIT("Content-MD5"),
    SPAN_LIT("Content-Disposition"), SPAN_LIT("Content-Language"), SPAN_LIT("Content-Location")};

struct header {
	struct span values[H_COUNT]; /* of the first of each name; ptr NULL: there is none */
};

static void header_read(struct span section, struct header *out)
{
	struct mime_field field;

	*out = (struct header){.values = {{0}}};
	while (mime_field_next(&section, &field))
		for (size_t i = 0; i < H_COUNT; i++)
			if (field.name.len == header_names[i].len && out->values[i].ptr == NULL && span_caseeq(field.name, header_names[i])) {
				out->values[i] = field.value;
				break;
			}
}

/* A field's value without folding; a NUL never reaches a client. */
static void add_field(const struct header *header, enum header_name name, struct buf *out)
{
	struct buf text;

	if (header->values[name].ptr == NULL) {
		buf_add_str(out, "NIL");
		return;
	}
	buf_init(&text, MIME_VALUE_MAX);
	mime_unfold(span_sub(header->values[name], 0, MIME_VALUE_MAX), &text);
	imap_string_format(buf_span(&text), out);
	out->starved |= text.starved;
	buf_fini(&text);
}

static void add_address(const struct mime_address *a, struct buf *out)
{
	buf_add_char(out, '(');
	if (a->kind == MIME_GROUP_END) {
		buf_add_str(out, "NIL NIL NIL NIL)");
		return;
	}
	if (a->kind == MIME_GROUP_BEGIN) {
		buf_add_str(out, "NIL NIL ");
		imap_string_format(a->name, out);
		buf_add_str(out, " NIL)");
		return;
	}
	add_nstring(a->name, out);
	buf_add_char(out, ' ');
	add_nstring(a->route, out);
	buf_add_char(out, ' ');
	add_nstring(a->mailbox, out);
	buf_add_char(out, ' ');
	imap_string_format(a->host, out);
	buf_add_char(out, ')');
}

/* False when there is no such field or it names nobody. */
static bool add_addresses(const struct header *header, enum header_name name, struct buf *out)
{
	struct mime_address *list;
	struct pool *pool;
	size_t count = 0;

	if (header->values[name].ptr == NULL)
		return false;
	pool = pool_new(NULL, BODY_POOL_MAX);
	if (pool != NULL)
		count = mime_addresses_parse(header->values[name], pool, &list);
	if (count > 0) {
		buf_add_char(out, '(');
		for (size_t i = 0; i < count; i++)
			add_address(&list[i], out);
		buf_add_char(out, ')');
	}
	out->starved |= pool == NULL || pool_starved(pool);
	pool_free(&pool);
	return count > 0;
}

static void add_addresses_or_nil(const struct header *header, enum header_name name, struct buf *out)
{
	if (!add_addresses(header, name, out))
		buf_add_str(out, "NIL");
}

void imap_envelope_format(struct span section, struct buf *out)
{
	struct header header;

	header_read(section, &header);
	buf_add_char(out, '(');
	add_field(&header, H_DATE, out);
	buf_add_char(out, ' ');
	add_field(&header, H_SUBJECT, out);
	buf_add_char(out, ' ');
	add_addresses_or_nil(&header, H_FROM, out);
	buf_add_char(out, ' ');
	/* RFC 3501: Sender and Reply-To are From's when they are missing. */
	if (!add_addresses(&header, H_SENDER, out))
		add_addresses_or_nil(&header, H_FROM, out);
	buf_add_char(out, ' ');
	if (!add_addresses(&header, H_REPLY_TO, out))
		add_addresses_or_nil(&header, H_FROM, out);
	buf_add_char(out, ' ');
	add_addresses_or_nil(&header, H_TO, out);
	buf_add_char(out, ' ');
	add_addresses_or_nil(&header, H_CC, out);
	buf_add_char(out, ' ');
	add_addresses_or_nil(&header, H_BCC, out);
	buf_add_char(out, ' ');
	add_field(&header, H_IN_REPLY_TO, out);
	buf_add_char(out, ' ');
	add_field(&header, H_MESSAGE_ID, out);
	buf_add_char(out, ')');
}

/* ---- body structures ---- */

static void add_parameters(const struct mime_content *content, struct buf *out)
{
	if (content->parameter_count == 0) {
		buf_add_str(out, "NIL");
		return;
	}
	buf_add_char(out, '(');
	for (size_t i = 0; i < content->parameter_count; i++) {
		if (i > 0)
			buf_add_char(out, ' ');
		imap_string_format(content->parameters[i].name, out);
		buf_add_char(out, ' ');
		imap_string_format(content->parameters[i].value, out);
	}
	buf_add_char(out, ')');
}

static void add_disposition(const struct header *header, struct pool *pool, struct buf *out)
{
	struct span value = header->values[H_CONTENT_DISPOSITION];
	struct mime_content content;

	if (value.ptr == NULL || !mime_content_parse(value, pool, &content)) {
		buf_add_str(out, "NIL");
		return;
	}
	buf_add_char(out, '(');
	imap_string_format(content.type, out);
	buf_add_char(out, ' ');
	add_parameters(&content, out);
	buf_add_char(out, ')');
}

/* body-ext: disposition, language, location; the last two behind what all share. */
static void add_extension(const struct header *header, struct pool *pool, struct buf *out)
{
	buf_add_char(out, ' ');
	add_disposition(header, pool, out);
	buf_add_char(out, ' ');
	add_field(header, H_CONTENT_LANGUAGE, out);
	buf_add_char(out, ' ');
	add_field(header, H_CONTENT_LOCATION, out);
}

static void add_encoding(const struct header *header, struct buf *out)
{
	if (span_trim(header->values[H_CONTENT_ENCODING]).len > 0)
		add_field(header, H_CONTENT_ENCODING, out);
	else
		buf_add_str(out, "\"7BIT\"");
}

static void add_text_charset(const struct mime_part *part, struct buf *out)
{
	if (part->kind == MIME_TEXT && part->content.parameter_count == 0)
		buf_add_str(out, "(\"CHARSET\" \"US-ASCII\")");
	else
		add_parameters(&part->content, out);
}

/* Also one that is not looked into, because it lies too deep: its type alone promises an envelope. */
static bool is_message(const struct mime_part *part)
{
	return mime_is_message(&part->content);
}

/* body-fields, and what text and message add. What stands inside a message comes between begin and end. */
static void single_begin(struct span message, const struct mime_part *part, struct buf *out)
{
	struct header header;

	header_read(mime_part_header(message, part), &header);
	buf_add_char(out, '(');
	imap_string_format(part->content.type, out);
	buf_add_char(out, ' ');
	imap_string_format(part->content.subtype, out);
	buf_add_char(out, ' ');
	add_text_charset(part, out);
	buf_add_char(out, ' ');
	add_field(&header, H_CONTENT_ID, out);
	buf_add_char(out, ' ');
	add_field(&header, H_CONTENT_DESCRIPTION, out);
	buf_add_char(out, ' ');
	add_encoding(&header, out);
	buf_printf(out, " %zu", part->body_size);
	if (part->kind == MIME_TEXT)
		buf_printf(out, " %zu", part->lines);
	if (is_message(part) && part->first_child != NULL) {
		buf_add_char(out, ' ');
		imap_envelope_format(mime_part_header(message, part->first_child), out);
		buf_add_char(out, ' ');
	} else if (is_message(part)) {
		buf_printf(out, " %s %s", no_envelope, no_body);
	}
}

static void single_end(struct span message, const struct mime_part *part, bool extended, struct pool *pool, struct buf *out)
{
	struct header header;

	if (is_message(part))
		buf_printf(out, " %zu", part->lines);
	if (extended) {
		header_read(mime_part_header(message, part), &header);
		buf_add_char(out, ' ');
		add_field(&header, H_CONTENT_MD5, out);
		add_extension(&header, pool, out);
	}
	buf_add_char(out, ')');
}

static void multipart_end(struct span message, const struct mime_part *part, bool extended, struct pool *pool, struct buf *out)
{
	struct header header;

	/* RFC 3501 knows no multipart without parts. */
	if (part->first_child == NULL)
		buf_add_str(out, no_body);
	buf_add_char(out, ' ');
	imap_string_format(part->content.subtype, out);
	if (extended) {
		buf_add_char(out, ' ');
		add_parameters(&part->content, out);
		header_read(mime_part_header(message, part), &header);
		add_extension(&header, pool, out);
	}
	buf_add_char(out, ')');
}

static void part_begin(struct span message, const struct mime_part *part, struct buf *out)
{
	if (part->kind == MIME_MULTIPART)
		buf_add_char(out, '(');
	else
		single_begin(message, part, out);
}

static void part_end(struct span message, const struct mime_part *part, bool extended, struct pool *pool, struct buf *out)
{
	if (part->kind == MIME_MULTIPART)
		multipart_end(message, part, extended, pool, out);
	else
		single_end(message, part, extended, pool, out);
}

void imap_body_format(struct span message, const struct mime_part *root, bool extended, struct buf *out)
{
	struct pool *pool = pool_new(NULL, BODY_POOL_MAX);
	const struct mime_part *part = root;

	part_begin(message, part, out);
	while (part != NULL && pool != NULL && !buf_failed(out)) {
		if (part->first_child != NULL) {
			part = part->first_child;
			part_begin(message, part, out);
			continue;
		}
		part_end(message, part, extended, pool, out);
		while (part != root && part->next == NULL) {
			part = part->parent;
			part_end(message, part, extended, pool, out);
		}
		if (part == root)
			break;
		part = part->next;
		part_begin(message, part, out);
	}
	if (pool == NULL || buf_failed(out)) { /* too large to be told: one opaque leaf */
		buf_clear(out);
		buf_printf(out, "(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"8BIT\" %zu%s)", root->body_size,
		    extended ? " NIL NIL NIL NIL" : "");
	}
	out->starved |= pool == NULL || pool_starved(pool);
	pool_free(&pool);
}
