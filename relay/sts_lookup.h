/*
 * Which MTA-STS policy is in force for a domain: by its TXT record, its policy host, and what was fetched before (RFC 8461 sections 3 and 5.1).
 * The record is asked for each time (the resolver remembers it); the file only when the record names another one, or when it is time to
 * look again. What was fetched stays in force until its max_age has passed, whatever DNS and the web say meanwhile.
 */
#ifndef MW_RELAY_STS_LOOKUP_H
#define MW_RELAY_STS_LOOKUP_H

#include "relay/outcome.h"
#include "relay/sts_cache.h"

struct dns;
struct event_base;
struct fetch_client;
struct sts_lookups;
struct sts_question;

enum {
	STS_WAIT_MS = 10000,	/* mail waits so long for a record and a first policy, then it goes by what is known */
	STS_DNS_MS = 20000,	/* for the record */
	STS_FETCH_MS = 60000,	/* for the file: RFC 8461 section 3.3 */
	STS_BODY_MAX = 57344,	/* octets of the file: what one answer of fetch has room for */
	STS_RETRY_S = 300,	/* a file that could not be had is not asked for again before, nor is a record that was late waited for */
	STS_REFRESH_S = 86400,	/* a policy is fetched again when it is a day old, or has had half of its max_age: section 3.3 */
	STS_UNUSED_S = 30 * 86400, /* but not when no mail has asked for it for so long */
	STS_SWEEP_MS = 60000,	/* between two looks at what is kept */
	STS_SWEEP_RECORDS = 1000, /* of which so many are looked at */
	STS_SWEEP_REFRESH = 8,	/* and so many fetched again */
	STS_SWEEP_EXPIRED = 32, /* or forgotten */
	STS_LOOKUPS_MAX = 4096, /* domains that are asked about at once; for further ones what is kept counts */
	STS_FAILURES = 1024,	/* that are remembered; a further one takes the place of another */
};

/* All borrowed until the callback returns. */
struct sts_answer {
	int code;			 /* E_NOMEM: whether there is one is not known, and nothing may be sent without */
	const struct sts_policy *policy; /* NULL: none is in force */
	enum outcome_kind failure;	 /* why there is no fresh one; OUTCOME_GOOD: nothing went wrong */
	const char *text;		 /* the same for people, or "" */
};

typedef void sts_done(void *arg, const struct sts_answer *answer);

struct sts_services {
	struct event_base *base;
	struct dns *dns;
	struct fetch_client *fetch;
	struct state *state; /* NULL: nothing is kept */
	int wait_ms;	     /* STS_WAIT_MS */
	/* Another policy is in force for the domain: connections that were made before know nothing of it. */
	void (*changed)(void *arg, const char *domain);
	void *arg;
};

/* NULL: no memory. */
struct sts_lookups *sts_lookups_new(const struct sts_services *services);
/* No answer comes any more. */
void sts_lookups_free(struct sts_lookups **all);
/* The port of policy hosts: 443 but in a network of its own. */
void sts_lookups_set_port(struct sts_lookups *all, uint16_t port);
const struct sts_cache *sts_lookups_cache(const struct sts_lookups *all);

/* domain: A-labels in lower case. done is called once, never before this returns, and within wait_ms. NULL: no memory. */
struct sts_question *sts_ask(struct sts_lookups *all, const char *domain, sts_done *done, void *arg);
/* done is not called any more. */
void sts_cancel(struct sts_question **question);
/* What is kept of a domain, and of what went wrong: the next mail asks anew. E_NOTFOUND: nothing was. */
int sts_forget(struct sts_lookups *all, const char *domain, struct err *err);
/* Called often; each STS_SWEEP_MS it fetches again what is due, and forgets what is over. */
void sts_lookups_sweep(struct sts_lookups *all);

#endif
