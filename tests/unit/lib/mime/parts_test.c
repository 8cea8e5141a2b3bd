/* Part numbers (RFC 3501 section 6.4.5) and the bytes in which places are kept. */
#include "tests/unit/test.h"

#include "mime/parts.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * The example of section 6.4.5, each leaf saying its number:
 *   1 text, 2 octet-stream, 3 message/rfc822 (3.1 text, 3.2 octet-stream), 4 multipart (4.1 image,
 *   4.2 message/rfc822 (4.2.1 text, 4.2.2 multipart/alternative (4.2.2.1 text, 4.2.2.2 richtext)))
 */
static const char example[] =
    "Subject: top\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
    "--a\r\nContent-Type: text/plain\r\n\r\n=1\r\n"
    "--a\r\nContent-Type: application/octet-stream\r\n\r\n=2\r\n"
    "--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: third\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/plain\r\n\r\n=3.1\r\n"
    "--b\r\nContent-Type: application/octet-stream\r\n\r\n=3.2\r\n--b--\r\n"
    "--a\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
    "--c\r\nContent-Type: image/gif\r\n\r\n=4.1\r\n"
    "--c\r\nContent-Type: message/rfc822\r\n\r\nSubject: four two\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n"
    "--d\r\nContent-Type: text/plain\r\n\r\n=4.2.1\r\n"
    "--d\r\nContent-Type: multipart/alternative; boundary=e\r\n\r\n"
    "--e\r\nContent-Type: text/plain\r\n\r\n=4.2.2.1\r\n"
    "--e\r\nContent-Type: text/richtext\r\n\r\n=4.2.2.2\r\n--e--\r\n--d--\r\n--c--\r\n--a--\r\n";

static struct pool *pool;
static struct buf parts;
static struct span message;

static void keep(const char *text)
{
	struct mime_part *root;

	message = span_str(text);
	pool_reset(pool);
	root = mime_structure_parse(message, pool);
	assert_non_null(root);
	buf_clear(&parts);
	mime_parts_encode(root, &parts);
	assert_int_equal(buf_len(&parts) % MIME_PLACE_SIZE, 0);
}

static int setup(void **state)
{
	(void)state;
	pool = pool_new(NULL, 0);
	buf_init(&parts, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pool_free(&pool);
	buf_fini(&parts);
	return 0;
}

/* The body of a part "1.2.3"; NULL when there is none. */
static const char *part(const char *number)
{
	static char text[4096];
	struct mime_place place;
	uint32_t path[16];
	size_t depth = 0, index;

	for (char *end; *number != '\0'; number = *end ? end + 1 : end)
		path[depth++] = (uint32_t)strtoul(number, &end, 10);
	if (!mime_parts_find(buf_span(&parts), message.len, path, depth, &place, &index))
		return NULL;
	snprintf(text, sizeof(text), "%.*s", SPAN_ARG(span_sub(message, place.body_offset, place.body_size)));
	return text;
}

static void the_example_of_the_rfc(void **state)
{
	static const char *const leaves[] = {"1", "2", "3.1", "3.2", "4.1", "4.2.1", "4.2.2.1", "4.2.2.2"};
	static const char *const none[] = {"0", "5", "1.1", "1.2", "2.1", "3.0", "3.3", "3.1.1", "4.3", "4.1.1", "4.2.3", "4.2.1.1", "4.2.2.3", "4.2.2.1.1", "4294967295"};

	(void)state;
	keep(example);
	assert_int_equal(buf_len(&parts) / MIME_PLACE_SIZE, 15);
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		const char *got = part(leaves[i]);

		if (got == NULL || got[0] != '=' || strcmp(got + 1, leaves[i]) != 0)
			fail_msg("%s: %s", leaves[i], got);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		if (part(none[i]) != NULL)
			fail_msg("there is no %s", none[i]);
	assert_int_equal(strncmp(part("3"), "Subject: third\r\n", 16), 0);
	assert_int_equal(strncmp(part("4.2"), "Subject: four two\r\n", 19), 0);
	assert_int_equal(strncmp(part("4"), "--c\r\n", 5), 0);
	assert_int_equal(strncmp(part(""), "--a\r\n", 5), 0);
}

/* "Every message has at least one part number"; "non-multipart messages with no encapsulated message only have a part 1". */
static void messages_that_are_no_multipart(void **state)
{
	(void)state;
	keep("Subject: x\r\n\r\nbody\r\n");
	assert_string_equal(part("1"), "body\r\n");
	assert_null(part("2"));
	assert_null(part("1.1"));
	keep("");
	assert_string_equal(part("1"), "");
	/* A message whose whole body is another one. */
	keep("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ninner\r\n");
	assert_string_equal(part("1"), "Subject: in\r\n\r\ninner\r\n");
	assert_string_equal(part("1.1"), "inner\r\n");
	assert_null(part("1.1.1"));
	assert_null(part("1.2"));
	keep("Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ninner\r\n");
	assert_string_equal(part("1.1"), "Subject: in\r\n\r\ninner\r\n");
	assert_string_equal(part("1.1.1"), "inner\r\n");
	assert_null(part("1.1.1.1"));
	/* A multipart without a part has none. */
	keep("Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing\r\n");
	assert_null(part("1"));
	/* A message without anything in it, at its end. */
	keep("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n");
	assert_string_equal(part("1"), "");
	assert_null(part("1.1"));
}

/* Whatever the bytes on disk became: a place within the message, or none. */
static void damaged_bytes_lead_nowhere_else(void **state)
{
	struct span kept;
	char *bytes;

	(void)state;
	keep(example);
	kept = buf_span(&parts);
	bytes = malloc(kept.len);
	assert_non_null(bytes);
	srandom(11);
	for (int i = 0; i < 20000; i++) {
		size_t len = i % 3 ? kept.len : (size_t)random() % kept.len, index = 0;
		uint32_t path[3] = {(uint32_t)random() % 5, (uint32_t)random() % 4, (uint32_t)random() % 3};
		struct mime_place place;

		memcpy(bytes, kept.ptr, kept.len);
		for (long k = random() % 4; k > 0; k--)
			bytes[(size_t)random() % kept.len] = (char)random();
		if (!mime_parts_find(span_of(bytes, len), message.len, path, (size_t)random() % 4, &place, &index))
			continue;
		assert_true((uint64_t)place.header_offset + place.header_size <= message.len);
		assert_true((uint64_t)place.body_offset + place.body_size <= message.len);
		assert_true(index < len / MIME_PLACE_SIZE);
	}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_example_of_the_rfc, setup, teardown),
	    cmocka_unit_test_setup_teardown(messages_that_are_no_multipart, setup, teardown),
	    cmocka_unit_test_setup_teardown(damaged_bytes_lead_nowhere_else, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
