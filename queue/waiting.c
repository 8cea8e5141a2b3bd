/*
 * Slots in one array, in no order and without gaps; a heap of (when due, slot); an index from id to slot, open addressing. A slot knows its
 * place in the heap. One that goes leaves its slot to the last one.
 */
#include "queue/waiting.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>

enum {
	WAITING_SIZE = 256,   /* at least */
	WAITING_MANY = 16384, /* of so many that go the allocator's memory is worth giving back */
};

struct place {
	int64_t due;
	uint32_t slot;
};

struct waiting_set {
	struct waiting *slots;
	struct place *heap;
	uint32_t *index; /* slot + 1; 0: free */
	size_t count, size;
	size_t index_size; /* a power of two */
	struct texts *texts;
};

struct waiting_set *waiting_new(void)
{
	struct waiting_set *set = calloc(1, sizeof(*set));

	if (set == NULL)
		return NULL;
	set->texts = texts_new();
	if (set->texts == NULL)
		waiting_free(&set);
	return set;
}

void waiting_free(struct waiting_set **setp)
{
	struct waiting_set *set = *setp;

	*setp = NULL;
	if (set == NULL)
		return;
	texts_free(&set->texts);
	free(set->slots);
	free(set->heap);
	free(set->index);
	free(set);
}

size_t waiting_count(const struct waiting_set *set)
{
	return set->count;
}

struct waiting *waiting_at(const struct waiting_set *set, size_t i)
{
	return &set->slots[i];
}

size_t waiting_count_to(const struct waiting_set *set, uint64_t hash)
{
	size_t count = 0;

	for (size_t i = 0; i < set->count; i++)
		count += set->slots[i].destination != NULL && set->slots[i].destination->hash == hash;
	return count;
}

struct text *waiting_get(struct waiting_set *set, struct span name, uint64_t hash)
{
	return texts_get(set->texts, name, hash, set->count);
}

void waiting_put(struct waiting_set *set, struct text *text)
{
	texts_put(set->texts, text);
}

size_t waiting_bytes(const struct waiting_set *set)
{
	return set->count * (sizeof(*set->slots) + sizeof(*set->heap)) + set->index_size * sizeof(*set->index) + texts_bytes(set->texts);
}

/* ---- the index ---- */

/* Ids are times with few bits that differ: all of them count. */
static size_t home_of(const struct waiting_set *set, uint64_t id)
{
	return (size_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (set->index_size - 1);
}

/* Where the id stands, or where it would. */
static size_t index_find(const struct waiting_set *set, uint64_t id)
{
	size_t i = home_of(set, id);

	while (set->index[i] != 0 && set->slots[set->index[i] - 1].id != id)
		i = (i + 1) & (set->index_size - 1);
	return i;
}

/* Those behind a gap move up, so that each is found from its home without meeting one. */
static void index_remove(struct waiting_set *set, size_t gap)
{
	size_t mask = set->index_size - 1;

	for (size_t i = (gap + 1) & mask; set->index[i] != 0; i = (i + 1) & mask) {
		size_t home = home_of(set, set->slots[set->index[i] - 1].id);

		if (((i - home) & mask) < ((i - gap) & mask))
			continue;
		set->index[gap] = set->index[i];
		gap = i;
	}
	set->index[gap] = 0;
}

static bool index_resize(struct waiting_set *set, size_t size)
{
	uint32_t *index = calloc(size, sizeof(*index));

	if (index == NULL)
		return false;
	free(set->index);
	set->index = index;
	set->index_size = size;
	for (size_t i = 0; i < set->count; i++)
		set->index[index_find(set, set->slots[i].id)] = (uint32_t)i + 1;
	return true;
}

/* ---- the heap ---- */

static bool before(const struct waiting_set *set, struct place a, struct place b)
{
	return a.due != b.due ? a.due < b.due : set->slots[a.slot].id < set->slots[b.slot].id;
}

static void put(struct waiting_set *set, size_t i, struct place place)
{
	set->heap[i] = place;
	set->slots[place.slot].place = (uint32_t)i;
}

static void sift_up(struct waiting_set *set, size_t i)
{
	struct place place = set->heap[i];

	while (i > 0 && before(set, place, set->heap[(i - 1) / 2])) {
		put(set, i, set->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	put(set, i, place);
}

static void sift_down(struct waiting_set *set, size_t i)
{
	struct place place = set->heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < set->count && before(set, set->heap[child + 1], set->heap[child]))
			child++;
		if (child >= set->count || !before(set, set->heap[child], place))
			break;
		put(set, i, set->heap[child]);
		i = child;
	}
	put(set, i, place);
}

/* ---- room ---- */

/* Never for fewer than there are. */
static bool arrays_resize(struct waiting_set *set, size_t size)
{
	struct waiting *slots = reallocarray(set->slots, size, sizeof(*slots));
	struct place *heap;

	if (slots != NULL)
		set->slots = slots;
	heap = reallocarray(set->heap, size, sizeof(*heap));
	if (heap != NULL)
		set->heap = heap;
	if (slots == NULL || heap == NULL)
		return false;
	set->size = size;
	return true;
}

static bool make_room(struct waiting_set *set)
{
	if (set->count >= UINT32_MAX - 1)
		return false;
	if (set->count == set->size && !arrays_resize(set, set->size > 0 ? 2 * set->size : WAITING_SIZE))
		return false;
	return set->index_size / 4 * 3 > set->count || index_resize(set, set->index_size > 0 ? 2 * set->index_size : 2 * WAITING_SIZE);
}

static void give_room_back(struct waiting_set *set)
{
	if (set->size <= WAITING_SIZE || set->count > set->size / 4)
		return;
	set->size /= 2; /* whether it succeeds or not, there is room for so many */
	arrays_resize(set, set->size);
	if (set->index_size / 8 * 3 > set->count + WAITING_SIZE)
		index_resize(set, set->index_size / 2);
#ifdef __GLIBC__
	if (set->size >= WAITING_MANY)
		malloc_trim(0); /* what their texts took */
#endif
}

/* ---- what others see ---- */

struct waiting *waiting_find(const struct waiting_set *set, uint64_t id)
{
	size_t i;

	if (set->count == 0)
		return NULL;
	i = index_find(set, id);
	return set->index[i] != 0 ? &set->slots[set->index[i] - 1] : NULL;
}

struct waiting *waiting_first(const struct waiting_set *set)
{
	return set->count > 0 ? &set->slots[set->heap[0].slot] : NULL;
}

int64_t waiting_due(const struct waiting_set *set, const struct waiting *w)
{
	return set->heap[w->place].due;
}

void waiting_move(struct waiting_set *set, struct waiting *w, int64_t due)
{
	int64_t was = set->heap[w->place].due;

	set->heap[w->place].due = due;
	if (due < was)
		sift_up(set, w->place);
	else
		sift_down(set, w->place);
}

struct waiting *waiting_add(struct waiting_set *set, uint64_t id, int64_t due)
{
	struct waiting *w = waiting_find(set, id);

	if (w != NULL) {
		waiting_move(set, w, due);
		return w;
	}
	if (!make_room(set))
		return NULL;
	w = &set->slots[set->count];
	*w = (struct waiting){.id = id & (UINT64_MAX >> 9)};
	set->index[index_find(set, id)] = (uint32_t)set->count + 1;
	put(set, set->count, (struct place){due, (uint32_t)set->count});
	set->count++;
	sift_up(set, w->place);
	return w;
}

static void forget_texts(struct waiting_set *set, struct waiting *w)
{
	struct text **const texts[] = {&w->destination, &w->sender, &w->recipient, &w->reason};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		texts_put(set->texts, *texts[i]);
		*texts[i] = NULL;
	}
}

/* false: there is one, and it could not be kept. */
static bool keep(struct waiting_set *set, const struct waiting_facts *facts, struct span s, struct text **out)
{
	if (s.len > 0)
		*out = texts_get(set->texts, s, facts->hash(facts->arg, s), set->count);
	return s.len == 0 || *out != NULL;
}

static uint32_t seconds_of(int64_t when)
{
	return when < 0 ? 0 : when > UINT32_MAX ? UINT32_MAX : (uint32_t)when;
}

void waiting_tell(struct waiting_set *set, struct waiting *w, const struct waiting_facts *facts)
{
	forget_texts(set, w);
	w->known = keep(set, facts, facts->destination, &w->destination) && keep(set, facts, facts->sender, &w->sender) &&
		   keep(set, facts, facts->recipient, &w->recipient) && keep(set, facts, facts->reason, &w->reason) &&
		   facts->arrived >= 0 && facts->arrived <= UINT32_MAX && facts->size >> WAITING_SIZE_BITS == 0;
	w->size = facts->size & (UINT64_MAX >> (64 - WAITING_SIZE_BITS));
	w->arrived = (uint32_t)facts->arrived;
	w->begun = seconds_of(facts->begun);
	w->next = seconds_of(facts->next);
	w->warns = facts->warns;
	w->recipients = facts->recipients & 1023;
	w->several = facts->recipients > 1;
}

/* The last of the heap takes its place. */
static void heap_remove(struct waiting_set *set, size_t i)
{
	struct place last = set->heap[set->count];

	if (i == set->count)
		return;
	put(set, i, last);
	sift_up(set, i);
	sift_down(set, set->slots[last.slot].place);
}

bool waiting_remove(struct waiting_set *set, uint64_t id)
{
	struct waiting *w = waiting_find(set, id), *last;

	if (w == NULL)
		return false;
	forget_texts(set, w);
	index_remove(set, index_find(set, id));
	last = &set->slots[--set->count];
	heap_remove(set, w->place);
	if (w != last) {
		set->index[index_find(set, last->id)] = (uint32_t)(w - set->slots) + 1;
		*w = *last;
		set->heap[w->place].slot = (uint32_t)(w - set->slots);
	}
	give_room_back(set);
	return true;
}
