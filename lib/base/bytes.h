/* Numbers in the formats on disk: little-endian, of 1 to 8 bytes. */
#ifndef MW_BASE_BYTES_H
#define MW_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline void put_le(void *out, uint64_t n, size_t bytes)
{
	unsigned char *p = out;

	for (size_t i = 0; i < bytes; i++, n >>= 8)
		p[i] = (unsigned char)n;
}

static inline uint64_t get_le(const void *in, size_t bytes)
{
	const unsigned char *p = in;
	uint64_t n = 0;

	for (size_t i = bytes; i > 0; i--)
		n = n << 8 | p[i - 1];
	return n;
}

#endif
