/*
 * MTA-STS (RFC 8461): a domain says by a TXT record that it has a policy, and in a file on a web server what that is: which hosts take
 * its mail, and that they do so over TLS with a certificate that authorities vouch for.
 */
#ifndef MW_STS_STS_H
#define MW_STS_STS_H

#include "base/buf.h"
#include "base/err.h"
#include "dns/dns.h"

enum {
	STS_ID_MAX = 32,
	STS_MX_MAX = 64,	  /* patterns of one policy */
	STS_NAMES_MAX = 4096,	  /* octets of all of them, each with its NUL */
	STS_AGE_MAX = 31557600,	  /* seconds: a year; what says more is taken for this */
	STS_FILE_MAX = 64 * 1024, /* octets of a policy's file */
	STS_TEXT_MAX = 8192,	  /* of a policy in sts_policy_format's words */
	STS_RECORD_MAX = 2048,	  /* octets of a TXT record; a longer one is none of ours */
};

enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };

/* May be copied. The parser of policies leaves domain and id empty: they are the caller's. */
struct sts_policy {
	char domain[DNS_NAME_TEXT];
	char id[STS_ID_MAX + 1]; /* of the TXT record that it was fetched for */
	enum sts_mode mode;
	uint32_t max_age; /* seconds */
	size_t mx_count;
	uint16_t mx_at[STS_MX_MAX]; /* places in names, for sts_policy_mx */
	char names[STS_NAMES_MAX];
};

/* ---- record.c ---- */

/*
 * The id in the answer to a question for TXT records of _mta-sts.DOMAIN (section 3.1), of which one and no more must be a policy's. records: as
 * of dns_answer. E_NOTFOUND: there is none; E_SYNTAX: more than one, or malformed. Either means that no policy was found.
 */
int sts_records_read(struct span records, char id[STS_ID_MAX + 1], struct err *err);
/* One record's text: the same errors. */
int sts_record_parse(struct span text, char id[STS_ID_MAX + 1], struct err *err);

/* ---- policy.c ---- */

/* A policy's file (section 3.2). Lines end in LF or CR LF; blank ones and unknown fields are passed over. E_SYNTAX, E_TOOBIG, E_LIMIT. */
int sts_policy_parse(struct span text, struct sts_policy *out, struct err *err);
/* As a file, with LF, that is parsed to the same: for what is kept, and for reports (RFC 8460 section 4.4). At most STS_TEXT_MAX octets. */
void sts_policy_format(const struct sts_policy *policy, struct buf *out);
/* Section 3.2: is what a web server sent meant to be read as a policy, and no page or image that its users may have put there? */
bool sts_type_is_text(struct span content_type);
/* The pattern of this place, "mail.example.org" or "*.example.org": A-labels in lower case. Lives as long as policy. */
const char *sts_policy_mx(const struct sts_policy *policy, size_t place);
/* Section 4.1: does a pattern fit the host's name? "*" stands for one whole label, the first. host: A-labels, without the last dot. */
bool sts_policy_matches(const struct sts_policy *policy, const char *host);
/* "none", "testing", "enforce". Static. */
const char *sts_mode_name(enum sts_mode mode);

#endif
