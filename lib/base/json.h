/* JSON as it is written here: rows of the control commands, lines of the log. */
#ifndef MW_BASE_JSON_H
#define MW_BASE_JSON_H

#include "buf.h"

/*
 * Adds s as a string with its quotes (RFC 8259 section 7); control characters are
 * escaped, each byte that is not UTF-8 is shown as U+FFFD.
 */
void json_add_string(struct buf *out, struct span s);

#endif
