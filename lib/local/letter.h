/*
 * A letter: a message that a program of this machine hands in, and what is said about it. Addresses are as the caller gave
 * them, perhaps without a domain; pickup completes them. All spans are borrowed or pooled, as who fills it says.
 */
#ifndef MW_LOCAL_LETTER_H
#define MW_LOCAL_LETTER_H

#include "base/span.h"

enum {
	LETTER_HANDOVER = 16,	 /* octets of a handover's name */
	LETTER_ADDRESS = 1024,	 /* of an address as it is given */
	LETTER_NAME = 256,	 /* of a user's name, login or full */
	LETTER_ENVID = 256,
	LETTER_ORCPT = 512,
	LETTER_RECIPIENTS = 1000, /* what an envelope of the spool takes */
};

struct letter_recipient {
	struct span address;
	uint32_t notify;	 /* NOTIFY (RFC 3461 section 4.1), bits: spool/spool.h */
	struct span orcpt;	 /* ORCPT, its xtext decoded, or empty */
};

struct letter {
	unsigned char handover[LETTER_HANDOVER]; /* random: by it pickup knows a letter that comes twice */
	struct span user;	 /* login name */
	struct span full_name;	 /* for From, when that is missing */
	struct span sender;	 /* when one was given; empty: the null sender */
	bool sender_given;
	uint32_t ret;		 /* 0, 1 full, 2 headers */
	struct span envid;	 /* its xtext decoded, or empty */
	struct letter_recipient *recipients;
	size_t recipient_count;
	int64_t written;	 /* seconds since 1970, of one that waited in the drop; 0: now */
};

#endif
