/*
 * Open addressing over a fixed table keyed by a per-process secret, so that
 * nobody can choose addresses that collide. When the table is full the address
 * is let in uncounted: the total limit of the daemon still holds.
 */
#include "net/listener.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { PEER_SLOTS = 4096, PEER_PROBES = 16 };

struct peer_slot {
	uint64_t key; /* 0: free */
	uint32_t count;
};

struct peer_count {
	uint64_t secret[2];
	struct peer_slot slots[PEER_SLOTS];
};

struct peer_count *peer_count_new(void)
{
	struct peer_count *count = calloc(1, sizeof(*count));

	if (count != NULL && getrandom(count->secret, sizeof(count->secret), 0) < 0)
		peer_count_free(&count);
	return count;
}

void peer_count_free(struct peer_count **count)
{
	free(*count);
	*count = NULL;
}

static uint64_t peer_mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* One key for an IPv4 address or an IPv6 /64, which is one customer. */
static uint64_t peer_key(const struct peer_count *count, const struct sockaddr_storage *address)
{
	uint64_t part = address->ss_family;
	uint64_t key;

	if (address->ss_family == AF_INET) {
		part = ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr;
	} else if (address->ss_family == AF_INET6) {
		const struct in6_addr *in6 =
		    &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
		uint32_t v4;

		if (IN6_IS_ADDR_V4MAPPED(in6)) {
			memcpy(&v4, &in6->s6_addr[12], sizeof(v4));
			part = v4;
		} else {
			memcpy(&part, in6->s6_addr, sizeof(part));
		}
	}
	key = peer_mix(part ^ count->secret[0], count->secret[1] | 1);
	return key ? key : 1;
}

static struct peer_slot *peer_find(struct peer_count *count, uint64_t key, bool make)
{
	struct peer_slot *empty = NULL;

	for (size_t i = 0; i < PEER_PROBES; i++) {
		struct peer_slot *slot = &count->slots[(key + i) % PEER_SLOTS];

		if (slot->count > 0 && slot->key == key)
			return slot;
		if (slot->count == 0 && empty == NULL)
			empty = slot;
	}
	if (make && empty != NULL)
		empty->key = key;
	return make ? empty : NULL;
}

bool peer_count_enter(struct peer_count *count, const struct sockaddr_storage *address, uint32_t max)
{
	struct peer_slot *slot = peer_find(count, peer_key(count, address), true);

	if (slot == NULL)
		return true;
	if (slot->count >= max)
		return false;
	slot->count++;
	return true;
}

void peer_count_leave(struct peer_count *count, const struct sockaddr_storage *address)
{
	struct peer_slot *slot = peer_find(count, peer_key(count, address), false);

	if (slot != NULL)
		slot->count--;
}
