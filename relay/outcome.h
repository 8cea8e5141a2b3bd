/*
 * What came of the security of a connection, for the log and for reports (RFC 8460 section 4.3). Told once for each attempt: a host that is
 * passed over for its policy, a connection whose TLS does not come about or is not what a policy wants, and one that is ready for mail.
 */
#ifndef MW_RELAY_OUTCOME_H
#define MW_RELAY_OUTCOME_H

#include "sts/sts.h"

struct dane;
struct job;

enum outcome_kind {
	OUTCOME_GOOD, /* with TLS, as its policy wants it */
	OUTCOME_NO_STARTTLS,
	OUTCOME_WRONG_NAME, /* of the certificate */
	OUTCOME_EXPIRED,
	OUTCOME_NOT_TRUSTED,
	OUTCOME_FAILED, /* anything else: a handshake that ends, keys that no TLSA record names, a host that an MTA-STS policy does not */
	OUTCOME_TLSA_INVALID,
	OUTCOME_DNSSEC_INVALID,
	OUTCOME_DANE_REQUIRED,
	OUTCOME_STS_FETCH_ERROR, /* there is a TXT record, and the policy is not to be had */
	OUTCOME_STS_INVALID,	 /* or is none */
	OUTCOME_STS_WEBPKI,	 /* or its host's certificate is not right */
	OUTCOME_KINDS,
};

/* What the host was held against. */
enum outcome_source { SOURCE_NONE, SOURCE_STS, SOURCE_TLSA };

/* All borrowed for the call. */
struct outcome {
	enum outcome_kind kind;
	enum outcome_source source;
	bool delivered; /* kind is no reason not to send: a policy in testing, or TLS that is not needed */
	const struct sts_policy *sts; /* of SOURCE_STS */
	const struct dane *dane;      /* of SOURCE_TLSA, when they are known */
	struct span domain;	      /* that mail is for */
	const char *host, *address;   /* the MX; address "": none was reached */
	const char *text;	      /* what happened, for people; "" for nothing */
};

/* "starttls-not-supported", …: the words of RFC 8460 section 4.3; "" for OUTCOME_GOOD. Static. */
const char *outcome_name(enum outcome_kind kind);
/* To the log, and to whoever collects for reports. */
void outcome_tell(const struct job *job, const struct outcome *outcome);

#endif
