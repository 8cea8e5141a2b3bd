/* Records and types for people, as zone files write them (RFC 1035 section 5.1). */
#ifndef MW_RESOLVE_PRESENT_H
#define MW_RESOLVE_PRESENT_H

#include "base/buf.h"

/* "MX", "TYPE65" (RFC 3597 section 5), in any case. False: no type that can be asked for, such as ANY or AXFR. */
bool present_type_find(struct span text, unsigned *type);
bool present_type_is_data(unsigned type);
void present_type(unsigned type, struct buf *out);
/* Names in it are whole. What is no RDATA of its type is shown as octets. */
void present_rdata(unsigned type, struct span rdata, struct buf *out);

#endif
