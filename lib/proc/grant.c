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
