/* The system flags a client can set (RFC 3501 section 2.3.2), as bits; the store has the same. */
#ifndef MW_IMAP_FLAGS_H
#define MW_IMAP_FLAGS_H

enum imap_flag {
	IMAP_SEEN = 1,
	IMAP_ANSWERED = 2,
	IMAP_FLAGGED = 4,
	IMAP_DELETED = 8,
	IMAP_DRAFT = 16,
};

enum { IMAP_KEYWORD_MAX = 128 }; /* bytes of a keyword */

#endif
