/*
 * Runs a target under libFuzzer and holds every input to its share of the
 * machine: a second of processor time and 64 MB of heap, sanitizers included.
 */
#include "tests/fuzz/fuzz.h"

#include <sanitizer/allocator_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HEAP_MAX = 64 * 1024 * 1024, CPU_MAX_MS = 1000 };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* libFuzzer is one thread; its own memory does not count. */
static struct {
	bool running, full;
	int64_t now;
} heap;

static void on_malloc(const volatile void *ptr, size_t size)
{
	(void)ptr;
	if (!heap.running)
		return;
	heap.now += (int64_t)size;
	if (heap.now > HEAP_MAX)
		heap.full = true;
}

static void on_free(const volatile void *ptr)
{
	if (heap.running && ptr != NULL)
		heap.now -= (int64_t)__sanitizer_get_allocated_size(ptr);
}

static int64_t cpu_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free))
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	int64_t begun = cpu_ms(), took;

	heap.now = 0;
	heap.full = false;
	heap.running = true;
	fuzz_one(span_of(data, size));
	heap.running = false;
	took = cpu_ms() - begun;
	if (took > CPU_MAX_MS)
		fprintf(stderr, "this input took %lld ms\n", (long long)took);
	if (heap.full)
		fprintf(stderr, "this input took more than %d bytes of memory at once\n", HEAP_MAX);
	fuzz_assert(took <= CPU_MAX_MS);
	fuzz_assert(!heap.full);
	return 0;
}
