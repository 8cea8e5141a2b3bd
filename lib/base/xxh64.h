/* XXH64, a checksum of 64 bits: finds damage, not malice. Several times faster than memory is read. */
#ifndef MW_BASE_XXH64_H
#define MW_BASE_XXH64_H

#include <stddef.h>
#include <stdint.h>

/* The same bytes under another seed have another checksum. */
uint64_t xxh64(const void *bytes, size_t len, uint64_t seed);

#endif
