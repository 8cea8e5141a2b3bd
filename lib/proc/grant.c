#include "proc/grant.h"

#include <sodium.h>

enum { GRANT_MAC = 16 };

static void grant_sign(const unsigned char key[GRANT_KEY], enum grant_purpose purpose,
    const uint64_t numbers[3], struct span address, unsigned char mac[GRANT_MAC])
{
	crypto_generichash_state state;
	unsigned char kind = (unsigned char)purpose;

	crypto_generichash_init(&state, key, GRANT_KEY, GRANT_MAC);
	crypto_generichash_update(&state, &kind, 1);
	crypto_generichash_update(&state, (const unsigned char *)numbers, 3 * sizeof(*numbers));
	crypto_generichash_update(&state, (const unsigned char *)address.ptr, address.len);
	crypto_generichash_final(&state, mac, GRANT_MAC);
}

void grant_make(const unsigned char key[GRANT_KEY], enum grant_purpose purpose, uint64_t account,
    uint64_t quota, struct span address, int64_t until, unsigned char out[GRANT_SIZE])
{
	uint64_t numbers[3] = {account, quota, (uint64_t)until};

	memcpy(out, &numbers[2], sizeof(numbers[2]));
	grant_sign(key, purpose, numbers, address, out + sizeof(numbers[2]));
}

bool grant_check(const unsigned char key[GRANT_KEY], enum grant_purpose purpose, uint64_t account,
    uint64_t quota, struct span address, int64_t now, struct span grant)
{
	uint64_t numbers[3] = {account, quota, 0};
	unsigned char mac[GRANT_MAC];

	if (grant.len != GRANT_SIZE)
		return false;
	memcpy(&numbers[2], grant.ptr, sizeof(numbers[2]));
	if ((int64_t)numbers[2] < now)
		return false;
	grant_sign(key, purpose, numbers, address, mac);
	return sodium_memcmp(mac, grant.ptr + sizeof(numbers[2]), GRANT_MAC) == 0;
}

/* A name has no NUL in it: where it ends is certain. */
static struct span program_text(char buffer[GRANT_PROGRAM_MAX], struct span name, struct span program)
{
	size_t first = name.len < 70 ? name.len : 70, second = program.len < 1024 ? program.len : 1024;

	memcpy(buffer, name.ptr, first);
	buffer[first] = '\0';
	memcpy(buffer + first + 1, program.ptr, second);
	return span_of(buffer, first + 1 + second);
}

void grant_make_program(const unsigned char key[GRANT_KEY], uint32_t kind, struct span name, struct span program, int64_t until,
    unsigned char out[GRANT_SIZE])
{
	char text[GRANT_PROGRAM_MAX];

	grant_make(key, GRANT_PROGRAM, kind, 0, program_text(text, name, program), until, out);
}

bool grant_check_program(const unsigned char key[GRANT_KEY], uint32_t kind, struct span name, struct span program, int64_t now,
    struct span grant)
{
	char text[GRANT_PROGRAM_MAX];

	return grant_check(key, GRANT_PROGRAM, kind, 0, program_text(text, name, program), now, grant);
}
