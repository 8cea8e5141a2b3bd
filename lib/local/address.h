/* Addresses that a program of this machine gives, who leaves the domain out where it means this machine's. */
#ifndef MW_LOCAL_ADDRESS_H
#define MW_LOCAL_ADDRESS_H

#include "base/buf.h"
#include "smtp/address.h"

/* "root" becomes root@domain; empty stays empty: the null sender. Angle brackets may stand around it. E_SYNTAX with a text. */
int local_address(struct span given, struct span domain, char out[SMTP_PATH_MAX + 1], struct err *err);

/*
 * The value of a From field (RFC 5322 section 3.4): the name quoted where it must be, or as an encoded word (RFC 2047)
 * when it is not ASCII; what is no UTF-8 and what cannot be printed is left out.
 */
void local_from(struct span full_name, struct span address, struct buf *out);

#endif
