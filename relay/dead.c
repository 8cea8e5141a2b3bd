#include "relay/dead.h"

#include <string.h>

/* Family, port, address. */
static void make_key(const struct sockaddr_storage *address, unsigned char key[DEAD_KEY])
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	memset(key, 0, DEAD_KEY);
	key[0] = address->ss_family == AF_INET6;
	if (address->ss_family == AF_INET6) {
		memcpy(key + 2, &v6->sin6_port, 2);
		memcpy(key + 4, &v6->sin6_addr, 16);
	} else {
		memcpy(key + 2, &v4->sin_port, 2);
		memcpy(key + 4, &v4->sin_addr, 4);
	}
}

static unsigned set_of(const unsigned char key[DEAD_KEY])
{
	uint32_t h = 2166136261U;

	for (int i = 0; i < DEAD_KEY; i++)
		h = (h ^ key[i]) * 16777619U;
	return h % DEAD_SETS;
}

/* NULL: it is not there. */
static const struct dead_address *find(const struct dead *dead, const struct sockaddr_storage *address)
{
	unsigned char key[DEAD_KEY];
	const struct dead_address *set;

	make_key(address, key);
	set = dead->places[set_of(key)];
	for (int i = 0; i < DEAD_WAYS; i++)
		if (set[i].failures > 0 && memcmp(set[i].key, key, DEAD_KEY) == 0)
			return &set[i];
	return NULL;
}

static struct dead_address *find_to_change(struct dead *dead, const struct sockaddr_storage *address)
{
	const struct dead_address *found = find(dead, address);

	return found ? &dead->places[0][0] + (found - &dead->places[0][0]) : NULL;
}

static struct dead_address *make(struct dead *dead, const struct sockaddr_storage *address)
{
	unsigned char key[DEAD_KEY];
	struct dead_address *set, *place;

	make_key(address, key);
	set = dead->places[set_of(key)];
	place = &set[0];
	for (int i = 1; i < DEAD_WAYS && place->failures > 0; i++)
		if (set[i].failures == 0 || set[i].until_ms < place->until_ms)
			place = &set[i];
	*place = (struct dead_address){0};
	memcpy(place->key, key, DEAD_KEY);
	return place;
}

bool dead_is(const struct dead *dead, const struct sockaddr_storage *address, int64_t now_ms)
{
	const struct dead_address *found = find(dead, address);

	return found != NULL && found->until_ms > now_ms;
}

void dead_ask(struct dead *dead, const struct sockaddr_storage *address, int64_t now_ms)
{
	struct dead_address *found = find_to_change(dead, address);

	if (found == NULL || found->until_ms > now_ms)
		return;
	found->asked = true;
	found->until_ms = now_ms + DEAD_FIRST_MS;
}

/* Many that were under way at once are one failure. */
void dead_add(struct dead *dead, const struct sockaddr_storage *address, int64_t now_ms)
{
	struct dead_address *place = find_to_change(dead, address);
	int64_t ms = DEAD_FIRST_MS;

	if (place != NULL && place->until_ms > now_ms && !place->asked)
		return;
	if (place == NULL)
		place = make(dead, address);
	else if (place->since_ms + DEAD_FORGET_MS < now_ms)
		place->failures = 0;
	for (unsigned i = 0; i < place->failures && ms < DEAD_MOST_MS; i++)
		ms *= 2;
	place->failures++;
	place->asked = false;
	place->since_ms = now_ms;
	place->until_ms = now_ms + (ms < DEAD_MOST_MS ? ms : DEAD_MOST_MS);
}

void dead_remove(struct dead *dead, const struct sockaddr_storage *address)
{
	struct dead_address *found = find_to_change(dead, address);

	if (found != NULL)
		*found = (struct dead_address){0};
}
