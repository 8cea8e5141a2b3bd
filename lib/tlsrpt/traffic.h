/*
 * Sessions with the mail servers of one domain, counted for its report: for each policy how many went well and how many failed, and of
 * what failed, how, between which hosts, how often (RFC 8460 section 4).
 */
#ifndef MW_TLSRPT_TRAFFIC_H
#define MW_TLSRPT_TRAFFIC_H

#include "base/buf.h"
#include "base/pool.h"

enum {
	TLSRPT_POLICIES_MAX = 8,   /* of a domain; with DANE each host has its own. Sessions beyond are not counted */
	TLSRPT_STRINGS_MAX = 4096, /* octets of a policy's text; what is beyond is left out */
	TLSRPT_DETAILS_MAX = 100,  /* kinds of failure; further ones count in the sum alone */
	TLSRPT_REASON_MAX = 160,
	TLSRPT_TRAFFIC_MAX = 256 * 1024, /* octets of memory, and of its stored form */
};

enum tlsrpt_policy_type { TLSRPT_NO_POLICY, TLSRPT_TLSA, TLSRPT_STS, TLSRPT_POLICY_TYPES };

/* Section 4.3. */
enum tlsrpt_result {
	TLSRPT_SUCCESS,
	TLSRPT_STARTTLS_NOT_SUPPORTED,
	TLSRPT_CERTIFICATE_HOST_MISMATCH,
	TLSRPT_CERTIFICATE_EXPIRED,
	TLSRPT_CERTIFICATE_NOT_TRUSTED,
	TLSRPT_VALIDATION_FAILURE,
	TLSRPT_TLSA_INVALID,
	TLSRPT_DNSSEC_INVALID,
	TLSRPT_DANE_REQUIRED,
	TLSRPT_STS_POLICY_FETCH_ERROR,
	TLSRPT_STS_POLICY_INVALID,
	TLSRPT_STS_WEBPKI_INVALID,
	TLSRPT_RESULTS,
};

/* "tlsa"; "certificate-expired", of success "". Static. */
const char *tlsrpt_policy_name(enum tlsrpt_policy_type type);
const char *tlsrpt_result_name(enum tlsrpt_result result);

/* One session, or an attempt at one. Texts may be empty where they are not known. */
struct tlsrpt_session {
	enum tlsrpt_policy_type type;
	struct span domain;  /* against which the policy is defined: of TLSA the base domain, else the mail's (section 1.1) */
	struct span strings; /* the policy, each string with a line feed behind it: "3 1 1 1f85…"; "mode: enforce" */
	struct span mx;	     /* of MTA-STS: its patterns of hosts, each with a line feed behind it */
	enum tlsrpt_result result;
	struct span our_address, host, address;
	struct span reason; /* of a failure, for people */
};

struct tlsrpt_policy {
	enum tlsrpt_policy_type type;
	struct span domain, strings, mx;
	uint64_t successes, failures;
};

struct tlsrpt_detail {
	size_t policy; /* its place */
	enum tlsrpt_result result;
	struct span our_address, host, address, reason;
	uint64_t count;
};

struct tlsrpt_traffic {
	struct pool *pool;
	int64_t begin; /* seconds since 1970 */
	struct tlsrpt_policy policies[TLSRPT_POLICIES_MAX];
	size_t policy_count;
	struct tlsrpt_detail details[TLSRPT_DETAILS_MAX];
	size_t detail_count;
};

/* Of no session yet. NULL: no memory. */
struct tlsrpt_traffic *tlsrpt_traffic_new(int64_t begin);
void tlsrpt_traffic_free(struct tlsrpt_traffic **traffic);
/* Counts one. E_LIMIT: of a policy for which there is no room; E_NOMEM. */
int tlsrpt_traffic_add(struct tlsrpt_traffic *traffic, const struct tlsrpt_session *session);

/* ---- stored.c: as lines of text ---- */

void tlsrpt_traffic_encode(const struct tlsrpt_traffic *traffic, struct buf *out);
/* E_CORRUPT, E_NOMEM. */
int tlsrpt_traffic_decode(struct span text, struct tlsrpt_traffic **out);

#endif
