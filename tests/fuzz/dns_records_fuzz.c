/*
 * RDATA, names and replies: whatever a name server put into an answer, parsers stay within it, and what is accepted is a name that can be asked for.
 *
 * Input: an octet for the reply's code, rcode and security, then its records: each an u16 length and the RDATA. The whole is also a name
 * as a user would give it.
 */
#include "tests/fuzz/fuzz.h"

#include "dns/private.h"

#include <stdlib.h>

static void take_host(const char *host)
{
	char again[DNS_NAME_TEXT];

	fuzz_assert(strlen(host) <= DNS_NAME_MAX);
	for (const char *p = host; *p != '\0'; p++)
		fuzz_assert((ascii_is_alnum(*p) && *p == ascii_lower(*p)) || strchr("-_.", *p) != NULL);
	if (dns_name_normalize(span_str(host), again) == 0)
		fuzz_assert_same(span_str(again), span_str(host));
}

static void take_name(struct span name)
{
	char out[DNS_NAME_TEXT], again[DNS_NAME_TEXT];

	if (dns_name_normalize(name, out) != 0)
		return;
	take_host(out);
	fuzz_assert(out[0] != '\0' && out[strlen(out) - 1] != '.');
	fuzz_assert(dns_name_normalize(span_str(out), again) == 0);
	fuzz_assert_same(span_str(again), span_str(out));
}

static void take_rdata(struct span rdata)
{
	struct sockaddr_storage address;
	struct dns_mx mx;
	struct dns_srv srv;
	struct dns_tlsa tlsa;
	struct span wire = rdata;
	char name[DNS_NAME_TEXT], text[300];
	size_t len;

	if (dns_name_parse(&wire, name) == 0) {
		take_host(name);
		fuzz_assert(fuzz_within(rdata, wire) && rdata.len - wire.len == strlen(name) + (name[0] == '\0' ? 1 : 2));
	}
	if (dns_mx_parse(rdata, &mx) == 0)
		take_host(mx.host);
	if (dns_srv_parse(rdata, &srv) == 0)
		take_host(srv.host);
	if (dns_tlsa_parse(rdata, &tlsa) == 0)
		fuzz_assert(fuzz_within(rdata, tlsa.data) && tlsa.data.len + 3 == rdata.len);
	if (dns_txt_parse(rdata, text, sizeof(text), &len))
		fuzz_assert(len < rdata.len && len <= sizeof(text));
	(void)dns_address_parse(DNS_A, rdata, &address);
	(void)dns_address_parse(DNS_AAAA, rdata, &address);
}

void fuzz_one(struct span input)
{
	struct dns_reply reply = {0};
	struct dns_answer answer;
	struct span rdata;
	unsigned first;

	take_name(input);
	first = fuzz_byte(&input);
	reply = (struct dns_reply){.code = first & 0x80 ? E_TIMEOUT : 0, .rcode = first & 15, .security = first >> 4 & 3, .records = input};
	if (dns_answer_read(&reply, &answer) != 0)
		return;
	fuzz_assert(!answer.secure || answer.result <= DNS_NO_NAME);
	fuzz_assert((answer.result == DNS_FOUND) == (answer.records.len > 0));
	fuzz_assert((answer.result >= DNS_TEMPORARY) == (answer.why.len > 0));
	while (dns_record_next(&answer.records, &rdata))
		take_rdata(rdata);
	fuzz_assert(answer.records.len == 0);
}
