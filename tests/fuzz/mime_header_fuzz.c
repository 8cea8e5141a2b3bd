/*
 * Header fields and what stands in them (RFC 5322, RFC 2045): every field lies
 * in the section, in order; what is taken out of it holds no line end and no NUL.
 *
 * Input: a header section; each field's value is read in every way.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "mime/charset.h"
#include "mime/encoding.h"
#include "mime/header.h"
#include "mime/words.h"

static void look_at_text(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		fuzz_assert(s.ptr[i] != '\r' && s.ptr[i] != '\n' && s.ptr[i] != '\0');
}

static void try_unfold(struct span value)
{
	struct buf text;

	buf_init(&text, value.len);
	mime_unfold(value, &text);
	fuzz_assert(!buf_failed(&text));
	look_at_text(buf_span(&text));
	buf_fini(&text);
}

static void try_content(struct span value, struct pool *pool)
{
	struct mime_content content;

	if (!mime_content_parse(value, pool, &content))
		return;
	fuzz_assert(content.type.len > 0 && content.parameter_count <= MIME_PARAMETERS_MAX);
	look_at_text(content.type);
	look_at_text(content.subtype);
	for (size_t i = 0; i < content.parameter_count; i++) {
		const struct mime_parameter *p = &content.parameters[i];
		struct span decoded = mime_parameter_decode(&content, p->name, pool);

		fuzz_assert(p->name.len > 0 && fuzz_within(value, p->name));
		look_at_text(p->name);
		look_at_text(p->value);
		fuzz_assert(mime_content_parameter(&content, p->name).ptr != NULL);
		fuzz_assert(utf8_is_valid(decoded));
	}
	fuzz_assert(utf8_is_valid(mime_parameter_decode(&content, SPAN_LIT("filename"), pool)));
}

static void try_addresses(struct span value, struct pool *pool)
{
	struct mime_address *list;
	size_t count = mime_addresses_parse(value, pool, &list);
	bool in_group = false;

	fuzz_assert(count <= MIME_ADDRESSES_MAX + 2 && count <= value.len + 1);
	for (size_t i = 0; i < count; i++) {
		const struct mime_address *a = &list[i];

		fuzz_assert(a->kind == MIME_GROUP_BEGIN ? !in_group : a->kind == MIME_GROUP_END ? in_group : true);
		if (a->kind != MIME_ADDRESS)
			in_group = a->kind == MIME_GROUP_BEGIN;
		else
			fuzz_assert(a->mailbox.len + a->host.len > 0 && a->mailbox.len + a->host.len <= value.len);
		look_at_text(a->name);
		look_at_text(a->route);
		look_at_text(a->mailbox);
		look_at_text(a->host);
	}
	fuzz_assert(!in_group);
}

static void look_at_field(const struct mime_field *field, struct pool *pool)
{
	int64_t when;

	fuzz_assert(field->name.len > 0 && span_find(field->name, '\n') == field->name.len && span_find(field->name, ':') == field->name.len);
	fuzz_assert(fuzz_within(field->whole, field->name) && fuzz_within(field->whole, field->value));
	try_unfold(field->value);
	try_content(field->value, pool);
	try_addresses(field->value, pool);
	mime_date_parse(field->value, &when, NULL);
	mime_encoding_find(field->value);
}

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct span rest = input;
	struct mime_field field, found;

	mime_charset_preload();
	while (mime_field_next(&rest, &field)) {
		fuzz_assert(fuzz_within(input, field.whole) && field.whole.ptr + field.whole.len == rest.ptr);
		look_at_field(&field, pool);
		fuzz_assert(mime_field_find(input, field.name, &found) && found.whole.ptr <= field.whole.ptr &&
			    span_caseeq(found.name, field.name));
		pool_reset(pool);
	}
	/* Also what no field would let through. */
	try_content(input, pool);
	try_addresses(input, pool);
	pool_free(&pool);
}
