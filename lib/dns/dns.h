/*
 * DNS for daemons: questions to the resolve process over its channel, each with a deadline, answered on the event loop.
 * Whether a domain has no such record, or it cannot be told now, is what a mail server must never confuse: the
 * results below keep the two apart (RFC 5321 section 5.1).
 */
#ifndef MW_DNS_DNS_H
#define MW_DNS_DNS_H

#include "base/err.h"
#include "base/span.h"

#include <netinet/in.h>

enum {
	DNS_NAME_MAX = 253,	 /* octets in presentation form */
	DNS_NAME_TEXT = 255,	 /* with its NUL, and one to spare */
	DNS_RECORDS_MAX = 57344, /* of one answer */
	DNS_ASKS_MAX = 4096,	 /* of one client at once */
	DNS_DEADLINE_MS = 20000,
};

/* RFC 1035 section 3.2.2, RFC 3596, RFC 6698. */
enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_PTR = 12,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_SRV = 33,
	DNS_DS = 43,
	DNS_DNSKEY = 48,
	DNS_TLSA = 52,
	DNS_CAA = 257,
};

/* What validation found (RFC 4035 section 4.3). */
enum dns_security { DNS_INSECURE, DNS_SECURE, DNS_BOGUS };

enum dns_result {
	DNS_FOUND,
	DNS_NO_DATA,   /* the name is there, without records of the type */
	DNS_NO_NAME,   /* NXDOMAIN; or it is none that anybody can have */
	DNS_TEMPORARY, /* nobody can say now: SERVFAIL, a time-out, no resolver */
	DNS_IS_BOGUS,  /* a forged or broken zone: temporary as well, and never to be believed */
};

/* Spans live until the callback returns. */
struct dns_answer {
	enum dns_result result;
	bool secure;	       /* validated, the denial of DNS_NO_DATA and DNS_NO_NAME included */
	bool cut;	       /* there were more records than fit */
	uint32_t ttl;	       /* seconds */
	struct span name;      /* what was asked */
	enum dns_type type;
	struct span canonical; /* where CNAMEs led to; empty without any */
	struct span records;   /* for dns_record_next */
	struct span why;       /* for people; of DNS_TEMPORARY and DNS_IS_BOGUS */
};

typedef void dns_done(void *arg, const struct dns_answer *answer);

/* ---- client.c ---- */

struct event_base;
struct dns;

/* NULL: no memory. */
struct dns *dns_new(struct event_base *base);
/* The channel to the resolver that master made; fd is owned. A second takes the place of the first, whose questions are asked again. */
int dns_service(struct dns *dns, int fd);
typedef void dns_lost(void *arg);
/*
 * Called when the channel has ended: a daemon says so to master (daemon_peer_lost), which makes another one. What waits is asked again
 * when it comes.
 */
void dns_on_lost(struct dns *dns, dns_lost *lost, void *arg);
/* No answer comes any more. May be called from a callback. */
void dns_free(struct dns **dns);
/*
 * Asks; done is called once, never before this returns. deadline_ms 0: DNS_DEADLINE_MS. Number of the question, for
 * dns_cancel; 0: too many are asked already, or there is no memory, and done is not called.
 */
uint32_t dns_ask(struct dns *dns, struct span name, enum dns_type type, int deadline_ms, dns_done *done, void *arg);
void dns_cancel(struct dns *dns, uint32_t question);

/* ---- record.c: what is in an answer; all strict, bounds checked ---- */

/* The next record's RDATA, false after the last. */
bool dns_record_next(struct span *records, struct span *rdata);
/* A whole, uncompressed name in wire form to presentation form in lower case; takes it off wire. E_SYNTAX: also a name with octets a host's never has. */
int dns_name_parse(struct span *wire, char out[DNS_NAME_TEXT]);

struct dns_mx {
	unsigned preference;
	char host[DNS_NAME_TEXT]; /* "": the root, a null MX (RFC 7505) */
};
int dns_mx_parse(struct span rdata, struct dns_mx *out);

/* RFC 6698 section 2.1. data: borrowed. */
struct dns_tlsa {
	unsigned usage, selector, matching;
	struct span data;
};
int dns_tlsa_parse(struct span rdata, struct dns_tlsa *out);

struct dns_srv {
	unsigned priority, weight, port;
	char host[DNS_NAME_TEXT];
};
int dns_srv_parse(struct span rdata, struct dns_srv *out);

/* Port 0. E_SYNTAX: not an address of this type. */
int dns_address_parse(enum dns_type type, struct span rdata, struct sockaddr_storage *out);
/* All strings of a TXT record, one behind the other (RFC 7208 section 3.3). false: it does not fit, or is damaged. */
bool dns_txt_parse(struct span rdata, char *out, size_t size, size_t *len);

/* ---- name.c ---- */

/*
 * What is asked of a name that a user or a message gave: A-labels in lower case without the last dot (RFC 5891), once and for all
 * at the edge. E_SYNTAX: no name of a domain.
 */
int dns_name_normalize(struct span name, char out[DNS_NAME_TEXT]);

#endif
