/* What SEARCH asks for (RFC 3501 section 6.4.4; RETURN: RFC 4731) as a tree. */
#ifndef MW_IMAP_SEARCH_H
#define MW_IMAP_SEARCH_H

#include "imap/lex.h"
#include "imap/set.h"

enum {
	IMAP_SEARCH_DEPTH = 32,	/* of parentheses, NOT and OR together */
	IMAP_SEARCH_KEYS = 4096, /* in one command */
};

enum imap_search_kind {
	/* Groups: first child and its neighbours. */
	IMAP_SEARCH_AND,
	IMAP_SEARCH_OR,
	IMAP_SEARCH_NOT,
	/* The index knows. */
	IMAP_SEARCH_ALL,
	IMAP_SEARCH_SEQUENCE, /* set */
	IMAP_SEARCH_UID,      /* set */
	IMAP_SEARCH_FLAG,     /* number: an enum imap_flag bit */
	IMAP_SEARCH_KEYWORD,  /* text */
	IMAP_SEARCH_RECENT,
	IMAP_SEARCH_BEFORE, /* when, as the next two */
	IMAP_SEARCH_ON,
	IMAP_SEARCH_SINCE,
	IMAP_SEARCH_LARGER, /* number */
	IMAP_SEARCH_SMALLER,
	/* The facts know. */
	IMAP_SEARCH_SENTBEFORE,
	IMAP_SEARCH_SENTON,
	IMAP_SEARCH_SENTSINCE,
	/* The file must be read. */
	IMAP_SEARCH_HEADER, /* name, text */
	IMAP_SEARCH_BODY,   /* text */
	IMAP_SEARCH_TEXT,   /* text */
};

struct imap_search_key {
	enum imap_search_kind kind;
	struct imap_search_key *first, *next;
	struct span name, text; /* text: as sent; turned into what is searched for by the searcher */
	struct imap_set set;
	int64_t when; /* midnight, seconds since 1970 */
	uint64_t number;
};

enum imap_search_return {
	IMAP_RETURN_MIN = 1,
	IMAP_RETURN_MAX = 2,
	IMAP_RETURN_ALL = 4,
	IMAP_RETURN_COUNT = 8,
};

struct imap_search {
	struct imap_search_key *root; /* an AND */
	struct span charset;	      /* empty: none was named */
	bool extended;		      /* RETURN (...) was given */
	unsigned returns;
	size_t keys;
};

/*
 * highest sequence number and UID: what '*' stands for. Keys that cost little come first in every AND.
 * Pooled in lex->pool; NULL and lex->wrong when malformed.
 */
struct imap_search *imap_search_parse(struct imap_lex *lex, uint32_t exists, uint32_t highest_uid);

#endif
