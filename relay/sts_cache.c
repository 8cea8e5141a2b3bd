#include "relay/sts_cache.h"

#include "base/bytes.h"

#include <stdio.h>

enum { TIME_SIZE = 8, HEAD_SIZE = 2 * TIME_SIZE + 1, RECORD_MAX = HEAD_SIZE + STS_ID_MAX + STS_TEXT_MAX };

/* ---- records: fetched, used, the id behind its length, the policy in its own words ---- */

void sts_cached_encode(const struct sts_cached *cached, struct buf *out)
{
	char head[HEAD_SIZE];
	size_t len = strlen(cached->policy.id);

	put_le(head, (uint64_t)cached->fetched, TIME_SIZE);
	put_le(head + TIME_SIZE, (uint64_t)cached->used, TIME_SIZE);
	head[HEAD_SIZE - 1] = (char)len;
	buf_add(out, head, sizeof(head));
	buf_add(out, cached->policy.id, len);
	sts_policy_format(&cached->policy, out);
}

static bool is_id(struct span id)
{
	for (size_t i = 0; i < id.len; i++)
		if (!ascii_is_alnum(id.ptr[i]))
			return false;
	return id.len <= STS_ID_MAX;
}

int sts_cached_decode(struct span domain, struct span record, struct sts_cached *out)
{
	struct span id;
	size_t len;

	if (record.len < HEAD_SIZE || domain.len == 0 || domain.len > DNS_NAME_MAX)
		return E_CORRUPT;
	len = (unsigned char)record.ptr[HEAD_SIZE - 1];
	id = span_sub(record, HEAD_SIZE, len);
	if (id.len != len || !is_id(id) || sts_policy_parse(span_from(record, HEAD_SIZE + len), &out->policy, NULL) != 0)
		return E_CORRUPT;
	span_copy(id, out->policy.id, sizeof(out->policy.id));
	span_copy(domain, out->policy.domain, sizeof(out->policy.domain));
	out->fetched = (int64_t)get_le(record.ptr, TIME_SIZE);
	out->used = (int64_t)get_le(record.ptr + TIME_SIZE, TIME_SIZE);
	return out->fetched >= 0 && out->fetched <= INT64_MAX - STS_AGE_MAX ? 0 : E_CORRUPT;
}

int64_t sts_cached_until(const struct sts_cached *cached)
{
	return cached->fetched + cached->policy.max_age;
}

/* ---- look ---- */

static int get_any(const struct sts_cache *cache, const char *domain, struct sts_cached *out)
{
	struct buf record;
	int r;

	if (cache->state == NULL)
		return E_NOTFOUND;
	buf_init(&record, RECORD_MAX);
	r = state_get(cache->state, STATE_POLICIES, span_str(domain), &record);
	if (r == 0)
		r = sts_cached_decode(span_str(domain), buf_span(&record), out);
	buf_fini(&record);
	return r == 0 || r == E_NOMEM ? r : E_NOTFOUND;
}

static int no_memory(struct err *err)
{
	return err_set(err, E_NOMEM, "no memory for a policy");
}

int sts_cache_get(const struct sts_cache *cache, const char *domain, int64_t now, struct sts_cached *out)
{
	int r = get_any(cache, domain, out);

	return r == 0 && sts_cached_until(out) <= now ? E_NOTFOUND : r;
}

struct visit {
	sts_cache_one *one;
	void *arg;
};

static bool on_record(void *arg, struct span key, struct span value)
{
	const struct visit *visit = arg;
	struct sts_cached cached;

	return sts_cached_decode(key, value, &cached) != 0 || visit->one(visit->arg, &cached);
}

int sts_cache_each(const struct sts_cache *cache, const char *from, sts_cache_one *one, void *arg)
{
	struct visit visit = {one, arg};

	return cache->state != NULL ? state_each(cache->state, STATE_POLICIES, span_str(from), on_record, &visit) : 0;
}

/* ---- change ---- */

/* Who has not been used for longest, of some. */
struct choice {
	char domain[DNS_NAME_TEXT];
	int64_t used;
	size_t seen;
};

static bool choose(void *arg, const struct sts_cached *cached)
{
	struct choice *choice = arg;

	if (choice->seen == 0 || cached->used < choice->used) {
		choice->used = cached->used;
		snprintf(choice->domain, sizeof(choice->domain), "%s", cached->policy.domain);
	}
	return ++choice->seen < STS_CACHE_EVICT;
}

static int make_room(struct sts_cache *cache, const char *domain, struct err *err)
{
	struct choice choice = {.seen = 0};
	int r = sts_cache_each(cache, domain, choose, &choice);

	if (r == 0 && choice.seen == 0)
		r = sts_cache_each(cache, "", choose, &choice);
	if (r != 0 || choice.seen == 0)
		return r;
	cache->count--;
	return state_delete(cache->state, STATE_POLICIES, span_str(choice.domain), err);
}

static int put(struct sts_cache *cache, const struct sts_cached *cached, struct span record, struct err *err)
{
	const char *domain = cached->policy.domain;
	struct sts_cached old;
	int r = get_any(cache, domain, &old);
	bool is_new = r == E_NOTFOUND;

	if (r == E_NOMEM)
		return no_memory(err);
	r = is_new && cache->count >= STS_CACHE_MAX ? make_room(cache, domain, err) : 0;
	if (r == 0)
		r = state_put(cache->state, STATE_POLICIES, span_str(domain), record, err);
	if (r == 0)
		cache->count += is_new;
	return r;
}

int sts_cache_put(struct sts_cache *cache, const struct sts_cached *cached, struct err *err)
{
	struct buf record;
	int r;

	if (cache->state == NULL)
		return 0;
	buf_init(&record, RECORD_MAX);
	sts_cached_encode(cached, &record);
	r = buf_failed(&record) ? no_memory(err) : state_begin(cache->state, err);
	if (r == 0) {
		r = put(cache, cached, buf_span(&record), err);
		if (r == 0)
			r = state_commit(cache->state, err);
		else
			state_abort(cache->state);
	}
	buf_fini(&record);
	return r;
}

int sts_cache_forget(struct sts_cache *cache, const char *domain, struct err *err)
{
	struct sts_cached old;
	int r = get_any(cache, domain, &old);

	if (r == E_NOMEM)
		return no_memory(err);
	if (r == 0)
		r = state_begin(cache->state, err);
	if (r != 0)
		return r;
	r = state_delete(cache->state, STATE_POLICIES, span_str(domain), err);
	if (r != 0) {
		state_abort(cache->state);
		return r;
	}
	cache->count--;
	return state_commit(cache->state, err);
}

static bool count_one(void *arg, const struct sts_cached *cached)
{
	(void)cached;
	++*(size_t *)arg;
	return true;
}

void sts_cache_init(struct sts_cache *cache, struct state *state)
{
	*cache = (struct sts_cache){.state = state};
	sts_cache_each(cache, "", count_one, &cache->count);
}
