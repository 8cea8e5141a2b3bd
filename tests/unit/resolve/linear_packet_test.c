/*
 * Twice the message, twice the time, as in tests/unit/lib/linear_time_test.c: answers of name servers, also longer than DNS has them. A '~' of a
 * shape is a NUL, and each of its answers has one '<', in its TTL.
 */
#include "tests/unit/lib/linear_time.h"

#include "resolve/packet.h"

/* A header, a question for the TXT records of "a" at 12, and the answers. */
static void packet(struct span input)
{
	char front[] = "\0\1\x81\x80\0\1\xff\xff\0\0\0\0\1a\0\0\x10\0\1";
	struct packet_answer answer;
	struct buf message, records;
	size_t count = 0;
	char *octets;

	for (size_t i = 0; i < input.len; i++)
		count += input.ptr[i] == '<';
	if (count > 0 && count < UINT16_MAX) { /* else as many as a message can count */
		front[6] = (char)(count >> 8);
		front[7] = (char)count;
	}
	buf_init(&message, sizeof(front) + input.len);
	buf_init(&records, DNS_RECORDS_MAX);
	buf_add(&message, front, sizeof(front) - 1);
	octets = buf_reserve(&message, input.len);
	assert_non_null(octets);
	for (size_t i = 0; i < input.len; i++)
		octets[i] = (char)(input.ptr[i] == '~' ? '\0' : input.ptr[i]);
	buf_added(&message, input.len);
	(void)packet_read(buf_span(&message), SPAN_LIT("a"), DNS_TXT, &records, &answer);
	buf_fini(&message);
	buf_fini(&records);
}

static void answers(void **state)
{
	static const struct shape shapes[] = {
	    {"records of the name", "", "\xc0\x0c~\x10~\x01~~~<~\x05\x04" "abcd", "", packet, 4},
	    {"records of others", "", "\x01x~~\x10~\x01~~~<~\x05\x04" "abcd", "", packet, 4},
	    {"records of long names", "", "\x01x\x01x\x01x\x01x\x01x\x01x\x01x\x01x\x01x\x01x\x01x\x01x\x01x\x01x\x01x\x01x~~\x10~\x01~~~<~\x05\x04" "abcd", "", packet, 4},
	    {"names of pointers", "", "\x01x\xc0\x0c~\x10~\x01~~~<~\x05\x04" "abcd", "", packet, 4},
	    {"aliases in a circle", "", "\xc0\x0c~\x05~\x01~~~<~\x02\xc0\x0c", "", packet, 4},
	    {"a name without an end", "", "\x01x", "", packet, 4},
	    {"empty records", "", "~~\x10~\x01~~~<~~", "", packet, 4},
	};

	(void)state;
	check_all(shapes, sizeof(shapes) / sizeof(shapes[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers),
	    cmocka_unit_test(figures),
	};

	begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
