/* The wire form, octet by octet; what is printed. */
#include "tests/unit/test.h"

#include "ipc/ipc.h"

#include <stdlib.h>
#include <string.h>

static struct buf out;

static int setup(void **state)
{
	(void)state;
	buf_init(&out, 2 * IPC_MESSAGE_MAX);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&out);
	return 0;
}

/* ipc.h: u16 number, u32 id, fields in order, integers big-endian, text after a u32 length. */
static void the_wire_form(void **state)
{
	struct queue_committed body = {.id = UINT64_C(0x0102030405060708), .code = -2, .text = SPAN_LIT("no")};
	struct master_peer peer = {.service = SPAN_LIT("a"), .role = SPAN_LIT(""), .serving = true, .uid = 258};
	struct ipc_message got;
	struct err err;

	(void)state;
	assert_int_equal(ipc_encode(&ipc_queue_committed, 0x0a0b0c0d, &body, &out), 0);
	assert_true(span_eq(buf_span(&out), SPAN_LIT("\0\x06\x0a\x0b\x0c\x0d\x01\x02\x03\x04\x05\x06\x07\x08\xff\xff\xff\xfe\0\0\0\x02no")));
	assert_int_equal(ipc_decode(&ipc_service_queue, TO_CLIENT, buf_span(&out), &got, &err), 0);
	assert_int_equal(got.id, 0x0a0b0c0d);
	assert_int_equal(((const struct queue_committed *)(const void *)got.body)->code, -2);
	assert_true(((const struct queue_committed *)(const void *)got.body)->id == body.id);
	assert_int_equal(got.fd, -1);
	buf_clear(&out);
	assert_int_equal(ipc_encode(&ipc_master_peer, 0, &peer, &out), 0);
	assert_true(span_eq(buf_span(&out), SPAN_LIT("\0\x04\0\0\0\0\0\0\0\x01" "a\0\0\0\0\x01\0\0\x01\x02")));
}

/* Each of these is E_PROTO and says which message or field it was. */
static void what_is_refused(void **state)
{
	static const struct {
		struct span wire;
		const char *text;
	} rows[] = {
	    {SPAN_LIT(""), "queue: message without a header"},
	    {SPAN_LIT("\0\x07\0\0\0"), "queue: message without a header"},
	    {SPAN_LIT("\0\x07\0\0\0\0"), "queue_discard: bad field id"},
	    {SPAN_LIT("\0\x07\0\0\0\0\0\0\0\0\0\0\0"), "queue_discard: bad field id"},
	    {SPAN_LIT("\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0"), "queue_discard: 1 surplus bytes"},
	    {SPAN_LIT("\0\x01\0\0\0\0\0\0\0"), "queue_take: bad field count"},
	    {SPAN_LIT("\x7f\xff\0\0\0\0"), "queue: message 32767 is not for us"},
	    {SPAN_LIT("\0\x06\0\0\0\0"), "queue: message 6 is not for us"}, /* of the other side */
	    {SPAN_LIT("\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05" "four"), "queue_envelope: bad field part"},
	    {SPAN_LIT("\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff"), "queue_envelope: bad field part"},
	};
	struct ipc_message got;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(ipc_decode(&ipc_service_queue, TO_SERVICE, rows[i].wire, &got, &err), E_PROTO);
		assert_string_equal(err.text, rows[i].text);
	}
	assert_int_equal(ipc_decode(&ipc_service_master, TO_CLIENT, SPAN_LIT("\0\x04\0\0\0\0\0\0\0\x01" "a\0\0\0\0\x02\0\0\x01\x02"), &got, &err), E_PROTO);
	assert_string_equal(err.text, "master_peer: bad field serving"); /* neither 0 nor 1 */
	assert_int_equal(ipc_decode(&ipc_service_master, TO_CLIENT, SPAN_LIT("\0\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\x01\0\0\x01\x02"), &got, &err), E_PROTO);
	assert_string_equal(err.text, "master_peer: bad field service"); /* a NUL in a str */
	/* bytes may hold one. */
	assert_int_equal(ipc_decode(&ipc_service_queue, TO_SERVICE, SPAN_LIT("\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0"), &got, &err), 0);
}

static void fields_have_their_maximum(void **state)
{
	static char big[60000];
	struct queue_envelope body = {.part = span_of(big, 57344)};
	struct buf small;

	(void)state;
	assert_int_equal(ipc_encode(&ipc_queue_envelope, 1, &body, &out), 0);
	body.part.len++;
	buf_clear(&out);
	assert_int_equal(ipc_encode(&ipc_queue_envelope, 1, &body, &out), E_TOOBIG);
	/* The place it goes to may be smaller. */
	buf_init(&small, 100);
	body.part.len = 100;
	assert_int_equal(ipc_encode(&ipc_queue_envelope, 1, &body, &small), E_TOOBIG);
	buf_fini(&small);
}

static void assert_printed(const struct ipc_type *type, const void *body, int fd, const char *want)
{
	struct ipc_message m = {.type = type, .id = 7, .fd = fd};

	memcpy(m.body, body, type->size);
	buf_clear(&out);
	ipc_print(&m, &out);
	assert_string_equal(buf_cstr(&out), want);
}

/* "One line for a log or a debugger; secrets are masked." */
static void messages_are_printed(void **state)
{
	static char big[100];
	struct queue_committed committed = {.id = UINT64_MAX, .code = -5, .text = SPAN_LIT("a\r\nb\xff")};
	struct master_peer peer = {.service = SPAN_LIT("auth"), .uid = UINT32_MAX};
	struct master_secret secret = {.name = SPAN_LIT("grant"), .value = SPAN_LIT("hunter2")};
	struct queue_no_file none = {.code = INT32_MIN, .text = span_of(big, sizeof(big))};

	(void)state;
	memset(big, 'b', sizeof(big));
	assert_printed(&ipc_queue_committed, &committed, -1, "queue_committed id=7 id=18446744073709551615 code=-5 text=a..b.");
	assert_printed(&ipc_master_peer, &peer, 3, "master_peer id=7 service=auth role= serving=no uid=4294967295 +fd");
	peer.serving = true;
	assert_printed(&ipc_master_peer, &peer, -1, "master_peer id=7 service=auth role= serving=yes uid=4294967295");
	assert_printed(&ipc_master_secret, &secret, -1, "master_secret id=7 name=grant value=[secret]");
	assert_printed(&ipc_queue_no_file, &none, -1,
	    "queue_no_file id=7 code=-2147483648 text=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb...(100)");
}

/* Numbers are unique in a service, sizes fit: what the tables promise. */
static void the_tables_are_sound(void **state)
{
	(void)state;
	for (size_t s = 0; ipc_services[s] != NULL; s++)
		for (const struct ipc_type *const *t = ipc_services[s]->types; *t != NULL; t++) {
			assert_true((*t)->size <= IPC_BODY_MAX);
			for (const struct ipc_type *const *u = ipc_services[s]->types; *u != NULL; u++)
				assert_true(t == u || (*t)->number != (*u)->number);
		}
}

/* Whatever the octets: refused, or the same message again. */
static void any_octets_are_decoded_strictly(void **state)
{
	char wire[64];

	(void)state;
	srandom(17);
	for (int i = 0; i < 100000; i++) {
		const struct ipc_service *service = ipc_services[(size_t)i % 7];
		enum ipc_direction direction = i % 2 ? TO_SERVICE : TO_CLIENT;
		size_t len = (size_t)random() % sizeof(wire);
		struct ipc_message got;
		struct err err;

		for (size_t k = 0; k < len; k++)
			wire[k] = (char)(random() % 4 ? 0 : random() % 24);
		if (ipc_decode(service, direction, span_of(wire, len), &got, &err) != 0)
			continue;
		buf_clear(&out);
		assert_int_equal(ipc_encode(got.type, got.id, got.body, &out), 0);
		assert_true(span_eq(buf_span(&out), span_of(wire, len)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_wire_form, setup, teardown),
	    cmocka_unit_test(what_is_refused),
	    cmocka_unit_test_setup_teardown(fields_have_their_maximum, setup, teardown),
	    cmocka_unit_test_setup_teardown(messages_are_printed, setup, teardown),
	    cmocka_unit_test(the_tables_are_sound),
	    cmocka_unit_test_setup_teardown(any_octets_are_decoded_strictly, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
