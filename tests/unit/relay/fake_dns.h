/* A resolver that knows a few answers, at the other end of the channel that lib/dns asks by. */
#ifndef MW_TESTS_UNIT_RELAY_FAKE_DNS_H
#define MW_TESTS_UNIT_RELAY_FAKE_DNS_H

#include "tests/unit/test.h"

#include "dns/dns.h"
#include "net/ipc_conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * What is asked, and "10 mx.test" of an MX, an address of A and AAAA, a TXT's one string, one a row; the rows of one question stand together. "":
 * NOERROR without a record; "nxdomain", "servfail", "bogus", "timeout"; "silence" is no answer at all; "cut": more records than fit. What is in no row is "nxdomain".
 */
struct fake_row {
	const char *name;
	enum dns_type type;
	const char *data;
	bool secure;
};

struct fake_dns {
	const struct fake_row *rows; /* ended by one without a name */
	struct ipc_conn *conn;
	struct dns *dns;
	unsigned asked;
};

static inline void fake_put(struct buf *out, const void *data, size_t len)
{
	buf_add_char(out, (char)(len & 0xff));
	buf_add_char(out, (char)(len >> 8));
	buf_add(out, data, len);
}

static inline size_t fake_name(const char *text, unsigned char *out)
{
	size_t at = 0;

	while (*text != '\0' && strcmp(text, ".") != 0) {
		size_t len = strcspn(text, ".");

		out[at++] = (unsigned char)len;
		memcpy(out + at, text, len);
		at += len;
		text += len + (text[len] == '.');
	}
	out[at++] = 0;
	return at;
}

static inline void fake_record(enum dns_type type, const char *data, struct buf *out)
{
	unsigned char wire[300];
	char *rest;

	if (type == DNS_MX) {
		unsigned long preference = strtoul(data, &rest, 10);

		wire[0] = (unsigned char)(preference >> 8);
		wire[1] = (unsigned char)preference;
		fake_put(out, wire, 2 + fake_name(rest + 1, wire + 2));
	} else if (type == DNS_TXT) {
		wire[0] = (unsigned char)strlen(data);
		memcpy(wire + 1, data, wire[0]);
		fake_put(out, wire, 1U + wire[0]);
	} else if (type == DNS_TLSA) { /* "3 1 1 hex" */
		size_t len = 0;

		for (rest = (char *)(uintptr_t)data; len < 3; len++)
			wire[len] = (unsigned char)strtoul(rest, &rest, 10);
		for (rest++; rest[0] != '\0'; rest += 2)
			wire[len++] = (unsigned char)strtoul((char[]){rest[0], rest[1], 0}, NULL, 16);
		fake_put(out, wire, len);
	} else {
		assert_int_equal(inet_pton(type == DNS_A ? AF_INET : AF_INET6, data, wire), 1);
		fake_put(out, wire, type == DNS_A ? 4 : 16);
	}
}

static inline int fake_asked(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	const struct dns_query *q = (const void *)m->body;
	struct fake_dns *fake = arg;
	struct dns_reply reply = {.rcode = 3};
	bool found = false;
	struct buf records;

	fake->asked++;
	buf_init(&records, 60000);
	for (const struct fake_row *row = fake->rows; row->name != NULL; row++) {
		if (!span_eq(q->name, span_str(row->name)))
			continue;
		if (!found)
			reply.rcode = 0;
		if (row->type != q->type)
			continue;
		found = true;
		reply.security = row->secure ? DNS_SECURE : DNS_INSECURE;
		if (strcmp(row->data, "nxdomain") == 0)
			reply.rcode = 3;
		else if (strcmp(row->data, "servfail") == 0)
			reply.rcode = 2;
		else if (strcmp(row->data, "silence") == 0) {
			buf_fini(&records);
			return 0;
		} else if (strcmp(row->data, "bogus") == 0) {
			reply.rcode = 2;
			reply.security = DNS_BOGUS;
			reply.why = SPAN_LIT("a signature is wrong");
		} else if (strcmp(row->data, "timeout") == 0) {
			reply.code = E_TIMEOUT;
			reply.why = SPAN_LIT("nobody answers");
		} else if (strcmp(row->data, "cut") == 0) {
			reply.cut = true;
			fake_put(&records, "cut", 3);
		} else if (row->data[0] != '\0')
			fake_record(q->type, row->data, &records);
	}
	reply.records = buf_span(&records);
	ipc_conn_send(conn, &ipc_dns_reply, m->id, &reply, -1);
	buf_fini(&records);
	return 0;
}

static inline void fake_gone(void *arg, struct ipc_conn *conn)
{
	(void)conn;
	((struct fake_dns *)arg)->conn = NULL;
}

static inline void fake_dns_begin(struct fake_dns *fake, struct event_base *loop, const struct fake_row *rows)
{
	static const struct ipc_conn_callbacks callbacks = {fake_asked, fake_gone};
	struct err err;
	int fds[2];

	*fake = (struct fake_dns){.rows = rows, .dns = dns_new(loop)};
	assert_int_equal(ipc_pair(fds, &err), 0);
	assert_int_equal(dns_service(fake->dns, fds[0]), 0);
	fake->conn = ipc_conn_new(loop, fds[1], &ipc_service_dns, TO_SERVICE, &callbacks, fake);
	assert_non_null(fake->conn);
}

static inline void fake_dns_end(struct fake_dns *fake)
{
	dns_free(&fake->dns);
	ipc_conn_free(&fake->conn);
}

#endif
