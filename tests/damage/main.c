/*
 * damage WORLD SCRATCH SEED FIRST COUNT: cases FIRST to FIRST + COUNT - 1. A line for each broken promise, and at the end one of JSON with what
 * was done; with ALL in the environment a line for each case. Exit 1 when a promise was broken.
 */
#include "tests/damage/damage.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_SECONDS = 30, CHILD_MEMORY = 512 * 1024 * 1024 };

enum kind { KIND_ACCOUNT, KIND_SPOOL, KIND_DIRECTORY, KIND_COUNT };

static const char *const kind_names[KIND_COUNT] = {"store", "spool", "directory"};

struct figures {
	unsigned cases, kinds[KIND_COUNT], ways[WAY_COUNT], refused, rebuilt, died, harmless, wrong;
};

void *shared_new(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("no memory");
	return p;
}

int in_child(void (*fn)(void *arg), void *arg)
{
	const struct rlimit memory = {CHILD_MEMORY, CHILD_MEMORY}, core = {0, 0};
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		setrlimit(RLIMIT_DATA, &memory);
		setrlimit(RLIMIT_CORE, &core);
		alarm(CHILD_SECONDS);
		fn(arg);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		die("wait");
	return status;
}

void say_wrong(struct outcome *out, const char *fmt, ...)
{
	va_list ap;

	if (out->wrong[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(out->wrong, sizeof(out->wrong), fmt, ap);
	va_end(ap);
}

void say_log(struct outcome *out, const char *text)
{
	size_t at = strlen(out->log);

	snprintf(out->log + at, sizeof(out->log) - at, "%s\n", text);
}

/* Of ten: seven accounts, two spool files, a directory. */
static enum kind kind_of(struct chance *c)
{
	size_t n = chance_below(c, 10);

	return n < 7 ? KIND_ACCOUNT : n < 9 ? KIND_SPOOL : KIND_DIRECTORY;
}

static void one_case(const char *world, const char *scratch, uint64_t seed, unsigned number, bool all, struct figures *f)
{
	static void (*const run[KIND_COUNT])(struct chance *, const char *, const char *, struct damage *, struct outcome *) = {account_case, spool_case, directory_case};
	struct chance c = {seed * UINT64_C(0x100000001b3) + number};
	struct outcome *out = shared_new(sizeof(*out));
	struct damage damage = {0};
	enum kind kind = kind_of(&c);

	run[kind](&c, world, scratch, &damage, out);
	f->cases++;
	f->kinds[kind]++;
	f->ways[damage.way]++;
	f->refused += out->refused;
	f->rebuilt += out->rebuilt;
	f->died += out->died;
	f->harmless += out->harmless;
	if (out->wrong[0] != '\0' || all) {
		f->wrong += out->wrong[0] != '\0';
		printf("case %u: %s: %s: %s%s%s%s\n%s", number, kind_names[kind], damage.text, out->wrong[0] != '\0' ? out->wrong : "as promised",
		    out->rebuilt ? ", made again" : "", out->died ? ", died" : "", out->harmless ? ", harmless" : "", out->log);
		fflush(stdout);
	}
	munmap(out, sizeof(*out));
}

static void tell(const struct figures *f)
{
	printf("{\"cases\":%u,\"refused\":%u,\"rebuilt\":%u,\"died\":%u,\"harmless\":%u,\"wrong\":%u", f->cases, f->refused, f->rebuilt, f->died, f->harmless, f->wrong);
	for (int i = 0; i < KIND_COUNT; i++)
		printf(",\"%s\":%u", kind_names[i], f->kinds[i]);
	for (int i = 0; i < WAY_COUNT; i++)
		printf(",\"%s\":%u", way_names[i], f->ways[i]);
	printf("}\n");
}

int main(int argc, char **argv)
{
	struct figures figures = {0};
	unsigned first, count;
	uint64_t seed;

	if (argc != 6 || sodium_init() < 0)
		die("damage WORLD SCRATCH SEED FIRST COUNT");
	seed = strtoull(argv[3], NULL, 10);
	first = (unsigned)strtoul(argv[4], NULL, 10);
	count = (unsigned)strtoul(argv[5], NULL, 10);
	account_learn(argv[1], argv[2]);
	spool_learn(argv[1]);
	directory_learn(argv[1], argv[2]);
	for (unsigned i = 0; i < count; i++)
		one_case(argv[1], argv[2], seed, first + i, getenv("ALL") != NULL, &figures);
	tell(&figures);
	return figures.wrong > 0;
}
