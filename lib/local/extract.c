#include "local/extract.h"

#include "intake/mend.h"
#include "local/letter.h"
#include "mime/header.h"

int recipients_init(struct recipient_list *list, struct pool *pool)
{
	list->count = 0;
	list->addresses = pool_array(pool, LETTER_RECIPIENTS, sizeof(*list->addresses));
	return list->addresses != NULL ? 0 : E_NOMEM;
}

/* ---- one address, as a path is written (RFC 5321 section 4.1.2) ---- */

static bool needs_quotes(struct span local)
{
	for (size_t i = 0; i < local.len; i++) {
		char c = local.ptr[i];
		bool dot = c == '.' && i > 0 && i + 1 < local.len && local.ptr[i - 1] != '.';

		if (!dot && !ascii_is_alnum(c) && (unsigned char)c < 0x80 && (c == '\0' || strchr("!#$%&'*+-/=?^_`{|}~", c) == NULL))
			return true;
	}
	return local.len == 0;
}

static void add_local_part(struct span local, struct buf *out)
{
	if (!needs_quotes(local)) {
		buf_add_span(out, local);
		return;
	}
	buf_add_char(out, '"');
	for (size_t i = 0; i < local.len; i++) {
		if (local.ptr[i] == '"' || local.ptr[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, local.ptr[i]);
	}
	buf_add_char(out, '"');
}

static int add_one(struct recipient_list *list, const struct mime_address *address, struct pool *pool, struct err *err)
{
	struct span copy = {0};
	struct buf text;

	if (list->count == LETTER_RECIPIENTS)
		return err_set(err, E_LIMIT, "more than %d recipients", LETTER_RECIPIENTS);
	buf_init(&text, MIME_VALUE_MAX);
	add_local_part(address->mailbox, &text);
	if (address->host.len > 0) {
		buf_add_char(&text, '@');
		buf_add_span(&text, address->host);
	}
	if (!buf_failed(&text))
		copy = pool_span(pool, buf_span(&text));
	buf_fini(&text);
	if (copy.ptr == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	list->addresses[list->count++] = copy;
	return 0;
}

int recipients_add(struct recipient_list *list, struct span text, struct pool *pool, struct err *err)
{
	struct mime_address *addresses;
	size_t count;
	int r = 0;

	/* What the parser left out would be a recipient who gets nothing. */
	if (text.len > MIME_VALUE_MAX)
		return err_set(err, E_LIMIT, "a list of recipients longer than %d octets", MIME_VALUE_MAX);
	count = mime_addresses_parse(text, pool, &addresses);
	if (pool_starved(pool))
		return err_set(err, E_NOMEM, "out of memory");
	for (size_t i = 0; i < count && r == 0; i++)
		if (addresses[i].kind == MIME_ADDRESS)
			r = add_one(list, &addresses[i], pool, err);
	return r;
}

/* ---- a header section ---- */

static size_t line_length(struct span text)
{
	size_t end = span_find(text, '\n');

	return end < text.len ? end + 1 : end;
}

/* A field's name is printable and has no colon; blanks before the colon are obsolete, and there are those who write them. */
static bool is_field(struct span line)
{
	size_t colon = span_find(line, ':'), end = colon;

	while (end > 0 && (line.ptr[end - 1] == ' ' || line.ptr[end - 1] == '\t'))
		end--;
	for (size_t i = 0; i < end; i++)
		if ((unsigned char)line.ptr[i] <= ' ' || (unsigned char)line.ptr[i] >= 0x7f)
			return false;
	return end > 0 && end <= MEND_NAME && colon < line.len;
}

size_t local_header_length(struct span message)
{
	size_t len = 0;

	while (len < message.len) {
		struct span line = span_sub(message, len, line_length(span_from(message, len)));
		bool folded = len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t');

		if (!folded && !is_field(line))
			break;
		len += line.len;
	}
	return len;
}

/* The fields of who resent it last stand together, before those of who did so earlier. Empty when nobody did. */
static struct span newest_resent(struct span header)
{
	struct mime_field field;
	const char *begin = NULL;
	size_t len = 0;

	while (mime_field_next(&header, &field)) {
		bool resent = span_startscase(field.name, SPAN_LIT("Resent-"));

		if (begin != NULL && !resent)
			break;
		if (begin == NULL && resent)
			begin = field.whole.ptr;
		if (begin != NULL)
			len = (size_t)(field.whole.ptr + field.whole.len - begin);
	}
	return span_of(begin, len);
}

static int extract_resent(struct recipient_list *list, struct span block, struct pool *pool, struct err *err)
{
	static const char *const names[] = {"Resent-To", "Resent-Cc", "Resent-Bcc"};
	struct mime_field field;
	int r = 0;

	for (size_t i = 0; i < 3 && r == 0; i++)
		if (mime_field_find(block, span_str(names[i]), &field))
			r = recipients_add(list, field.value, pool, err);
	return r;
}

int recipients_extract(struct recipient_list *list, struct span header, struct pool *pool, struct err *err)
{
	struct span resent = newest_resent(header);
	struct mime_field field;
	int r = 0;

	if (resent.len > 0)
		return extract_resent(list, resent, pool, err);
	while (r == 0 && mime_field_next(&header, &field))
		if (span_caseeq(field.name, SPAN_LIT("To")) || span_caseeq(field.name, SPAN_LIT("Cc")) || span_caseeq(field.name, SPAN_LIT("Bcc")))
			r = recipients_add(list, field.value, pool, err);
	return r;
}
