/* Encoder, strict decoder and printer, driven by the tables of types.c. */
#include "ipc/ipc.h"

#include <inttypes.h>

static void put_be(struct buf *out, uint64_t n, size_t bytes)
{
	unsigned char wire[8];

	for (size_t i = bytes; i > 0; i--) {
		wire[i - 1] = (unsigned char)n;
		n >>= 8;
	}
	buf_add(out, wire, bytes);
}

static int encode_text(struct buf *out, const struct ipc_field *field, struct span text)
{
	if (text.len > field->max)
		return E_TOOBIG;
	if (field->kind == IPC_KIND_STR && text.len > 0 && memchr(text.ptr, '\0', text.len))
		return E_SYNTAX;
	put_be(out, text.len, 4);
	buf_add_span(out, text);
	return 0;
}

static int encode_field(struct buf *out, const struct ipc_field *field, const void *at)
{
	uint32_t u32;
	uint64_t u64;
	struct span text;

	switch (field->kind) {
	case IPC_KIND_BOOL:
		buf_add_char(out, *(const bool *)at ? 1 : 0);
		return 0;
	case IPC_KIND_U32:
	case IPC_KIND_I32:
		memcpy(&u32, at, sizeof(u32));
		put_be(out, u32, 4);
		return 0;
	case IPC_KIND_U64:
	case IPC_KIND_I64:
		memcpy(&u64, at, sizeof(u64));
		put_be(out, u64, 8);
		return 0;
	default:
		memcpy(&text, at, sizeof(text));
		return encode_text(out, field, text);
	}
}

int ipc_encode(const struct ipc_type *type, uint32_t id, const void *body, struct buf *out)
{
	size_t before = buf_len(out);

	put_be(out, type->number, 2);
	put_be(out, id, 4);
	for (const struct ipc_field *f = type->fields; f->kind != IPC_KIND_END; f++) {
		int r = encode_field(out, f, (const char *)body + f->offset);

		if (r != 0)
			return r;
	}
	if (buf_failed(out) && out->starved)
		return E_NOMEM;
	return buf_failed(out) || buf_len(out) - before > IPC_MESSAGE_MAX ? E_TOOBIG : 0;
}

static bool get_be(struct span *wire, size_t bytes, uint64_t *out)
{
	uint64_t n = 0;

	if (wire->len < bytes)
		return false;
	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | (unsigned char)wire->ptr[i];
	*wire = span_from(*wire, bytes);
	*out = n;
	return true;
}

static bool decode_text(struct span *wire, const struct ipc_field *field, struct span *out)
{
	uint64_t len;

	if (!get_be(wire, 4, &len) || len > field->max || len > wire->len)
		return false;
	*out = span_sub(*wire, 0, (size_t)len);
	*wire = span_from(*wire, (size_t)len);
	return field->kind != IPC_KIND_STR || len == 0 || !memchr(out->ptr, '\0', out->len);
}

static bool decode_field(struct span *wire, const struct ipc_field *field, void *at)
{
	uint64_t n;
	uint32_t u32;

	switch (field->kind) {
	case IPC_KIND_BOOL:
		if (!get_be(wire, 1, &n) || n > 1)
			return false;
		*(bool *)at = n == 1;
		return true;
	case IPC_KIND_U32:
	case IPC_KIND_I32:
		if (!get_be(wire, 4, &n))
			return false;
		u32 = (uint32_t)n;
		memcpy(at, &u32, sizeof(u32));
		return true;
	case IPC_KIND_U64:
	case IPC_KIND_I64:
		if (!get_be(wire, 8, &n))
			return false;
		memcpy(at, &n, sizeof(n));
		return true;
	default:
		return decode_text(wire, field, at);
	}
}

static const struct ipc_type *find_type(const struct ipc_service *service, uint64_t number)
{
	for (const struct ipc_type *const *t = service->types; *t != NULL; t++)
		if ((*t)->number == number)
			return *t;
	return NULL;
}

int ipc_decode(const struct ipc_service *service, enum ipc_direction direction, struct span wire,
    struct ipc_message *out, struct err *err)
{
	const struct ipc_type *type;
	size_t size = wire.len;
	uint64_t number, id;

	if (!get_be(&wire, 2, &number) || !get_be(&wire, 4, &id))
		return err_set(err, E_PROTO, "%s: message without a header", service->name);
	type = find_type(service, number);
	if (type == NULL || type->direction != direction)
		return err_set(err, E_PROTO, "%s: message %u is not for us", service->name,
		    (unsigned)number);
	memset(out->body, 0, type->size);
	for (const struct ipc_field *f = type->fields; f->kind != IPC_KIND_END; f++)
		if (!decode_field(&wire, f, out->body + f->offset))
			return err_set(err, E_PROTO, "%s: bad field %s", type->name, f->name);
	if (wire.len != 0)
		return err_set(err, E_PROTO, "%s: %zu surplus bytes", type->name, wire.len);
	out->type = type;
	out->id = (uint32_t)id;
	out->fd = -1;
	out->size = size;
	return 0;
}

static void print_text(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.len && i < 80; i++) {
		char c = text.ptr[i];

		buf_add_char(out, c >= ' ' && c < 0x7f ? c : '.');
	}
	if (text.len > 80)
		buf_printf(out, "...(%zu)", text.len);
}

static void print_field(struct buf *out, const struct ipc_field *field, const void *at)
{
	uint32_t u32;
	uint64_t u64;
	struct span text;

	buf_printf(out, " %s=", field->name);
	switch (field->kind) {
	case IPC_KIND_BOOL:
		buf_add_str(out, *(const bool *)at ? "yes" : "no");
		return;
	case IPC_KIND_U32:
	case IPC_KIND_I32:
		memcpy(&u32, at, sizeof(u32));
		if (field->kind == IPC_KIND_U32)
			buf_printf(out, "%" PRIu32, u32);
		else
			buf_printf(out, "%" PRId32, (int32_t)u32);
		return;
	case IPC_KIND_U64:
	case IPC_KIND_I64:
		memcpy(&u64, at, sizeof(u64));
		if (field->kind == IPC_KIND_U64)
			buf_printf(out, "%" PRIu64, u64);
		else
			buf_printf(out, "%" PRId64, (int64_t)u64);
		return;
	case IPC_KIND_SECRET:
		buf_add_str(out, "[secret]");
		return;
	default:
		memcpy(&text, at, sizeof(text));
		print_text(out, text);
	}
}

void ipc_print(const struct ipc_message *message, struct buf *out)
{
	buf_printf(out, "%s id=%" PRIu32, message->type->name, message->id);
	for (const struct ipc_field *f = message->type->fields; f->kind != IPC_KIND_END; f++)
		print_field(out, f, message->body + f->offset);
	if (message->fd >= 0)
		buf_add_str(out, " +fd");
}
