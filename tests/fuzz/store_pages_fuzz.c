/*
 * The check of an index's pages: after it says that all is well, LMDB walks through
 * the whole of it and does not stumble.
 *
 * Input: damage: a page's number, an offset in it (two octets, the high one first), a count, so
 * many octets that are put there; and again. The count 0: the file ends at that page.
 */
#include "tests/fuzz/fuzz.h"

#include "store/private.h"
#include "tests/fuzz/scratch.h"

#include <sys/mman.h>

enum { PAGE_HERE = 4096, IMAGE_MAX = 64 * PAGE_HERE };

static unsigned char image[IMAGE_MAX], damaged[IMAGE_MAX];
static size_t image_size;

static void must(int r)
{
	if (r != 0)
		fprintf(stderr, "%s\n", mdb_strerror(r));
	fuzz_assert(r == 0);
}

static void put(MDB_txn *txn, MDB_dbi dbi, const char *key, size_t size)
{
	static char value[20000];
	MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v = {size, value};

	must(mdb_put(txn, dbi, &k, &v, 0));
}

/* Trees of one page, of two levels and more, of large values, and an empty one; always the same octets. */
static void fill(MDB_env *env)
{
	static const char *const names[] = {"catalog", "messages", "facts", "refs", "log", "expunged", "delivered"};
	char key[400];
	MDB_txn *txn;
	MDB_dbi dbi;

	must(mdb_txn_begin(env, NULL, 0, &txn));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		must(mdb_dbi_open(txn, names[i], MDB_CREATE, &dbi));
	must(mdb_txn_commit(txn));
	must(mdb_txn_begin(env, NULL, 0, &txn));
	must(mdb_dbi_open(txn, "catalog", 0, &dbi));
	put(txn, dbi, "M", 64);
	put(txn, dbi, "mINBOX", 300);
	must(mdb_dbi_open(txn, "messages", 0, &dbi));
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "%0*d", i % 3 == 0 ? 390 : 8, i);
		put(txn, dbi, key, 200);
	}
	must(mdb_dbi_open(txn, "facts", 0, &dbi));
	put(txn, dbi, "1", 5000);
	put(txn, dbi, "2", 50);
	put(txn, dbi, "3", 9000);
	must(mdb_txn_commit(txn));
	/* Freed pages, for the tree of those. */
	must(mdb_txn_begin(env, NULL, 0, &txn));
	must(mdb_dbi_open(txn, "facts", 0, &dbi));
	put(txn, dbi, "1", 10);
	must(mdb_txn_commit(txn));
}

static void make_image(void)
{
	char path[64], file[128];
	MDB_env *env;
	ssize_t n;
	int fd;

	fuzz_assert(scratch_make(path) == 0);
	must(mdb_env_create(&env));
	must(mdb_env_set_mapsize(env, IMAGE_MAX));
	must(mdb_env_set_maxdbs(env, 8));
	must(mdb_env_open(env, path, MDB_NOTLS | MDB_NOSYNC, 0600));
	fill(env);
	mdb_env_close(env);
	snprintf(file, sizeof(file), "%s/data.mdb", path);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, image, sizeof(image)) : -1;
	fuzz_assert(n > 2 * PAGE_HERE && (size_t)n < sizeof(image));
	close(fd);
	image_size = (size_t)n;
	scratch_remove(path);
}

static size_t apply(struct span input)
{
	size_t size = image_size;

	memcpy(damaged, image, image_size);
	while (input.len >= 4) {
		size_t page = fuzz_byte(&input) % (image_size / PAGE_HERE), at = page * PAGE_HERE;
		unsigned high = fuzz_byte(&input), count;

		at += (high << 8 | fuzz_byte(&input)) % PAGE_HERE;
		count = fuzz_byte(&input);
		/* Without its meta pages it is no index: LMDB itself says so. */
		if (count == 0 && page >= 2)
			size = page * PAGE_HERE;
		for (; count > 0 && input.len > 0 && at < image_size; count--)
			damaged[at++] = (unsigned char)fuzz_byte(&input);
	}
	return size;
}

/* Reads every octet of a value, as those do who use it. */
static unsigned touch(MDB_val v)
{
	const volatile unsigned char *p = v.mv_data;
	unsigned sum = 0;

	for (size_t i = 0; i < v.mv_size; i++)
		sum += p[i];
	return sum;
}

static void walk(MDB_txn *txn, MDB_dbi dbi, bool names)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	size_t steps = 0;

	if (mdb_cursor_open(txn, dbi, &cursor) != 0)
		return;
	while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0 && steps++ < 10000) {
		touch(k);
		touch(v);
	}
	fuzz_assert(steps < 10000);
	if (mdb_cursor_get(cursor, &k, &v, MDB_LAST) == 0)
		touch(k);
	/* A look-up goes down by comparing. */
	k = (MDB_val){8, (void *)(uintptr_t) "00000012"};
	if (!names && mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE) == 0)
		touch(v);
	mdb_cursor_close(cursor);
}

static void walk_all(MDB_env *env)
{
	static const char *const names[] = {NULL, "catalog", "messages", "facts", "refs", "log", "expunged", "delivered"};
	MDB_txn *txn;

	if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		MDB_dbi dbi;

		if (mdb_dbi_open(txn, names[i], 0, &dbi) == 0)
			walk(txn, dbi, names[i] == NULL);
	}
	mdb_txn_abort(txn);
}

/* As the store opens it. */
static void try_image(int fd, bool whole)
{
	const struct pages_record record = {.database = "catalog", .key = SPAN_LIT("M"), .size = 64, .txn_at = 48};
	struct store store = {0};
	struct err err;
	char path[64];
	/* A last commit that is not there: it is looked for in any case. */
	int r = pages_guard_file(fd, IMAGE_MAX, &record, UINT64_MAX, &err);

	fuzz_assert(r == 0 || r == E_CORRUPT);
	if (r != 0)
		return;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	must(mdb_env_create(&store.env));
	must(mdb_env_set_mapsize(store.env, IMAGE_MAX));
	must(mdb_env_set_maxdbs(store.env, 8));
	if (mdb_env_open(store.env, path, MDB_NOTLS | MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0600) == 0) {
		r = pages_check(store.env, whole, &record, &err);

		fuzz_assert(r == 0 || r == E_CORRUPT);
		if (r == 0 && whole)
			walk_all(store.env);
	}
	mdb_env_close(store.env);
}

void fuzz_one(struct span input)
{
	size_t size;
	int fd;

	if (image_size == 0)
		make_image();
	size = apply(input);
	fd = memfd_create("index", MFD_CLOEXEC);
	fuzz_assert(fd >= 0 && write(fd, damaged, size) == (ssize_t)size);
	try_image(fd, true);
	try_image(fd, false);
	close(fd);
}
