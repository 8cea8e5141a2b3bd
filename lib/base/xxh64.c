/* After the description of the algorithm, xxHash specification 0.1.1 (Yann Collet). Little-endian machines. */
#include "base/xxh64.h"

#include <string.h>

enum { STRIPE = 32, LANES = 4 };

#define PRIME_1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME_3 UINT64_C(0x165667B19E3779F9)
#define PRIME_4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME_5 UINT64_C(0x27D4EB2F165667C5)

static uint64_t rotate(uint64_t n, int bits)
{
	return n << bits | n >> (64 - bits);
}

static uint64_t lane(uint64_t sum, uint64_t input)
{
	return rotate(sum + input * PRIME_2, 31) * PRIME_1;
}

static uint64_t read64(const unsigned char *p)
{
	uint64_t n;

	memcpy(&n, p, sizeof(n));
	return n;
}

static uint64_t stripes(const unsigned char **p, size_t *len, uint64_t seed)
{
	uint64_t a = seed + PRIME_1 + PRIME_2, b = seed + PRIME_2, c = seed, d = seed - PRIME_1, sum;

	for (; *len >= STRIPE; *p += STRIPE, *len -= STRIPE) {
		a = lane(a, read64(*p));
		b = lane(b, read64(*p + 8));
		c = lane(c, read64(*p + 16));
		d = lane(d, read64(*p + 24));
	}
	sum = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
	for (int i = 0; i < LANES; i++)
		sum = (sum ^ lane(0, i == 0 ? a : i == 1 ? b : i == 2 ? c : d)) * PRIME_1 + PRIME_4;
	return sum;
}

static uint64_t rest(uint64_t sum, const unsigned char *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8)
		sum = rotate(sum ^ lane(0, read64(p)), 27) * PRIME_1 + PRIME_4;
	if (len >= 4) {
		uint32_t n;

		memcpy(&n, p, sizeof(n));
		sum = rotate(sum ^ n * PRIME_1, 23) * PRIME_2 + PRIME_3;
		p += 4;
		len -= 4;
	}
	for (; len > 0; p++, len--)
		sum = rotate(sum ^ *p * PRIME_5, 11) * PRIME_1;
	return sum;
}

uint64_t xxh64(const void *bytes, size_t len, uint64_t seed)
{
	const unsigned char *p = bytes;
	size_t total = len;
	uint64_t sum = len >= STRIPE ? stripes(&p, &len, seed) : seed + PRIME_5;

	sum = rest(sum + total, p, len);
	sum = (sum ^ sum >> 33) * PRIME_2;
	sum = (sum ^ sum >> 29) * PRIME_3;
	return sum ^ sum >> 32;
}
