/* DNS messages to records: the right ones, what a hostile server could have in them. */
#include "tests/unit/test.h"

#include "resolve/packet.h"

#include <stdlib.h>
#include <string.h>

/* A message in the making. */
static struct buf m, records;
static struct packet_answer answer;

static void add16(unsigned n)
{
	buf_add_char(&m, (char)(n >> 8));
	buf_add_char(&m, (char)n);
}

/* "a.b" in wire form; a number behind '@' ends it with a pointer. */
static void add_name(const char *text)
{
	while (*text != '\0' && *text != '@') {
		size_t len = strcspn(text, ".@");

		buf_add_char(&m, (char)len);
		buf_add(&m, text, len);
		text += len + (text[len] == '.');
	}
	if (*text == '@')
		add16(0xc000 | (unsigned)atoi(text + 1));
	else
		buf_add_char(&m, '\0');
}

static void begin(unsigned rcode, unsigned answers, unsigned authorities)
{
	buf_clear(&m);
	add16(1);
	add16(0x8180 | rcode);
	add16(1);
	add16(answers);
	add16(authorities);
	add16(0);
	add_name("www.example"); /* at 12, and example at 16 */
	add16(DNS_A);
	add16(1);
}

static void add_record(const char *owner, unsigned type, unsigned ttl, size_t len)
{
	add_name(owner);
	add16(type);
	add16(1);
	add16(ttl >> 16);
	add16(ttl & 0xffff);
	add16((unsigned)len);
}

static void add_a(const char *owner, unsigned ttl)
{
	add_record(owner, DNS_A, ttl, 4);
	buf_add(&m, "\xc0\0\2\1", 4);
}

static void add_soa(unsigned ttl, unsigned minimum)
{
	add_record("@16", DNS_SOA, ttl, 24);
	add16(0xc010);
	add16(0xc010);
	for (int i = 0; i < 8; i++)
		add16(0);
	add16(minimum >> 16);
	add16(minimum & 0xffff);
}

static int read_as(const char *name, unsigned type)
{
	char *exact = malloc(buf_len(&m));
	int r;

	memcpy(exact, buf_span(&m).ptr, buf_len(&m));
	r = packet_read(span_of(exact, buf_len(&m)), span_str(name), type, &records, &answer);
	free(exact);
	return r;
}

static int setup(void **state)
{
	(void)state;
	buf_init(&m, 65535);
	buf_init(&records, 1000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&m);
	buf_fini(&records);
	return 0;
}

static size_t count(void)
{
	struct span rest = buf_span(&records), rdata;
	size_t n = 0;

	while (dns_record_next(&rest, &rdata))
		n++;
	return n;
}

static void records_of_the_name_are_taken(void **state)
{
	(void)state;
	begin(0, 3, 0);
	add_a("@12", 300);
	add_a("other.example", 10);
	add_a("WWW.Example", 200);
	assert_int_equal(read_as("www.example", DNS_A), 0);
	assert_int_equal(answer.rcode, 0);
	assert_int_equal(count(), 2);
	assert_int_equal(answer.ttl, 200);
	assert_string_equal(answer.canonical, "");
	assert_false(answer.cut);
}

static void names_in_records_are_made_whole(void **state)
{
	struct span rest, rdata;
	struct dns_mx mx;

	(void)state;
	begin(0, 1, 0);
	add_record("@12", DNS_MX, 300, 7);
	buf_add(&m, "\0\5\2mx", 5);
	add16(0xc010);
	assert_int_equal(read_as("www.example", DNS_MX), 0);
	rest = buf_span(&records);
	assert_true(dns_record_next(&rest, &rdata));
	assert_int_equal(dns_mx_parse(rdata, &mx), 0);
	assert_string_equal(mx.host, "mx.example");
	assert_int_equal(mx.preference, 5);
}

static void aliases_are_followed(void **state)
{
	(void)state;
	begin(0, 3, 0);
	add_a("c.example", 300);
	add_record("b.example", DNS_CNAME, 50, 4);
	buf_add(&m, "\1c", 2);
	add16(0xc010);
	add_record("@12", DNS_CNAME, 300, 4);
	buf_add(&m, "\1b", 2);
	add16(0xc010);
	assert_int_equal(read_as("www.example", DNS_A), 0);
	assert_int_equal(count(), 1);
	assert_string_equal(answer.canonical, "c.example");
	assert_int_equal(answer.ttl, 50);
	assert_int_equal(read_as("www.example", DNS_CNAME), 0);
	assert_int_equal(count(), 1);
	assert_string_equal(answer.canonical, "");
}

static void aliases_in_a_circle_end(void **state)
{
	(void)state;
	begin(0, 1, 0);
	add_record("@12", DNS_CNAME, 300, 2);
	add16(0xc00c);
	assert_int_equal(read_as("www.example", DNS_A), 0);
	assert_int_equal(count(), 0);
}

static void denials_tell_how_long_they_hold(void **state)
{
	(void)state;
	begin(3, 0, 1);
	add_soa(300, 60);
	assert_int_equal(read_as("www.example", DNS_A), 0);
	assert_int_equal(answer.rcode, 3);
	assert_int_equal(answer.ttl, 60);
	begin(0, 0, 1);
	add_soa(30, 60);
	assert_int_equal(read_as("www.example", DNS_A), 0);
	assert_int_equal(answer.ttl, 30);
	begin(0, 0, 0);
	assert_int_equal(read_as("www.example", DNS_A), 0);
	assert_int_equal(answer.ttl, 0);
}

static void what_has_no_room_is_cut(void **state)
{
	(void)state;
	begin(0, 200, 0);
	for (int i = 0; i < 200; i++)
		add_a("@12", 300);
	assert_int_equal(read_as("www.example", DNS_A), 0);
	assert_int_equal(count(), 1000 / 6);
	assert_true(answer.cut);
}

/* Every prefix of a message, and every octet of it turned to any value, is read or refused. */
static void damaged_messages_do_no_harm(void **state)
{
	struct buf whole;

	(void)state;
	begin(0, 3, 1);
	add_record("@12", DNS_CNAME, 300, 4);
	buf_add(&m, "\1b", 2);
	add16(0xc010);
	add_record("b.@16", DNS_MX, 300, 7);
	buf_add(&m, "\0\5\2mx", 5);
	add16(0xc010);
	add_a("b.example", 300);
	add_soa(300, 60);
	buf_init(&whole, 65535);
	buf_add_span(&whole, buf_span(&m));
	for (size_t len = 0; len < buf_len(&whole); len++) {
		buf_clear(&m);
		buf_add_span(&m, span_sub(buf_span(&whole), 0, len));
		(void)read_as("www.example", DNS_MX);
	}
	for (size_t at = 0; at < buf_len(&whole); at++)
		for (int value = 0; value < 256; value++) {
			buf_clear(&m);
			buf_add_span(&m, buf_span(&whole));
			m.data[m.start + at] = (char)value;
			(void)read_as("www.example", DNS_MX);
		}
	buf_fini(&whole);
}

static void pointers_lead_backwards_only(void **state)
{
	(void)state;
	begin(0, 1, 0);
	add16(0xc000 | (unsigned)buf_len(&m));
	buf_add(&m, "\0\1\0\1\0\0\0\0\0\4abcd", 14);
	assert_int_equal(read_as("www.example", DNS_A), E_CONTENT);
	begin(0, 1, 0);
	add16(0xc000 | ((unsigned)buf_len(&m) + 2));
	buf_add(&m, "\0\0\1\0\1\0\0\0\0\0\4abcd", 15);
	assert_int_equal(read_as("www.example", DNS_A), E_CONTENT);
}

static void an_alias_to_no_host_is_refused(void **state)
{
	(void)state;
	begin(0, 1, 0);
	add_record("@12", DNS_CNAME, 300, 5);
	buf_add(&m, "\3a b\0", 5);
	assert_int_equal(read_as("www.example", DNS_A), E_CONTENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(records_of_the_name_are_taken),
	    TEST(names_in_records_are_made_whole),
	    TEST(aliases_are_followed),
	    TEST(aliases_in_a_circle_end),
	    TEST(denials_tell_how_long_they_hold),
	    TEST(what_has_no_room_is_cut),
	    TEST(damaged_messages_do_no_harm),
	    TEST(pointers_lead_backwards_only),
	    TEST(an_alias_to_no_host_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
