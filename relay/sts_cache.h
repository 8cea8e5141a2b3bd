/*
 * MTA-STS policies that have been fetched, kept over a restart until their max_age has passed (RFC 8461 section 3.2). As many as there may be:
 * a new one then takes the place of one that has not been used for long.
 */
#ifndef MW_RELAY_STS_CACHE_H
#define MW_RELAY_STS_CACHE_H

#include "relay/state.h"
#include "sts/sts.h"

enum {
	STS_CACHE_MAX = 50000, /* policies; about 300 octets each, 8 KiB at most */
	STS_CACHE_EVICT = 64,  /* those that one is chosen among */
};

struct sts_cached {
	struct sts_policy policy;
	int64_t fetched, used; /* seconds since 1970 */
};

struct sts_cache {
	struct state *state; /* NULL: nothing is kept */
	size_t count;
};

void sts_cache_init(struct sts_cache *cache, struct state *state);
/* Until when it is in force. */
int64_t sts_cached_until(const struct sts_cached *cached);
/* E_NOTFOUND: there is none that is in force now, or it cannot be read any more; E_NOMEM: whether there is one is not known. */
int sts_cache_get(const struct sts_cache *cache, const char *domain, int64_t now, struct sts_cached *out);
/* In the place of the domain's last one. As state_commit. */
int sts_cache_put(struct sts_cache *cache, const struct sts_cached *cached, struct err *err);
/* E_NOTFOUND: there is none; else as state_commit. */
int sts_cache_forget(struct sts_cache *cache, const char *domain, struct err *err);
/* false: no more. It is borrowed until it returns, and changes nothing. */
typedef bool sts_cache_one(void *arg, const struct sts_cached *cached);
/* Those of domains not before `from`, in their order, also those that are in force no more. E_IO. */
int sts_cache_each(const struct sts_cache *cache, const char *from, sts_cache_one *one, void *arg);

/* What is kept of one, without its domain, which is the key. E_CORRUPT. */
void sts_cached_encode(const struct sts_cached *cached, struct buf *out);
int sts_cached_decode(struct span domain, struct span record, struct sts_cached *out);

#endif
