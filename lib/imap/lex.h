/*
 * The words of IMAP commands (RFC 3501 section 9), read from a whole command
 * with its literals in place. Every function moves on when it succeeds; when it
 * does not, `wrong` says what was expected and all later ones fail too, so that
 * a command may be read straight through and looked at once.
 */
#ifndef MW_IMAP_LEX_H
#define MW_IMAP_LEX_H

#include "base/pool.h"
#include "base/span.h"

#include <stdint.h>

enum { IMAP_TAG_MAX = 64 };

struct imap_lex {
	struct span in; /* without the last line end */
	size_t at;
	const char *wrong;  /* NULL: all well so far */
	struct pool *pool; /* of what had to be unquoted */
};

void imap_lex_init(struct imap_lex *lex, struct span command, struct pool *pool);

/* False and `wrong` set to a static sentence. */
bool imap_lex_fail(struct imap_lex *lex, const char *wrong);

bool imap_lex_at_end(const struct imap_lex *lex);
/* True when the next character is c; it is not taken. */
bool imap_lex_sees(const struct imap_lex *lex, char c);
/* Takes c when it is next. */
bool imap_lex_take(struct imap_lex *lex, char c);
/* c must be next. */
bool imap_lex_char(struct imap_lex *lex, char c);
bool imap_lex_space(struct imap_lex *lex);
/* Nothing may follow. */
bool imap_lex_end(struct imap_lex *lex);

bool imap_lex_tag(struct imap_lex *lex, struct span *out);
bool imap_lex_atom(struct imap_lex *lex, struct span *out);
/* An atom or a string; pooled when it had to be unquoted, else borrowed from the command. */
bool imap_lex_astring(struct imap_lex *lex, struct span *out);
bool imap_lex_string(struct imap_lex *lex, struct span *out);
/* As astring, '%' and '*' allowed in the atom. */
bool imap_lex_pattern(struct imap_lex *lex, struct span *out);
bool imap_lex_number(struct imap_lex *lex, uint64_t max, uint64_t *out);
/* Letters, digits, '.' and '-' up to anything else: item names. May be empty. */
struct span imap_lex_word(struct imap_lex *lex);
/* Characters of a sequence set. */
bool imap_lex_set(struct imap_lex *lex, struct span *out);

/* A mailbox name as the client writes it, turned into UTF-8 (section 5.1.3); INBOX in any case becomes "INBOX". */
bool imap_lex_mailbox(struct imap_lex *lex, struct span *out);

/*
 * Flags: system ones as bits of enum imap_flag, keywords as names (pooled array). \Recent is refused.
 * list: "(a b)"; plain: also without parentheses, as STORE allows.
 */
struct imap_flags {
	uint32_t flags;
	struct span *keywords;
	size_t keyword_count;
};
bool imap_lex_flags(struct imap_lex *lex, bool plain, struct imap_flags *out);

/* What stands behind ID (RFC 2971), skipped: what clients say of themselves is unbounded and of no use. */
bool imap_lex_id(struct imap_lex *lex);

/* "dd-Mmm-yyyy", quoted or not: seconds since 1970 of its midnight, UTC. */
bool imap_lex_date(struct imap_lex *lex, int64_t *out);
/* "\"dd-Mmm-yyyy hh:mm:ss +zzzz\"" (section 9, date-time). */
bool imap_lex_date_time(struct imap_lex *lex, int64_t *out);

#endif
