/*
 * What libunbound answers with, a whole DNS message (RFC 1035 section 4), to what lib/ipc/dns.def carries. libunbound has parsed what came from
 * the network and written this anew, yet nothing here leans on that.
 */
#ifndef MW_RESOLVE_PACKET_H
#define MW_RESOLVE_PACKET_H

#include "base/buf.h"
#include "dns/dns.h"

enum {
	PACKET_NAME_MAX = 255, /* octets in wire form */
	PACKET_ALIASES = 16,   /* CNAMEs one behind the other; libunbound ends at 11 */
};

struct packet_answer {
	unsigned rcode;
	uint32_t ttl; /* the least of all that was used */
	bool cut;     /* not all records had room */
	char canonical[DNS_NAME_TEXT]; /* "" without an alias */
};

/*
 * name: as it was asked, normalized. records: cleared, then each record as an u16 (little-endian) length and its RDATA with names whole.
 * 0; E_CONTENT: not a message, or it leads to a name that no host has.
 */
int packet_read(struct span packet, struct span name, unsigned type, struct buf *records, struct packet_answer *out);

#endif
