/* What FETCH asks for (RFC 3501 section 6.4.5, fetch-att in section 9). */
#ifndef MW_IMAP_FETCH_H
#define MW_IMAP_FETCH_H

#include "imap/lex.h"

enum { IMAP_FETCH_MAX = 128, IMAP_SECTION_DEPTH_MAX = 100, IMAP_SECTION_FIELDS_MAX = 256 };

enum imap_fetch_kind {
	IMAP_FETCH_UID,
	IMAP_FETCH_FLAGS,
	IMAP_FETCH_INTERNALDATE,
	IMAP_FETCH_SIZE,
	IMAP_FETCH_ENVELOPE,
	IMAP_FETCH_BODY,
	IMAP_FETCH_BODYSTRUCTURE,
	IMAP_FETCH_SECTION, /* BODY[...] and the RFC822 forms */
};

enum imap_section_kind {
	IMAP_SECTION_WHOLE, /* of the message, or of the part */
	IMAP_SECTION_HEADER,
	IMAP_SECTION_FIELDS,
	IMAP_SECTION_FIELDS_NOT,
	IMAP_SECTION_TEXT,
	IMAP_SECTION_MIME,
};

struct imap_section {
	enum imap_section_kind kind;
	uint32_t *path; /* part numbers */
	size_t depth;
	struct span *fields;
	size_t field_count;
};

struct imap_fetch_item {
	enum imap_fetch_kind kind;
	bool peek; /* does not set \Seen */
	struct imap_section section;
	bool partial;
	uint32_t offset, count;
	struct span label; /* how the answer names it: "BODY[1.MIME]<0>", "RFC822.TEXT" */
};

struct imap_fetch {
	struct imap_fetch_item items[IMAP_FETCH_MAX + 2]; /* and those of imap_fetch_add */
	size_t count;
	bool needs_facts, needs_file, sets_seen, has_uid, has_flags;
};

/* Pooled in lex->pool; NULL and lex->wrong when malformed. */
struct imap_fetch *imap_fetch_parse(struct imap_lex *lex);
/* Adds UID or FLAGS when it is not there. */
void imap_fetch_add(struct imap_fetch *fetch, enum imap_fetch_kind kind);

#endif
