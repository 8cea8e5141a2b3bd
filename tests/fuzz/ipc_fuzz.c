/*
 * Messages between processes, of every service in both directions: octets are
 * refused, or are the one form of the message they are.
 *
 * Input: a byte for the service, one for the direction, then the datagram.
 */
#include "tests/fuzz/fuzz.h"

#include "ipc/ipc.h"

static const struct ipc_service *service_of(unsigned n)
{
	size_t count = 0;

	while (ipc_services[count] != NULL)
		count++;
	return ipc_services[n % count];
}

static void look_at_fields(const struct ipc_message *m, struct span wire)
{
	for (const struct ipc_field *f = m->type->fields; f->kind != IPC_KIND_END; f++) {
		struct span text;

		if (f->kind < IPC_KIND_STR)
			continue;
		memcpy(&text, m->body + f->offset, sizeof(text));
		fuzz_assert(text.len <= f->max && fuzz_within(wire, text));
		fuzz_assert(f->kind != IPC_KIND_STR || span_find(text, '\0') == text.len);
	}
}

void fuzz_one(struct span input)
{
	const struct ipc_service *service = service_of(fuzz_byte(&input));
	enum ipc_direction direction = fuzz_byte(&input) & 1 ? TO_CLIENT : TO_SERVICE;
	struct ipc_message message = {0};
	struct err err;
	struct buf out;
	int r;

	/* No datagram is longer. */
	input = span_sub(input, 0, IPC_MESSAGE_MAX);
	r = ipc_decode(service, direction, input, &message, &err);
	fuzz_assert(r == 0 || r == E_PROTO);
	if (r != 0)
		return;
	fuzz_assert(message.type->direction == direction && message.fd == -1);
	look_at_fields(&message, input);
	buf_init(&out, IPC_MESSAGE_MAX);
	fuzz_assert(ipc_encode(message.type, message.id, message.body, &out) == 0);
	fuzz_assert_same(buf_span(&out), input);
	buf_clear(&out);
	ipc_print(&message, &out);
	fuzz_assert(!buf_failed(&out));
	for (size_t i = 0; i < buf_len(&out); i++)
		fuzz_assert(buf_span(&out).ptr[i] >= ' ' && buf_span(&out).ptr[i] < 0x7f);
	buf_fini(&out);
}
