/*
 * A DNS message as libunbound would answer with, to records and to what people are shown of them: nothing outside the message is looked at, and what
 * comes out is whole.
 *
 * Input: an octet for the type that is asked for, then the message. The name is that of its first question, or www.example.
 */
#include "tests/fuzz/fuzz.h"

#include "resolve/packet.h"
#include "resolve/present.h"

static const unsigned types[] = {DNS_A, DNS_NS, DNS_CNAME, DNS_SOA, DNS_PTR, DNS_MX, DNS_TXT, DNS_AAAA, DNS_SRV, DNS_DS, DNS_DNSKEY, DNS_TLSA, DNS_CAA, 65};

static void show(unsigned type, struct span rdata)
{
	struct buf text;

	buf_init(&text, 512 * 1024);
	present_rdata(type, rdata, &text);
	fuzz_assert(!buf_failed(&text) && buf_len(&text) > 0);
	for (size_t i = 0; i < buf_len(&text); i++)
		fuzz_assert(buf_span(&text).ptr[i] >= ' ' && buf_span(&text).ptr[i] <= '~');
	buf_fini(&text);
}

void fuzz_one(struct span input)
{
	unsigned type = types[fuzz_byte(&input) % (sizeof(types) / sizeof(types[0]))];
	struct span question = span_from(input, 12), rest, rdata;
	char name[DNS_NAME_TEXT] = "www.example";
	struct packet_answer answer;
	struct buf records;

	(void)dns_name_parse(&question, name);
	buf_init(&records, DNS_RECORDS_MAX);
	if (packet_read(input, span_str(name), type, &records, &answer) == 0) {
		fuzz_assert(!buf_failed(&records) || answer.cut);
		fuzz_assert(strlen(answer.canonical) <= DNS_NAME_MAX);
		for (rest = buf_span(&records); dns_record_next(&rest, &rdata);)
			show(type, rdata);
		fuzz_assert(rest.len == 0);
	}
	show(type, input);
	buf_fini(&records);
}
