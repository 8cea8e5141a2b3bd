/* What a check against a hash costs, read from its text before anything is computed. Of crypt(5) the forms with a cost that can be chosen, and MD5. */
#include "auth/hash.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Measured, on a machine where one of today's hashes takes 100 ms. */
static const double ms_argon2 = 100.0 / (2 * 65536), /* a pass over a KiB */
    ms_bcrypt = 0.06, ms_sha = 0.0006, ms_sha1 = 0.0014, ms_sunmd5 = 0.0017, /* a round */
    ms_scrypt = 2.5; /* a MiB */

enum { MD5_ROUNDS = 1000, SUNMD5_ROUNDS = 4096, SHA_ROUNDS = 5000, MD5_BLOCK = 64, SHA_256_BLOCK = 64, SHA_512_BLOCK = 128 };

static const struct hash_cost unknown = {HUGE_VAL, HUGE_VAL};

static double number_behind(const char *hash, const char *word, double otherwise)
{
	const char *at = strstr(hash, word);

	return at != NULL ? (double)strtoull(at + strlen(word), NULL, 10) : otherwise;
}

static struct hash_cost cost_of_argon2(const char *hash)
{
	unsigned long long kib, times;
	const char *at = strstr(hash, "$m=");

	if (at == NULL || sscanf(at, "$m=%llu,t=%llu,", &kib, &times) != 2)
		return unknown;
	return (struct hash_cost){(double)kib * (double)times * ms_argon2, (double)kib / 1024};
}

/* These hash the password again in each round. */
static struct hash_cost cost_of_rounds(double ms, size_t password_len, double block)
{
	return (struct hash_cost){ms * (1 + 2 * (double)password_len / block), 0};
}

static struct hash_cost cost_of_memory(double log2_n, double r, double p, double times)
{
	double mib = 128 * r * exp2(log2_n) / (1024 * 1024);

	return (struct hash_cost){mib * p * (1 + times) * ms_scrypt, mib * p};
}

/* 64 and more: no digit. */
static unsigned digit_of(char c)
{
	static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at != NULL ? (unsigned)(at - digits) : 64;
}

/* yescrypt's numbers: the first digit says how many follow it. NULL: none. */
static const char *take_number(const char *at, double least, double *out)
{
	unsigned c = digit_of(*at), start = 0, end = 47, more = 0;
	double value = 0;

	if (c > 63)
		return NULL;
	*out = least;
	for (; c > end; more++) {
		*out += (end + 1 - start) * exp2(6 * more);
		start = end + 1;
		end = start + (62 - end) / 2;
	}
	value = c - start;
	for (; more > 0; more--) {
		c = digit_of(*++at);
		if (c > 63)
			return NULL;
		value = value * 64 + c;
	}
	*out += value;
	return at + 1;
}

/* flavour, log2(N), r; then perhaps which of p, t, g and NROM follow, of which the latter two are of no use to a log-in. */
static struct hash_cost cost_of_yescrypt(const char *at)
{
	double flavour, n, r, have = 0, p = 1, t = 0;

	if ((at = take_number(at, 0, &flavour)) == NULL || (at = take_number(at, 1, &n)) == NULL || (at = take_number(at, 1, &r)) == NULL)
		return unknown;
	if (*at != '$' && (at = take_number(at, 1, &have)) == NULL)
		return unknown;
	if (have >= 4 || (fmod(have, 2) >= 1 && (at = take_number(at, 2, &p)) == NULL) || (have >= 2 && take_number(at, 1, &t) == NULL))
		return unknown;
	return cost_of_memory(n, r, p, t);
}

/* scrypt: log2(N) in one digit, r and p in five, the lowest first. */
static struct hash_cost cost_of_scrypt(const char *at)
{
	double n = digit_of(*at), pair[2] = {0, 0};

	if (n > 63)
		return unknown;
	at++;
	for (unsigned i = 0; i < 10; i++) {
		unsigned digit = digit_of(at[i]);

		if (digit > 63)
			return unknown;
		pair[i / 5] += digit * exp2(6 * (i % 5));
	}
	return cost_of_memory(n, pair[0], pair[1], 0);
}

static bool begins(const char *hash, const char *with)
{
	return strncmp(hash, with, strlen(with)) == 0;
}

struct hash_cost hash_cost(const char *hash, size_t password_len)
{
	if (begins(hash, "$argon2"))
		return cost_of_argon2(hash);
	if (begins(hash, "$y$") || begins(hash, "$gy$"))
		return cost_of_yescrypt(strchr(hash + 1, '$') + 1);
	if (begins(hash, "$7$"))
		return cost_of_scrypt(hash + 3);
	if (begins(hash, "$2") && strlen(hash) > 6)
		return (struct hash_cost){exp2((double)strtoull(hash + 4, NULL, 10)) * ms_bcrypt, 0};
	if (begins(hash, "$6$") || begins(hash, "$5$"))
		return cost_of_rounds(number_behind(hash, "$rounds=", SHA_ROUNDS) * ms_sha, password_len, hash[1] == '6' ? SHA_512_BLOCK : SHA_256_BLOCK);
	if (begins(hash, "$sha1$"))
		return (struct hash_cost){number_behind(hash, "$sha1$", 0) * ms_sha1, 0};
	if (begins(hash, "$md5"))
		return (struct hash_cost){(SUNMD5_ROUNDS + number_behind(hash, "rounds=", 0)) * ms_sunmd5, 0};
	if (begins(hash, "$1$"))
		return cost_of_rounds(MD5_ROUNDS * ms_sha, password_len, MD5_BLOCK);
	return begins(hash, "$3$") ? (struct hash_cost){0, 0} : unknown; /* of NT: no rounds at all */
}

bool hash_is_bearable(const struct hash_cost *cost)
{
	return cost->ms <= HASH_MS_MAX && cost->mib <= HASH_MIB_MAX;
}

bool hash_is_dear(const struct hash_cost *cost)
{
	return cost->ms > 2 * HASH_MS_TODAYS || cost->mib > HASH_MIB_TODAYS;
}
