/*
 * The hosts that take mail for a domain, in the order in which they are tried (RFC 5321 section 5.1), with their addresses.
 * Whether a domain has none, or it cannot be told now, is kept apart: the first is for good.
 */
#ifndef MW_RELAY_ROUTE_H
#define MW_RELAY_ROUTE_H

#include "dns/dns.h"

struct pool;

enum {
	ROUTE_HOSTS_MAX = 20,	 /* MX records that are looked at, the best ones; further ones are passed over */
	ROUTE_ADDRESSES_MAX = 8, /* of a host, of both families in turn */
	ROUTE_RECORDS_MAX = 256, /* MX records that are sorted */
	ROUTE_DNS_MS = 20000,	 /* for one question */
};

struct route_host {
	char name[DNS_NAME_TEXT]; /* of an address literal the address */
	char canonical[DNS_NAME_TEXT]; /* where CNAMEs of its addresses led to; "" without any */
	unsigned preference;
	bool secure; /* its addresses are validated, those of both families as far as they can be told */
	struct sockaddr_storage addresses[ROUTE_ADDRESSES_MAX];
	bool tried[ROUTE_ADDRESSES_MAX]; /* the user's */
	size_t address_count;
	size_t v6_count; /* while they are asked for */
	bool unknown;	 /* none can be told now: it may have some another time */
};

struct route {
	struct route_host hosts[ROUTE_HOSTS_MAX];
	size_t count;
	char canonical[DNS_NAME_TEXT]; /* where CNAMEs of the domain led to; "" without any */
	bool from_mx; /* else the domain is the host, or it is configured */
	bool secure;  /* the MX records, or that there are none, are validated; true of what is configured */
	bool literal; /* an address, no name */
	bool unknown; /* hosts are left out, whose addresses nobody can tell now */
};

/* What is ours: mail must not come back. */
struct route_self {
	struct span hostname;
	bool (*is_ours)(void *arg, const struct sockaddr_storage *address);
	void *arg;
};

struct route_finder;
/*
 * route: the callee's, freed with route_free; NULL: why->code says whether it is for good, why->text begins with an enhanced
 * status code. Called once, never before route_find returns.
 */
typedef void route_done(void *arg, struct route *route, const struct err *why);
/* What was found, for a person. */
typedef void route_note(void *arg, const char *text);

struct route_request {
	struct dns *dns;
	struct span domain;    /* A-labels in lower case, or "[192.0.2.1]", "[IPv6:…]" */
	bool fixed;	       /* a host that is configured: no MX records, and whatever address it has */
	const struct route_self *self;
	uint32_t seed;	       /* of the order among equals */
	route_done *done;
	route_note *note; /* NULL: nobody wants to know */
	void *arg;
};

/* domain and self are borrowed until done. NULL: no memory. */
struct route_finder *route_find(struct event_base *base, const struct route_request *request);
/* done is not called any more. */
void route_cancel(struct route_finder **finder);
void route_free(struct route **route);

#endif
