/* wyhash, final version 4 (Wang Yi; in the public domain), with its own secret. Little-endian machines. */
#include "base/checksum.h"

#include <string.h>

enum { SHORT = 16, STRIPE = 48 };

__extension__ typedef unsigned __int128 product;

static const uint64_t secret[4] = {UINT64_C(0x2d358dccaa6c78a5), UINT64_C(0x8bb84b93962eacc9), UINT64_C(0x4b33a62ed433d4a3), UINT64_C(0x4d5a2da51de1aa47)};

static uint64_t mix(uint64_t a, uint64_t b)
{
	product p = (product)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t read64(const unsigned char *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	return n;
}

static uint64_t read32(const unsigned char *p)
{
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	return n;
}

/* Up to SHORT bytes, as two numbers. */
static void read_short(const unsigned char *p, size_t len, uint64_t *a, uint64_t *b)
{
	size_t middle = (len >> 3) << 2;

	*a = *b = 0;
	if (len >= 4) {
		*a = read32(p) << 32 | read32(p + middle);
		*b = read32(p + len - 4) << 32 | read32(p + len - 4 - middle);
	} else if (len > 0) {
		*a = (uint64_t)p[0] << 16 | (uint64_t)p[len >> 1] << 8 | p[len - 1];
	}
}

/* All but the last SHORT bytes or fewer; three lanes that do not wait for each other. */
static uint64_t stripes(const unsigned char **p, size_t *left, uint64_t seed)
{
	uint64_t one = seed, two = seed;

	if (*left >= STRIPE) {
		for (; *left >= STRIPE; *p += STRIPE, *left -= STRIPE) {
			seed = mix(read64(*p) ^ secret[1], read64(*p + 8) ^ seed);
			one = mix(read64(*p + 16) ^ secret[2], read64(*p + 24) ^ one);
			two = mix(read64(*p + 32) ^ secret[3], read64(*p + 40) ^ two);
		}
		seed ^= one ^ two;
	}
	for (; *left > SHORT; *p += SHORT, *left -= SHORT)
		seed = mix(read64(*p) ^ secret[1], read64(*p + 8) ^ seed);
	return seed;
}

uint64_t checksum(const void *bytes, size_t len, uint64_t seed)
{
	const unsigned char *p = bytes;
	size_t left = len;
	uint64_t a, b;
	product last;

	seed ^= mix(seed ^ secret[0], secret[1]);
	if (len <= SHORT) {
		read_short(p, len, &a, &b);
	} else {
		seed = stripes(&p, &left, seed);
		a = read64(p + left - 16);
		b = read64(p + left - 8);
	}
	last = (product)(a ^ secret[1]) * (b ^ seed);
	return mix((uint64_t)last ^ secret[0] ^ len, (uint64_t)(last >> 64) ^ secret[1]);
}
