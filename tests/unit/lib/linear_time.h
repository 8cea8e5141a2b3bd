/* How the time of a parser grows with its input: shapes of inputs, and the ratio of times of one and of twice its length. */
#ifndef MW_TESTS_LINEAR_TIME_H
#define MW_TESTS_LINEAR_TIME_H

#include "tests/unit/test.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The sanitizer looks at all that is left of a text at each call of iconv or memmem: its time is not ours, and is not judged. */
#if defined(__SANITIZE_ADDRESS__)
enum { LONGEST = 512 * 1024 };
static const double ratio_max = 1000;
#else
enum { LONGEST = 16 * 1024 * 1024 };
static const double ratio_max = 2.3;
#endif
enum { DOUBLINGS = 4, TRIES = 32 };

/* An input: head, then `again` as often as it fits (a number in it counts up), then tail. */
struct shape {
	const char *name;
	const char *head, *again, *tail;
	void (*run)(struct span input);
	unsigned halves; /* for make check the sizes are halved so often */
};

/* `again` up to size octets or a little more; where it ends. */
static size_t repeat(char *text, size_t at, size_t size, const char *again)
{
	size_t len = strlen(again);
	unsigned n = 0;

	if (strchr(again, '#') == NULL) {
		for (; at < size; at += len)
			memcpy(text + at, again, len);
		return at;
	}
	while (at < size)
		for (const char *p = again; *p != '\0'; p++)
			if (*p == '#')
				at += (size_t)sprintf(text + at, "%u", n++);
			else
				text[at++] = *p;
	return at;
}

static struct span make(const struct shape *shape, size_t size)
{
	size_t head = strlen(shape->head), tail = strlen(shape->tail), at;
	char *text = malloc(size + head + tail + 512);

	assert_non_null(text);
	memcpy(text, shape->head, head);
	at = repeat(text, head, size, shape->again);
	memcpy(text + at, shape->tail, tail);
	return span_of(text, at + tail);
}

static double once(const struct shape *shape, struct span input)
{
	struct timespec a, b;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	shape->run(input);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	return (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
}

/*
 * What takes less than 4 ms, or two nanoseconds an octet, says nothing: at that caches and memory take part, which have their
 * own steps, and no input costs more than it may.
 */
static double ratio_of(double shorter, double longer, size_t len)
{
	double least_ms = 4 + (double)len * 2e-6;

	return longer / (shorter > least_ms ? shorter : least_ms);
}

/* Both again and again; other work only slows, so that the shortest of each is nearest to the truth. */
static double ratio_after_all(const struct shape *shape, struct span shorter, struct span longer)
{
	double least_shorter = once(shape, shorter), least_longer = once(shape, longer), ratio = 0;

	for (int try = 0; try < TRIES; try++) {
		double one = once(shape, shorter), other = once(shape, longer);

		least_shorter = one < least_shorter ? one : least_shorter;
		least_longer = other < least_longer ? other : least_longer;
		ratio = ratio_of(least_shorter, least_longer, shorter.len);
		if (try > 0 && ratio <= ratio_max)
			break;
	}
	return ratio;
}

static size_t longest_of(const struct shape *shape)
{
	const char *mb = getenv("LINEAR_MB");

	return mb != NULL ? (size_t)strtoul(mb, NULL, 10) * 1024 * 1024 : (size_t)LONGEST >> shape->halves;
}

/* The highest ratio of two sizes; what it was is in report. */
static double highest_ratio(const struct shape *shape, size_t longest, char *report, size_t room)
{
	struct span inputs[DOUBLINGS + 1];
	double took[DOUBLINGS + 1], highest = 0;

	for (int i = 0; i <= DOUBLINGS; i++) {
		double ratio;

		inputs[i] = make(shape, longest >> (DOUBLINGS - i));
		took[i] = once(shape, inputs[i]);
		ratio = i > 0 ? ratio_of(took[i - 1], took[i], inputs[i - 1].len) : 0;
		if (ratio > ratio_max)
			ratio = ratio_after_all(shape, inputs[i - 1], inputs[i]);
		if (i == 0 || ratio > highest) {
			highest = ratio;
			snprintf(report, room, "%s: %zu octets take %.2f times as long as %zu octets (%.1f ms and %.1f ms)", shape->name,
			    inputs[i].len, ratio, i > 0 ? inputs[i - 1].len : 0, took[i], i > 0 ? took[i - 1] : 0);
		}
		/* Nothing that is longer is tried: it would take too long. */
		if (ratio > ratio_max) {
			for (int n = 0; n <= i; n++)
				free((void *)(uintptr_t)inputs[n].ptr);
			return highest;
		}
	}
	if (getenv("LINEAR_VERBOSE") != NULL)
		print_message("%-40s %10zu octets %8.1f ms, ratio %.2f\n", shape->name, inputs[DOUBLINGS].len, took[DOUBLINGS], highest);
	for (int i = 0; i <= DOUBLINGS; i++)
		free((void *)(uintptr_t)inputs[i].ptr);
	return highest;
}

static double highest_of_all;
static size_t shapes_checked;

static void check(const struct shape *shape)
{
	char report[256];
	double ratio = highest_ratio(shape, longest_of(shape), report, sizeof(report));

	if (ratio > ratio_max)
		fail_msg("%s", report);
	highest_of_all = ratio > highest_of_all ? ratio : highest_of_all;
	shapes_checked++;
}

static void check_all(const struct shape *shapes, size_t count)
{
	const char *only = getenv("LINEAR_SHAPE");

	for (size_t i = 0; i < count; i++)
		if (only == NULL || strcmp(only, shapes[i].name) == 0)
			check(&shapes[i]);
}

/* The last test of a program. */
static void figures(void **state)
{
	(void)state;
	print_message("%zu shapes, highest ratio of two sizes %.2f\n", shapes_checked, highest_of_all);
}

/* Pages of its own for every long buffer, whatever its length: up to 32 MB they would be used again, beyond that not. LINEAR_TEST chooses one test. */
static void begin(void)
{
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	if (getenv("LINEAR_TEST") != NULL)
		cmocka_set_test_filter(getenv("LINEAR_TEST"));
}

#endif
