/* Paths and addresses of RFC 5321 section 4.1.2, with RFC 6531's UTF-8. */
#ifndef MW_SMTP_ADDRESS_H
#define MW_SMTP_ADDRESS_H

#include "base/err.h"
#include "base/span.h"

enum { SMTP_LOCAL_MAX = 64, SMTP_DOMAIN_MAX = 255, SMTP_PATH_MAX = 320 };
/* Encoded values of ORCPT and ENVID (RFC 3461 sections 4.2 and 4.4). */
enum { SMTP_XTEXT_MAX = 500, SMTP_ENVID_MAX = 100 };

enum smtp_path_flags {
	SMTP_PATH_NULL = 1,	  /* "<>" is allowed */
	SMTP_PATH_UTF8 = 2,	  /* SMTPUTF8 was given */
	SMTP_PATH_POSTMASTER = 4, /* "<postmaster>" without a domain is allowed */
};

/*
 * Path = "<" [ A-d-l ":" ] Mailbox ">". text begins at "<"; *used is set behind ">".
 * out: the address without source route, quoted local parts in their shortest form,
 * NUL-ended, SMTP_PATH_MAX + 1 bytes. E_SYNTAX with a text; E_UNSUPPORTED when it
 * needs SMTPUTF8 (553 5.6.7).
 */
int smtp_path_parse(struct span text, unsigned flags, char out[SMTP_PATH_MAX + 1], size_t *used, struct err *err);

/* An address as people write it, without "<>": all of text is one. flags and out as above. False: it is none. */
bool smtp_address_parse(struct span text, unsigned flags, char out[SMTP_PATH_MAX + 1]);

/* Domain or address literal as EHLO takes it (section 4.1.3). */
bool smtp_domain_is_valid(struct span domain, bool utf8);
bool smtp_literal_is_valid(struct span literal);

#endif
