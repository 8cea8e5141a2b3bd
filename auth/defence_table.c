/*
 * The tables of the defence: rows of a fixed number, each in a set that its keyed hash says, so that nobody chooses whose row stands beside his.
 *
 * No row with checks of the last minute gives way: names and addresses without end cannot make anybody's checks uncounted. So that the table is never full of such
 * rows, all strangers together have a pace: what is hashed (password_queue.c) and what is proved (defence.c) are fewer checks in a minute than there are rows.
 */
#include "auth/defence_private.h"

#include <string.h>

const struct defence_rule defence_rules[DEFENCE_KINDS] = {
    [DEFENCE_PAIR] = {1, 10, 60 * 1000},
    [DEFENCE_ADDRESS] = {20, 60, 30 * 1000},
    [DEFENCE_ACCOUNT] = {DEFENCE_CHECKS, DEFENCE_CHECKS, 0},
    [DEFENCE_KNOWN] = {DEFENCE_KNOWN_CHECKS, DEFENCE_KNOWN_CHECKS, 0},
    [DEFENCE_PLACE] = {UINT32_MAX, UINT32_MAX, 30 * 1000},
};

static bool has_user(enum defence_kind kind)
{
	return kind != DEFENCE_ADDRESS && kind != DEFENCE_PLACE;
}

static uint64_t key_of(const struct attempt *a, enum defence_kind kind)
{
	if (kind == DEFENCE_ACCOUNT)
		return a->account;
	return has_user(kind) ? a->pair : a->source;
}

static struct slot *set_of(struct defence *d, enum defence_kind kind, const struct attempt *a)
{
	return &d->tables[kind][key_of(a, kind) % DEFENCE_SETS * DEFENCE_WAYS];
}

struct slot *defence_find(struct defence *d, enum defence_kind kind, const struct attempt *a)
{
	uint64_t key = key_of(a, kind);
	struct slot *set = set_of(d, kind, a);

	for (unsigned i = 0; i < DEFENCE_WAYS; i++)
		if (set[i].key == key)
			return &set[i];
	return NULL;
}

struct check *defence_checks(struct defence *d, enum defence_kind kind, const struct slot *slot, unsigned *most)
{
	size_t row = (size_t)(slot - d->tables[kind]);

	*most = kind == DEFENCE_ACCOUNT ? DEFENCE_CHECKS : kind == DEFENCE_KNOWN ? DEFENCE_KNOWN_CHECKS : 0;
	return kind == DEFENCE_ACCOUNT ? d->account_checks[row] : kind == DEFENCE_KNOWN ? d->known_checks[row] : NULL;
}

struct check *defence_pending(struct defence *d, enum defence_kind kind, const struct slot *slot)
{
	unsigned most = 0;
	struct check *checks = slot != NULL ? defence_checks(d, kind, slot, &most) : NULL;

	for (unsigned i = 0; i < most; i++)
		if (checks[i].ended_ms == CHECK_PENDING)
			return &checks[i];
	return NULL;
}

static unsigned failures_of(enum defence_kind kind, const struct slot *slot, int64_t now_ms)
{
	int64_t forgotten = (now_ms - slot->last_ms) / defence_rules[kind].forget_ms;

	return forgotten < (int64_t)slot->count ? slot->count - (unsigned)forgotten : 0;
}

unsigned defence_count(struct defence *d, enum defence_kind kind, const struct slot *slot, int64_t now_ms)
{
	unsigned most, count = 0;
	struct check *checks;

	if (slot == NULL || slot->key == 0)
		return 0;
	if (defence_rules[kind].forget_ms != 0)
		return failures_of(kind, slot, now_ms);
	checks = defence_checks(d, kind, slot, &most);
	for (unsigned i = 0; i < most; i++)
		count += checks[i].ended_ms != 0 && now_ms - checks[i].ended_ms < DEFENCE_MINUTE_MS;
	return count;
}

unsigned defence_ended(struct defence *d, enum defence_kind kind, const struct slot *slot, int64_t now_ms)
{
	unsigned most = 0, count = defence_count(d, kind, slot, now_ms);
	struct check *checks = slot != NULL ? defence_checks(d, kind, slot, &most) : NULL;

	for (unsigned i = 0; i < most; i++)
		count -= checks[i].ended_ms == CHECK_PENDING;
	return count;
}

void defence_forget(struct defence *d, enum defence_kind kind, struct slot *slot)
{
	unsigned most;
	struct check *checks = defence_checks(d, kind, slot, &most);

	*slot = (struct slot){0};
	for (unsigned i = 0; i < most; i++)
		checks[i] = (struct check){0};
}

/* The one of the set that may go first; NULL: none may. */
static struct slot *least_of(struct defence *d, enum defence_kind kind, struct slot *set, int64_t now_ms)
{
	struct slot *least = NULL;
	unsigned least_count = UINT32_MAX;

	for (unsigned i = 0; i < DEFENCE_WAYS; i++) {
		unsigned count = defence_count(d, kind, &set[i], now_ms);

		if (set[i].key == 0)
			return &set[i];
		if (count < least_count || (count == least_count && set[i].last_ms < least->last_ms)) {
			least = &set[i];
			least_count = count;
		}
	}
	return defence_rules[kind].forget_ms == 0 && least_count > 0 ? NULL : least;
}

struct slot *defence_make(struct defence *d, enum defence_kind kind, const struct attempt *a, int64_t now_ms)
{
	struct slot *slot = defence_find(d, kind, a);

	if (slot != NULL)
		return slot;
	slot = least_of(d, kind, set_of(d, kind, a), now_ms);
	if (slot == NULL)
		return NULL;
	defence_forget(d, kind, slot);
	slot->key = key_of(a, kind);
	if (kind != DEFENCE_ACCOUNT) {
		slot->source = a->source;
		memcpy(slot->address, a->address, sizeof(slot->address));
	}
	if (has_user(kind)) {
		slot->account = a->account;
		span_copy(span_str(a->user), slot->user, sizeof(slot->user));
	}
	return slot;
}
