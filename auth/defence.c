#include "auth/defence_private.h"

#include "auth/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	DEBT_MAX_US = 5 * 1000 * 1000,		/* who has not failed yet is refused above this much of processor time */
	DEBT_FAILED_MAX_US = DEBT_MAX_US / 2,	/* who has failed, above this */
	DEBT_SHARE = 4,				/* strangers' wrong guesses have the fourth part of a processor */
	PROOF_MS = DEFENCE_MINUTE_MS / DEFENCE_PROOFS,
	PROOFS_MAX_MS = DEFENCE_MINUTE_MS - PROOF_MS, /* as the debt: above this a proof of one who has not failed yet is refused */
	PROOFS_FAILED_MAX_MS = PROOFS_MAX_MS / 2,
	SUSPECT_CHECKS = 2,   /* with more of them in the last minute a pair has the pace of guesses, though the account knows the address */
	SUSPECT_FAILURES = 10, /* with more of them at all its accounts an address has */
	REPEATED_MS = 60 * 60 * 1000, /* for so long a wrong password is known again */
};

static const unsigned waits_s[] = {1, 2, 4, 8, 15};

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

static unsigned count_of(struct defence *d, enum defence_kind kind, const struct attempt *a, int64_t now_ms)
{
	return defence_count(d, kind, defence_find(d, kind, a), now_ms);
}

unsigned defence_failures(struct defence *d, const struct attempt *a, int64_t now_ms)
{
	if (a->known)
		return count_of(d, DEFENCE_KNOWN, a, now_ms);
	return (a->exempt ? 0 : count_of(d, DEFENCE_ADDRESS, a, now_ms)) + count_of(d, DEFENCE_PAIR, a, now_ms);
}

bool defence_is_suspect(struct defence *d, const struct attempt *a, int64_t now_ms)
{
	return a->known && (count_of(d, DEFENCE_KNOWN, a, now_ms) > SUSPECT_CHECKS || count_of(d, DEFENCE_PLACE, a, now_ms) > SUSPECT_FAILURES);
}

/* ---- before a check ---- */

/*
 * What is under way does not keep out a token of one who is known: how long that takes an identity provider says, and after an outage all the
 * programs of a household come at once. Nobody can guess one, so that it is enough to count those that were wrong.
 */
static bool is_counted_late(const struct attempt *a)
{
	return a->token && a->known;
}

static bool is_over(struct defence *d, enum defence_kind kind, const struct attempt *a, int64_t now_ms, bool counts)
{
	struct slot *slot = defence_find(d, kind, a);
	unsigned count = is_counted_late(a) ? defence_ended(d, kind, slot, now_ms) : defence_count(d, kind, slot, now_ms);

	if (count < defence_rules[kind].most)
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

/* A proof costs next to nothing, so that its price is one of its own: of all strangers' together DEFENCE_PROOFS are looked at, and then so many a minute. */
static bool is_too_much(struct defence *d, const struct attempt *a, int64_t now_ms)
{
	bool has_failed = defence_failures(d, a, now_ms) > 0;

	if (a->proof && d->proofs_at_ms - now_ms > (has_failed ? PROOFS_FAILED_MAX_MS : PROOFS_MAX_MS))
		return true;
	return debt_now(d, now_ms) > (has_failed ? DEBT_FAILED_MAX_US : DEBT_MAX_US);
}

/* Checks that are under way may turn out right: then there is room again. */
static const char *refused_of_checks(struct defence *d, enum defence_kind kind, struct attempt *a, const char *reason)
{
	a->may_wait = defence_pending(d, kind, defence_find(d, kind, a)) != NULL;
	return reason;
}

static const char *look(struct defence *d, struct attempt *a, int64_t now_ms, bool counts)
{
	a->may_wait = false;
	if (a->known)
		return is_over(d, DEFENCE_KNOWN, a, now_ms, counts) ? refused_of_checks(d, DEFENCE_KNOWN, a, "refused-pair") : NULL;
	if (is_over(d, DEFENCE_PAIR, a, now_ms, counts))
		return "refused-pair";
	if (!a->exempt && is_over(d, DEFENCE_ADDRESS, a, now_ms, counts))
		return "refused-address";
	if (is_over(d, DEFENCE_ACCOUNT, a, now_ms, counts))
		return refused_of_checks(d, DEFENCE_ACCOUNT, a, "refused-account");
	return is_too_much(d, a, now_ms) ? "refused-load" : NULL;
}

/* False: there is no row for it. */
static bool count_check(struct defence *d, struct attempt *a, int64_t now_ms)
{
	enum defence_kind kind = a->known ? DEFENCE_KNOWN : DEFENCE_ACCOUNT;
	struct slot *slot = defence_make(d, kind, a, now_ms);
	struct check *checks, *oldest;
	unsigned most;

	if (slot == NULL)
		return false;
	oldest = checks = defence_checks(d, kind, slot, &most);
	for (unsigned i = 1; i < most; i++)
		if (checks[i].ended_ms < oldest->ended_ms)
			oldest = &checks[i];
	*oldest = (struct check){.ended_ms = CHECK_PENDING};
	slot->last_ms = now_ms;
	a->counted = true;
	a->counted_as = kind;
	if (a->proof && !a->known)
		d->proofs_at_ms = (d->proofs_at_ms > now_ms ? d->proofs_at_ms : now_ms) + PROOF_MS;
	return true;
}

const char *defence_look(struct defence *d, struct attempt *a, int64_t now_ms)
{
	return look(d, a, now_ms, false);
}

const char *defence_ask(struct defence *d, struct attempt *a, int64_t now_ms)
{
	const char *refused = look(d, a, now_ms, true);

	if (refused != NULL || is_counted_late(a))
		return refused;
	return count_check(d, a, now_ms) ? NULL : "refused-load";
}

bool defence_is_repeated(struct defence *d, const struct attempt *a, int64_t now_ms)
{
	struct slot *slot = a->known && a->password != 0 ? defence_find(d, DEFENCE_KNOWN, a) : NULL;
	unsigned most = 0;
	struct check *checks = slot != NULL ? defence_checks(d, DEFENCE_KNOWN, slot, &most) : NULL;

	for (unsigned i = 0; i < most; i++)
		if (checks[i].password == a->password && now_ms - checks[i].ended_ms < REPEATED_MS)
			return true;
	return false;
}

static bool has_checks(struct defence *d, enum defence_kind kind, const struct slot *slot)
{
	unsigned most;
	const struct check *checks = defence_checks(d, kind, slot, &most);

	for (unsigned i = 0; i < most; i++)
		if (checks[i].ended_ms != 0)
			return true;
	return false;
}

/* It is no longer under way: it ended at this time, or (0) does not count, and a row that it was alone in is free again. An administrator may have cleared it since. */
static void settle(struct defence *d, struct attempt *a, int64_t when_ms)
{
	struct slot *slot = a->counted ? defence_find(d, a->counted_as, a) : NULL;
	struct check *check = defence_pending(d, a->counted_as, slot);

	a->counted = false;
	if (check == NULL)
		return;
	*check = (struct check){.ended_ms = when_ms, .password = when_ms != 0 ? a->password : 0};
	if (when_ms == 0 && a->proof && a->counted_as == DEFENCE_ACCOUNT)
		d->proofs_at_ms -= PROOF_MS;
	if (!has_checks(d, a->counted_as, slot))
		defence_forget(d, a->counted_as, slot);
}

void defence_give_back(struct defence *d, struct attempt *a)
{
	settle(d, a, 0);
}

/* ---- after it ---- */

/* Milliseconds until the answer of a failure that is this one in number. */
static int64_t wait_of(enum defence_kind kind, unsigned count)
{
	unsigned last = sizeof(waits_s) / sizeof(waits_s[0]) - 1, over;

	if (count <= defence_rules[kind].free)
		return 0;
	over = count - defence_rules[kind].free - 1;
	return (int64_t)waits_s[over < last ? over : last] * 1000;
}

static int64_t note(struct defence *d, enum defence_kind kind, const struct attempt *a, int64_t now_ms)
{
	struct slot *slot = defence_make(d, kind, a, now_ms);

	slot->count = defence_count(d, kind, slot, now_ms) + 1;
	slot->last_ms = now_ms;
	return wait_of(kind, slot->count);
}

/*
 * The failures of one who belongs here are no sign that his neighbours guess at others' accounts; of those that know the address he may. What was
 * not asked for is the same guess as one that was, from the same client: its programs all come at once.
 */
static int64_t note_address(struct defence *d, const struct attempt *a, int64_t now_ms)
{
	if (a->known)
		return a->counted ? note(d, DEFENCE_PLACE, a, now_ms) : 0;
	return a->exempt ? 0 : note(d, DEFENCE_ADDRESS, a, now_ms);
}

int64_t defence_wrong(struct defence *d, struct attempt *a, int64_t now_ms)
{
	int64_t pair, address;

	if (is_counted_late(a) && !a->counted)
		count_check(d, a, now_ms);
	pair = note(d, DEFENCE_PAIR, a, now_ms);
	address = note_address(d, a, now_ms);
	settle(d, a, now_ms);
	return pair > address ? pair : address;
}

/* At least as long as the second failure: who does nothing but ask again has nothing to gain, and makes lines in the log. */
int64_t defence_repeated(struct defence *d, const struct attempt *a, int64_t now_ms)
{
	unsigned count = count_of(d, DEFENCE_PAIR, a, now_ms), free = defence_rules[DEFENCE_PAIR].free;

	return wait_of(DEFENCE_PAIR, (count > free ? count : free) + 1);
}

/* Nothing was guessed, and nothing was checked: it counts for the address alone, so that it is no way around what counts. */
int64_t defence_malformed(struct defence *d, struct attempt *a, int64_t now_ms)
{
	int64_t wait_ms = a->known || a->exempt ? 0 : note(d, DEFENCE_ADDRESS, a, now_ms);

	settle(d, a, 0);
	return wait_ms;
}

void defence_right(struct defence *d, struct attempt *a)
{
	struct slot *slot = defence_find(d, DEFENCE_PAIR, a);

	if (slot != NULL)
		defence_forget(d, DEFENCE_PAIR, slot);
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
		for (unsigned i = 0; i < DEFENCE_ROWS; i++) {
			struct slot *slot = &d->tables[kind][i];
			struct defence_row row = {.kind = kind,
			    .address = slot->address,
			    .user = slot->user,
			    .failures = defence_count(d, kind, slot, now_ms),
			    .refused = slot->refused,
			    .ago_ms = now_ms - slot->last_ms};

			if (row.failures > 0)
				fn(arg, &row);
		}
}

/* a: NULL: whatever it is of. */
static unsigned clear(struct defence *d, const struct attempt *a)
{
	unsigned count = 0;

	for (unsigned kind = 0; kind < DEFENCE_KINDS; kind++)
		for (unsigned i = 0; i < DEFENCE_ROWS; i++) {
			struct slot *slot = &d->tables[kind][i];

			if (slot->key != 0 && (a == NULL || slot->source == a->source || slot->account == a->account)) {
				defence_forget(d, kind, slot);
				count++;
			}
		}
	return count;
}

unsigned defence_clear(struct defence *d, const struct attempt *a)
{
	return clear(d, a);
}

unsigned defence_clear_all(struct defence *d)
{
	d->debt_us = 0;
	d->proofs_at_ms = 0;
	return clear(d, NULL);
}
