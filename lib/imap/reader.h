/*
 * Finds where a command ends (RFC 3501 section 2.2, literals: section 4.3, RFC
 * 7888). Sans-I/O: the owner shows all bytes received and not yet consumed.
 */
#ifndef MW_IMAP_READER_H
#define MW_IMAP_READER_H

#include "base/span.h"

enum {
	IMAP_LINE_MAX = 64 * 1024,	 /* a command without its literals */
	IMAP_LITERALS_MAX = 1024 * 1024, /* the literals of one command that are kept in memory */
};

enum imap_read {
	IMAP_READ_MORE,	    /* show again with more */
	IMAP_READ_COMMAND,  /* *len bytes are a command, its line end included */
	IMAP_READ_LITERAL,  /* *len bytes go up to a literal; accept it, or consume the bytes and take it otherwise */
	IMAP_READ_TOO_LONG, /* no line end in sight: nothing that follows can be understood */
};

struct imap_reader {
	size_t line_max, literals_max; /* set by imap_reader_init */
	size_t line;	  /* bytes before `at` that are no literals */
	size_t kept;	  /* bytes before `at` that are literals */
	size_t at;	  /* where the search goes on */
	uint64_t literal; /* size of the literal found */
	bool sync;	/* the client waits for "+" before it sends it */
	bool is_binary; /* literal8 (RFC 3516) */
};

void imap_reader_init(struct imap_reader *reader, size_t line_max, size_t literals_max);
enum imap_read imap_reader_look(struct imap_reader *reader, struct span input, size_t *len);
/* The literal behind `len` bytes is kept: the command goes on after it. False when it would pass literals_max. */
bool imap_reader_accept(struct imap_reader *reader, size_t len);
/* For the next command. */
void imap_reader_reset(struct imap_reader *reader);

/* "{12}", "{12+}", "~{12}" at the end of a line without its line end; false when there is none. */
bool imap_literal_find(struct span line, uint64_t *size, bool *sync, bool *is_binary);

#endif
