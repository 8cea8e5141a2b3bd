/* wyhash, a checksum of 64 bits: finds damage, not malice. As fast as memory is read. */
#ifndef MW_BASE_CHECKSUM_H
#define MW_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The same bytes under another seed have another checksum. */
uint64_t checksum(const void *bytes, size_t len, uint64_t seed);

#endif
