/* Text forms of bytes: base64 (RFC 4648 section 4), hex, and the base32 of queue ids. */
#ifndef MW_BASE_ENCODE_H
#define MW_BASE_ENCODE_H

#include "buf.h"

void base64_encode(struct buf *out, struct span in);

/* Strict: padding required, no blanks, no stray bits. 0 or E_SYNTAX or E_TOOBIG (out's maximum) or E_NOMEM. */
int base64_decode(struct buf *out, struct span in);

/* The same in the alphabet of URLs, without padding (RFC 4648 section 5); E_NOMEM as well. */
int base64url_decode(struct buf *out, struct span in);

/* Exactly 2 * size hex digits; E_SYNTAX otherwise. */
int hex_decode(struct span in, unsigned char *out, size_t size);

/*
 * Crockford base32, upper case, fixed number of digits, most significant first,
 * so that text order is number order. digits at most 13; out gets a NUL.
 */
void base32_format(uint64_t n, unsigned digits, char *out);
bool base32_parse(struct span in, uint64_t *out);

#endif
