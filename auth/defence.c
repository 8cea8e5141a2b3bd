#include "auth/defence.h"

#include "auth/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ROWS = 1024,
	WAYS = 8,
	USER_SHOWN = 96,
	DEBT_MAX_US = 5 * 1000 * 1000,		/* who has not failed yet is refused above this much of processor time */
	DEBT_FAILED_MAX_US = DEBT_MAX_US / 2,	/* who has failed, above this */
	DEBT_SHARE = 4,				/* strangers' wrong guesses have the fourth part of a processor */
};

/* What holds for a kind. Failures are forgotten one by one; the answer of the n-th that is over `free` waits. */
static const struct rule {
	unsigned free;	    /* so many are answered at once */
	unsigned most;	    /* with so many, refused */
	int64_t forget_ms; /* one is forgotten after this time without another */
} rules[DEFENCE_KINDS] = {
    [DEFENCE_PAIR] = {1, 10, 60 * 1000},
    [DEFENCE_ADDRESS] = {20, 60, 30 * 1000},
    [DEFENCE_ACCOUNT] = {DEFENCE_CHECKS, DEFENCE_CHECKS, DEFENCE_MINUTE_MS}, /* by the times of its checks, not by this */
};

/* A check that waits or is under way: it counts for as long as that takes, and then for a minute. */
static const int64_t CHECK_PENDING = INT64_MAX;

static const unsigned waits_s[] = {1, 2, 4, 8, 15};

struct slot {
	uint64_t key; /* 0: nothing */
	uint64_t source, account;
	int64_t last_ms;
	uint64_t refused;
	uint32_t count;
	int64_t checks_ms[DEFENCE_CHECKS]; /* of an account: when strangers' checks ended; 0: none, or CHECK_PENDING */
	char address[64];
	char user[USER_SHOWN];
};

struct defence {
	unsigned char key[crypto_shorthash_KEYBYTES];
	int64_t debt_us, debt_at_ms;
	struct slot tables[DEFENCE_KINDS][ROWS][WAYS];
};

/* ---- who it is ---- */

struct defence *defence_new(const unsigned char secret[DIRECTORY_SECRET])
{
	static const char purpose[] = "places";
	struct defence *d = calloc(1, sizeof(*d));

	if (d != NULL)
		crypto_generichash(d->key, sizeof(d->key), (const unsigned char *)purpose, sizeof(purpose), secret, DIRECTORY_SECRET);
	return d;
}

static uint64_t hash_of(const struct defence *d, const char *text)
{
	unsigned char hash[crypto_shorthash_BYTES];
	uint64_t key;

	crypto_shorthash(hash, (const unsigned char *)text, strlen(text), d->key);
	memcpy(&key, hash, sizeof(key));
	return key != 0 ? key : 1;
}

static void put_address(struct span remote, char out[64])
{
	unsigned char binary[16];
	char text[64], prefix[INET6_ADDRSTRLEN];

	span_copy(remote, text, sizeof(text));
	if (inet_pton(AF_INET6, text, binary) != 1) {
		memcpy(out, text, sizeof(text));
	} else if (IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)binary)) {
		inet_ntop(AF_INET, binary + 12, out, 64);
	} else {
		memset(binary + 8, 0, 8);
		snprintf(out, 64, "%s/64", inet_ntop(AF_INET6, binary, prefix, sizeof(prefix)));
	}
}

void defence_attempt(struct defence *d, struct span user, struct span remote, struct attempt *out)
{
	char both[sizeof(out->user) + sizeof(out->address) + 8];

	memset(out, 0, sizeof(*out));
	if (address_canonical(user, out->user, NULL) != 0)
		span_copy(user, out->user, sizeof(out->user));
	put_address(remote, out->address);
	snprintf(both, sizeof(both), "a %s", out->address);
	out->source = hash_of(d, both);
	snprintf(both, sizeof(both), "u %s", out->user);
	out->account = hash_of(d, both);
	snprintf(both, sizeof(both), "p %s\n%s", out->address, out->user);
	out->pair = hash_of(d, both);
}

void defence_attempt_machine(struct defence *d, struct span name, struct attempt *a)
{
	char both[sizeof(a->user) + sizeof(a->address) + 8];

	snprintf(both, sizeof(both), "m %.*s", SPAN_ARG(name));
	a->account = hash_of(d, both);
	snprintf(both, sizeof(both), "q %s\n%.*s", a->address, SPAN_ARG(name));
	a->pair = hash_of(d, both);
}

/* ---- the tables ---- */

static uint64_t key_of(const struct attempt *a, enum defence_kind kind)
{
	return kind == DEFENCE_PAIR ? a->pair : kind == DEFENCE_ADDRESS ? a->source : a->account;
}

static struct slot *find(struct defence *d, enum defence_kind kind, const struct attempt *a)
{
	uint64_t key = key_of(a, kind);
	struct slot *row = d->tables[kind][key % ROWS];

	for (unsigned i = 0; i < WAYS; i++)
		if (row[i].key == key)
			return &row[i];
	return NULL;
}

/* In place of the one that was quiet for the longest time, when there is none. */
static struct slot *find_or_make(struct defence *d, enum defence_kind kind, const struct attempt *a)
{
	struct slot *slot = find(d, kind, a), *row = d->tables[kind][key_of(a, kind) % ROWS];

	if (slot != NULL)
		return slot;
	slot = row;
	for (unsigned i = 1; i < WAYS; i++)
		if (slot->key != 0 && (row[i].key == 0 || row[i].last_ms < slot->last_ms))
			slot = &row[i];
	*slot = (struct slot){.key = key_of(a, kind)};
	if (kind != DEFENCE_ACCOUNT) {
		slot->source = a->source;
		memcpy(slot->address, a->address, sizeof(slot->address));
	}
	if (kind != DEFENCE_ADDRESS) {
		slot->account = a->account;
		span_copy(span_str(a->user), slot->user, sizeof(slot->user));
	}
	return slot;
}

static unsigned checks_of(const struct slot *slot, int64_t now_ms)
{
	unsigned count = 0;

	for (unsigned i = 0; i < DEFENCE_CHECKS; i++)
		count += slot->checks_ms[i] != 0 && now_ms - slot->checks_ms[i] < DEFENCE_MINUTE_MS;
	return count;
}

static int64_t *find_pending(struct slot *slot)
{
	for (unsigned i = 0; i < DEFENCE_CHECKS; i++)
		if (slot->checks_ms[i] == CHECK_PENDING)
			return &slot->checks_ms[i];
	return NULL;
}

static unsigned failures_of(const struct slot *slot, enum defence_kind kind, int64_t now_ms)
{
	int64_t forgotten;

	if (slot == NULL)
		return 0;
	if (kind == DEFENCE_ACCOUNT)
		return checks_of(slot, now_ms);
	forgotten = (now_ms - slot->last_ms) / rules[kind].forget_ms;
	return forgotten < (int64_t)slot->count ? slot->count - (unsigned)forgotten : 0;
}

unsigned defence_failures(struct defence *d, const struct attempt *a, int64_t now_ms)
{
	unsigned of_address = a->exempt ? 0 : failures_of(find(d, DEFENCE_ADDRESS, a), DEFENCE_ADDRESS, now_ms);

	return of_address + failures_of(find(d, DEFENCE_PAIR, a), DEFENCE_PAIR, now_ms);
}

/* ---- before a check ---- */

static bool is_over(struct defence *d, enum defence_kind kind, const struct attempt *a, int64_t now_ms, bool counts)
{
	struct slot *slot = find(d, kind, a);

	if (failures_of(slot, kind, now_ms) < rules[kind].most)
		return false;
	slot->refused += counts;
	return true;
}

static int64_t debt_now(struct defence *d, int64_t now_ms)
{
	int64_t paid = (now_ms - d->debt_at_ms) * 1000 / DEBT_SHARE;

	d->debt_us = d->debt_us > paid ? d->debt_us - paid : 0;
	d->debt_at_ms = now_ms;
	return d->debt_us;
}

static void count_check(struct defence *d, struct attempt *a, int64_t now_ms)
{
	struct slot *slot = find_or_make(d, DEFENCE_ACCOUNT, a);
	unsigned oldest = 0;

	for (unsigned i = 1; i < DEFENCE_CHECKS; i++)
		if (slot->checks_ms[i] < slot->checks_ms[oldest])
			oldest = i;
	slot->checks_ms[oldest] = CHECK_PENDING;
	slot->last_ms = now_ms;
	a->counted = true;
}

static const char *look(struct defence *d, struct attempt *a, int64_t now_ms, bool counts)
{
	a->may_wait = false;
	if (a->known)
		return NULL;
	if (is_over(d, DEFENCE_PAIR, a, now_ms, counts))
		return "refused-pair";
	if (!a->exempt && is_over(d, DEFENCE_ADDRESS, a, now_ms, counts))
		return "refused-address";
	if (is_over(d, DEFENCE_ACCOUNT, a, now_ms, counts)) {
		a->may_wait = find_pending(find(d, DEFENCE_ACCOUNT, a)) != NULL;
		return "refused-account";
	}
	if (debt_now(d, now_ms) > (defence_failures(d, a, now_ms) > 0 ? DEBT_FAILED_MAX_US : DEBT_MAX_US))
		return "refused-load";
	return NULL;
}

const char *defence_look(struct defence *d, struct attempt *a, int64_t now_ms)
{
	return look(d, a, now_ms, false);
}

const char *defence_ask(struct defence *d, struct attempt *a, int64_t now_ms)
{
	const char *refused = look(d, a, now_ms, true);

	if (refused == NULL && !a->known)
		count_check(d, a, now_ms);
	return refused;
}

/* It is no longer under way: it ended at this time, or (0) does not count. The row may have gone to another account since. */
static void settle(struct defence *d, struct attempt *a, int64_t when_ms)
{
	struct slot *slot = a->counted ? find(d, DEFENCE_ACCOUNT, a) : NULL;
	int64_t *check = slot != NULL ? find_pending(slot) : NULL;

	a->counted = false;
	if (check != NULL)
		*check = when_ms;
}

void defence_give_back(struct defence *d, struct attempt *a)
{
	settle(d, a, 0);
}

/* ---- after it ---- */

static unsigned note(struct defence *d, enum defence_kind kind, const struct attempt *a, int64_t now_ms)
{
	struct slot *slot = find_or_make(d, kind, a);
	unsigned count = failures_of(slot, kind, now_ms) + 1, over;

	slot->count = count;
	slot->last_ms = now_ms;
	if (count <= rules[kind].free)
		return 0;
	over = count - rules[kind].free - 1;
	return waits_s[over < sizeof(waits_s) / sizeof(waits_s[0]) ? over : sizeof(waits_s) / sizeof(waits_s[0]) - 1];
}

/* The failures of one who belongs here are no sign that his neighbours guess. */
int64_t defence_wrong(struct defence *d, struct attempt *a, int64_t now_ms)
{
	unsigned pair = note(d, DEFENCE_PAIR, a, now_ms);
	unsigned address = a->known || a->exempt ? 0 : note(d, DEFENCE_ADDRESS, a, now_ms);

	settle(d, a, now_ms);
	return (int64_t)(pair > address ? pair : address) * 1000;
}

void defence_right(struct defence *d, struct attempt *a)
{
	struct slot *slot = find(d, DEFENCE_PAIR, a);

	if (slot != NULL)
		*slot = (struct slot){0};
	defence_give_back(d, a);
}

void defence_spent(struct defence *d, int64_t us, int64_t now_ms)
{
	d->debt_us = debt_now(d, now_ms) + us;
}

/* ---- for administrators ---- */

void defence_each(struct defence *d, int64_t now_ms, void (*fn)(void *arg, const struct defence_row *row), void *arg)
{
	for (unsigned kind = 0; kind < DEFENCE_KINDS; kind++)
		for (unsigned i = 0; i < ROWS * WAYS; i++) {
			struct slot *slot = &d->tables[kind][i / WAYS][i % WAYS];
			struct defence_row row = {.kind = kind,
			    .address = slot->address,
			    .user = slot->user,
			    .failures = failures_of(slot, kind, now_ms),
			    .refused = slot->refused,
			    .ago_ms = now_ms - slot->last_ms};

			if (slot->key != 0 && row.failures > 0)
				fn(arg, &row);
		}
}

unsigned defence_clear(struct defence *d, const struct attempt *a)
{
	struct slot *all = &d->tables[0][0][0];
	unsigned count = 0;

	for (unsigned i = 0; i < DEFENCE_KINDS * ROWS * WAYS; i++)
		if (all[i].key != 0 && (all[i].source == a->source || all[i].account == a->account)) {
			all[i] = (struct slot){0};
			count++;
		}
	return count;
}

unsigned defence_clear_all(struct defence *d)
{
	struct slot *all = &d->tables[0][0][0];
	unsigned count = 0;

	for (unsigned i = 0; i < DEFENCE_KINDS * ROWS * WAYS; i++)
		count += all[i].key != 0;
	memset(d->tables, 0, sizeof(d->tables));
	d->debt_us = 0;
	return count;
}
