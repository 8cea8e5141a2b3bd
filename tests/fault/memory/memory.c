/* The allocator that fails on demand (linked with --wrap), and the loop over all scenarios. */
#include "tests/fault/memory/memory.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#define LEAKS() __lsan_do_recoverable_leak_check()
#else
#define LEAKS() 0
#endif

enum { MOST = 100000 };

static unsigned long countdown; /* to the one that fails; 0: none does */
static bool has_failed;
static const struct scenario *now;
static unsigned long now_n;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);

void memory_rest(void)
{
	countdown = 0;
}

unsigned long memory_pause(void)
{
	unsigned long left = countdown;

	countdown = 0;
	return left;
}

void memory_resume(unsigned long left)
{
	countdown = left;
}

bool memory_failed(void)
{
	return has_failed;
}

static bool fails(void)
{
	if (countdown == 0)
		return false;
	if (--countdown > 0)
		return false;
	has_failed = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return fails() ? NULL : __real_reallocarray(old, count, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

_Noreturn void memory_wrong(const char *what)
{
	fprintf(stderr, "memory: %s, allocation %lu: %s\n", now != NULL ? now->name : "", now_n, what);
	exit(1);
}

static bool is_right(const struct scenario *s, int r)
{
	return r == E_NOMEM || (r == MEMORY_LESS && s->may_be_less);
}

/* How many allocations were made to fail. */
static unsigned long run(const struct scenario *s)
{
	now = s;
	for (now_n = 1; now_n < MOST; now_n++) {
		void *state = s->begin != NULL ? s->begin() : NULL;
		char text[128];
		int r;

		countdown = now_n;
		has_failed = false;
		r = s->run(state);
		countdown = 0;
		snprintf(text, sizeof(text), "the result is %d, %s", r, r < 0 ? err_text(r) : "");
		if (has_failed && !is_right(s, r))
			memory_wrong(text);
		if (!has_failed && r != 0)
			memory_wrong(text);
		if (has_failed && s->run(state) != 0)
			memory_wrong("not right the next time");
		if (s->end != NULL)
			s->end(state);
		if (!has_failed)
			break;
	}
	if (LEAKS() != 0)
		memory_wrong("something was not given back (above)");
	return now_n - 1;
}

/* ---- what the loop must notice: MEMORY_PLANT=keeps, MEMORY_PLANT=ignores ---- */

static void *volatile kept;

static int keeps(void *state)
{
	(void)state;
	kept = malloc(10);
	if (kept == NULL)
		return E_NOMEM;
	kept = NULL;
	return 0;
}

static int ignores(void *state)
{
	(void)state;
	kept = malloc(10);
	free(kept);
	return 0;
}

static void plant(void)
{
	if (getenv("MEMORY_PLANT") != NULL) {
		const struct scenario planted = {.name = "planted", .run = strcmp(getenv("MEMORY_PLANT"), "keeps") == 0 ? keeps : ignores};

		run(&planted);
	}
}

int main(void)
{
	const struct scenario *const all[] = {text_scenarios, daemon_scenarios, report_scenarios, session_scenarios, disk_scenarios};
	unsigned long total = 0;
	unsigned count = 0;

	if (sodium_init() < 0)
		return 1;
	plant();
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (const struct scenario *s = all[i]; s->name != NULL; s++) {
			unsigned long n = run(s);

			printf("%-40s %6lu allocations\n", s->name, n);
			total += n;
			count++;
		}
	printf("allocations: %u engines, %lu allocations failed\n[  PASSED  ] %u test(s).\n", count, total, count);
	return 0;
}
