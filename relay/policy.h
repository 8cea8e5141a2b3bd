/* Which TLS a message must, may or will not have on its way to a host. */
#ifndef MW_RELAY_POLICY_H
#define MW_RELAY_POLICY_H

#include "base/err.h"
#include "relay/outcome.h"
#include "smtp/client.h"
#include "sts/sts.h"
#include "tls/client.h"

/* What TLSA records say of a host (RFC 7672 section 2.1). */
enum policy_dane {
	DANE_NONE,	/* there are none that are secure */
	DANE_USABLE,
	DANE_UNUSABLE,	/* secure ones, of which none can be used: TLS, of anybody */
};

struct policy_facts {
	struct span setting; /* relay-tls */
	bool login;	     /* a password will be said */
	bool implicit;	     /* TLS begins with the connection */
	bool requiretls;     /* RFC 8689 section 4.2.1; not of a message without a sender */
	bool tls_optional;   /* "TLS-Required: No", RFC 8689 section 4.2.2 */
	bool trusted_name;   /* the host's name is configured, the domain's, or comes from validated MX records */
	enum policy_dane dane;
	const struct sts_policy *sts; /* of the domain; NULL: it has none */
	const char *host;
};

struct policy {
	enum smtp_client_tls use;
	enum tls_trust trust;
	bool in_clear_after_failure; /* a handshake that fails is no reason not to send */
	enum outcome_source source;  /* what the domain has published that led to this */
	bool testing;		     /* SOURCE_STS: its policy says what is to be told, and keeps nothing back */
	bool not_named;		     /* SOURCE_STS: the host is none of those that the policy names */
};

/*
 * 0, or what is in the way at this host: E_UNAVAILABLE, another one or another time may do; E_DENIED, another host may do, another time
 * will not. The text begins with an enhanced status code.
 */
int policy_decide(const struct policy_facts *facts, struct policy *out, struct err *err);
/* "none", "may", "encrypt", "verify", "dane", "mta-sts": of what was decided, for people. Static. */
const char *policy_name(const struct policy *policy);

#endif
