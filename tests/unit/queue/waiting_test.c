/* What waits, held against a plain list that does the same slowly. */
#include "tests/unit/test.h"

#include "queue/waiting.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROOM = 3000, STEPS = 60000, MANY = 100000, DESTINATIONS = 1000, BYTES_MAX = 200 };

static uint64_t random_state = 7;

static uint64_t random_number(uint64_t below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407U;
	return (random_state >> 33) % below;
}

/* Ids are times with few bits that differ. */
static uint64_t id_of(size_t i)
{
	return (UINT64_C(0x56789abcd) << 14) + (uint64_t)(i / 7) * 16384 + i % 7;
}

static uint64_t hash_of(void *arg, struct span s)
{
	uint64_t h = 14695981039346656037U;

	(void)arg;
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211U;
	return h ^ h >> 32;
}

/* ---- the plain list ---- */

static struct {
	bool there;
	int64_t due;
	char recipient[16];
} plain[ROOM];

static size_t plain_count(void)
{
	size_t count = 0;

	for (size_t i = 0; i < ROOM; i++)
		count += plain[i].there;
	return count;
}

/* The earliest; of several the one with the least id. */
static uint64_t plain_first(void)
{
	uint64_t best = 0;
	int64_t due = 0;

	for (size_t i = 0; i < ROOM; i++)
		if (plain[i].there && (best == 0 || plain[i].due < due || (plain[i].due == due && id_of(i) < best))) {
			best = id_of(i);
			due = plain[i].due;
		}
	return best;
}

static void step(struct waiting_set *set)
{
	size_t i = random_number(ROOM);
	int64_t due = random_number(20) == 0 ? WAITING_NEVER : (int64_t)random_number(1000);
	struct waiting *w = waiting_find(set, id_of(i));

	assert_int_equal(w != NULL, plain[i].there);
	/* At times more come, at times more go: it grows and shrinks. */
	if (random_number(100) < (random_state >> 50) % 100) {
		w = waiting_add(set, id_of(i), due);
		assert_non_null(w);
		snprintf(plain[i].recipient, sizeof(plain[i].recipient), "u%u@b", (unsigned)random_number(50));
		waiting_tell(set, w, &(struct waiting_facts){.recipients = 1, .recipient = span_str(plain[i].recipient), .hash = hash_of});
		plain[i].there = true;
		plain[i].due = due;
	} else {
		assert_int_equal(waiting_remove(set, id_of(i)), plain[i].there);
		plain[i].there = false;
	}
}

static void assert_same(const struct waiting_set *set)
{
	assert_int_equal(waiting_count(set), plain_count());
	for (size_t i = 0; i < ROOM; i++) {
		const struct waiting *w = waiting_find(set, id_of(i));

		assert_int_equal(w != NULL, plain[i].there);
		if (w == NULL)
			continue;
		assert_int_equal(w->id, id_of(i));
		assert_int_equal(waiting_due(set, w), plain[i].due);
		assert_span_equal(text_span(w->recipient), plain[i].recipient);
	}
}

static void it_does_what_a_list_does(void **state)
{
	struct waiting_set *set = waiting_new();

	(void)state;
	assert_null(waiting_first(set));
	for (size_t n = 0; n < STEPS; n++) {
		step(set);
		if (n % 200 == 0 && plain_count() > 0)
			assert_int_equal(waiting_first(set)->id, plain_first());
		if (n % 5000 == 0)
			assert_same(set);
	}
	assert_same(set);
	for (size_t i = 0; i < ROOM; i++)
		waiting_remove(set, id_of(i));
	assert_int_equal(waiting_count(set), 0);
	assert_null(waiting_find(set, id_of(0)));
	waiting_free(&set);
}

static void the_first_comes_first(void **state)
{
	struct waiting_set *set = waiting_new();
	int64_t last = 0;

	(void)state;
	for (size_t i = 0; i < ROOM; i++)
		assert_non_null(waiting_add(set, id_of(i), (int64_t)random_number(500)));
	for (size_t i = 0; i < ROOM; i++)
		waiting_move(set, waiting_find(set, id_of(i)), (int64_t)random_number(500));
	while (waiting_first(set) != NULL) {
		struct waiting *w = waiting_first(set);

		assert_true(waiting_due(set, w) >= last);
		last = waiting_due(set, w);
		waiting_remove(set, w->id);
	}
	waiting_free(&set);
}

static void facts_are_kept_and_given_back(void **state)
{
	struct waiting_set *set = waiting_new();
	struct waiting *w = waiting_add(set, 7, 50);
	struct waiting_facts facts = {.size = 5000000000, .arrived = 1800000000, .begun = 1800000200, .next = 1800000300, .warns = true, .recipients = 1000, .destination = SPAN_LIT("b.test"),
	    .sender = SPAN_LIT("a@a.test"), .recipient = SPAN_LIT("b@b.test"), .hash = hash_of};
	size_t bytes;

	(void)state;
	assert_false(w->known);
	bytes = waiting_bytes(set);
	waiting_tell(set, w, &facts);
	assert_true(w->known && w->several);
	assert_int_equal(w->size, 5000000000);
	assert_int_equal(w->arrived, 1800000000);
	assert_int_equal(w->begun, 1800000200);
	assert_int_equal(w->next, 1800000300);
	assert_true(w->warns);
	assert_int_equal(w->recipients, 1000);
	assert_span_equal(text_span(w->destination), "b.test");
	assert_span_equal(text_span(w->sender), "a@a.test");
	assert_span_equal(text_span(w->reason), "");
	assert_int_equal(waiting_count_to(set, hash_of(NULL, SPAN_LIT("b.test"))), 1);
	assert_int_equal(waiting_count_to(set, hash_of(NULL, SPAN_LIT("a.test"))), 0);
	facts.reason = SPAN_LIT("451 later");
	facts.recipients = 1;
	waiting_tell(set, w, &facts);
	assert_span_equal(text_span(w->reason), "451 later");
	assert_false(w->several);
	facts.arrived = -1;
	waiting_tell(set, w, &facts);
	assert_false(w->known);
	facts.arrived = 0;
	facts.size = UINT64_C(1) << WAITING_SIZE_BITS;
	waiting_tell(set, w, &facts);
	assert_false(w->known);
	waiting_tell(set, w, &(struct waiting_facts){.hash = hash_of});
	assert_int_equal(waiting_count_to(set, hash_of(NULL, SPAN_LIT("b.test"))), 0);
	assert_int_equal(waiting_bytes(set), bytes);
	waiting_free(&set);
}

/* doc/performance.md: 200 octets a message, where a thousand destinations have a hundred each; and neither adding nor removing looks through all. */
static void many_cost_little(void **state)
{
	struct waiting_set *set = waiting_new();
	char to[40], destination[24], reason[80];
	clock_t begun = clock();

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		struct waiting *w = waiting_add(set, id_of(i), (int64_t)random_number(100000));

		snprintf(destination, sizeof(destination), "d%zu.example", i % DESTINATIONS);
		snprintf(to, sizeof(to), "somebody%zu@%s", i, destination);
		snprintf(reason, sizeof(reason), "451 4.4.1 %s does not answer: Connection refused", destination);
		assert_non_null(w);
		waiting_tell(set, w, &(struct waiting_facts){.recipients = 1, .destination = span_str(destination), .sender = SPAN_LIT("a@a.test"),
		    .recipient = span_str(to), .reason = span_str(reason), .hash = hash_of});
		assert_true(w->known);
	}
	assert_in_range(waiting_bytes(set) / MANY, 1, BYTES_MAX * 9 / 10);
	for (size_t i = 0; i < MANY; i++)
		assert_true(waiting_remove(set, id_of(i * 7919 % MANY)));
	assert_true(waiting_bytes(set) < 10000);
	assert_true((double)(clock() - begun) / CLOCKS_PER_SEC < 5);
	waiting_free(&set);
}

/* Whoever makes each text another cannot fill the memory: what does not fit stands in the file. */
static void strangers_do_not_fill_it(void **state)
{
	struct waiting_set *set = waiting_new();
	char reason[512];
	size_t unknown = 0;

	(void)state;
	memset(reason, 'x', sizeof(reason));
	for (size_t i = 0; i < MANY; i++) {
		struct waiting *w = waiting_add(set, id_of(i), 1);

		snprintf(reason, 20, "%zu", i);
		waiting_tell(set, w, &(struct waiting_facts){.recipients = 1, .reason = span_of(reason, sizeof(reason)), .hash = hash_of});
		unknown += !w->known;
	}
	assert_true(unknown > 0);
	assert_true(waiting_bytes(set) < (size_t)MANY * BYTES_MAX + TEXTS_FREE);
	waiting_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_does_what_a_list_does),
	    cmocka_unit_test(the_first_comes_first),
	    cmocka_unit_test(facts_are_kept_and_given_back),
	    cmocka_unit_test(many_cost_little),
	    cmocka_unit_test(strangers_do_not_fill_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
