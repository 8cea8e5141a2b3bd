/*
 * Looks at the index's pages before LMDB does. LMDB trusts them: an offset that
 * points nowhere ends the process, and would end the next one too. Pages are read,
 * not mapped, so that nothing found here can do harm.
 *
 * Format (LMDB 0.9, lmdb.h and mdb.c): a page has number u64, pad u16, flags u16,
 * lower u16, upper u16 (an overflow page: its count of pages, u32, in place of the two),
 * then offsets of its nodes (u16). A node has the size of its data u32, flags u16, key
 * size u16, key, data. In a branch the first six bytes are the child's number.
 */
#include "store/pages.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	PAGE_HEAD = 16,
	PAGE_BRANCH = 1,
	PAGE_LEAF = 2,
	PAGE_OVERFLOW = 4, /* all other flags mean something in memory alone; read from a file, they would keep a page from being written */
	NODE_HEAD = 8,
	NODE_BIG = 1,
	NODE_TREE = 2,
	TREE_SIZE = 48,
	TREE_FLAGS_AT = 4,
	TREE_NUMBERS = 8, /* keys are numbers: the flag of the tree of free pages, the only one used */
	TREE_DEPTH_AT = 6,
	TREE_ROOT_AT = 40,
	TREE_DEPTH_MAX = 32,
	META_MAGIC_AT = 16,
	META_PAGE_SIZE_AT = 40, /* of the tree of free pages, whose first field this is */
	META_FREE_AT = 40,
	META_MAIN_AT = 88,
	META_LAST_PAGE_AT = 136,
	META_TXN_AT = 144,
	META_SIZE = 152,
	META_PAGE_SIZE_MAX = 32768,
};

#define META_MAGIC UINT32_C(0xBEEFC0DE)

/* How the lock file begins. Versions after 0.9 have other formats, of which nothing is known here. */
struct lock_head {
	uint32_t magic, format;
	pthread_mutex_t readers;
	uint64_t last_commit;
};

#define LOCK_FORMAT UINT32_C(0x10001)

struct walk {
	int fd;
	bool whole;
	bool free_pages; /* the tree of those is looked at */
	uint64_t last;	 /* number of the last page */
	uint64_t budget; /* pages that may yet be read: a page has one parent */
	uint64_t bad;
};

static unsigned get16(const unsigned char *p)
{
	return (unsigned)get_le(p, 2);
}

static bool meta_read(int fd, uint64_t at, unsigned char *meta)
{
	return pread(fd, meta, META_SIZE, (off_t)at) == META_SIZE;
}

/* False also when it is not where it says. */
static bool page_read(struct walk *w, uint64_t number, unsigned char *page, size_t size)
{
	w->bad = number;
	return number >= 2 && number <= w->last && w->budget-- > 0 &&
	       pread(w->fd, page, size, (off_t)(number * PAGE)) == (ssize_t)size && get_le(page, 8) == number;
}

static bool overflow_check(struct walk *w, uint64_t number, uint64_t size)
{
	unsigned char head[PAGE_HEAD];
	uint64_t pages;

	if (!page_read(w, number, head, sizeof(head)))
		return false;
	pages = get_le(head + 12, 4);
	return get16(head + 10) == PAGE_OVERFLOW && pages >= 1 && pages <= w->last - number + 1 &&
	       size <= pages * PAGE - PAGE_HEAD;
}

static bool tree_check(struct walk *w, const unsigned char *tree, unsigned flags, bool inner);

/* Its data lies within the page, or where it says. first_or_last: of its page. */
static bool leaf_node_check(struct walk *w, const unsigned char *node, size_t room, bool first_or_last, bool inner)
{
	uint64_t size = get_le(node, 4);
	unsigned flags = get16(node + 4), key = get16(node + 6);
	bool big = flags & NODE_BIG, tree = flags & NODE_TREE;

	/* No database here has several values for a key, which the other flags are for. */
	if (key == 0 || NODE_HEAD + key + (big ? 8 : size) > room || (flags & ~(unsigned)(NODE_BIG | NODE_TREE)) != 0 ||
	    (tree && (big || inner || size != TREE_SIZE)))
		return false;
	if (tree)
		return tree_check(w, node + NODE_HEAD + key, 0, true);
	return !big || !(w->whole || first_or_last) || overflow_check(w, get_le(node + NODE_HEAD + key, 8), size);
}

/* The page and what is below it: all, or what LMDB touches to get to the first and the last entry. */
static bool page_check(struct walk *w, uint64_t number, unsigned depth, bool inner)
{
	unsigned char page[PAGE];
	unsigned kind, lower, upper, count;

	if (!page_read(w, number, page, sizeof(page)))
		return false;
	kind = get16(page + 10);
	lower = get16(page + 12);
	upper = get16(page + 14);
	count = (lower - PAGE_HEAD) / 2;
	/* With a single way to go there would be no branch: LMDB insists, but for the tree of free pages. */
	if (kind == PAGE_BRANCH && count < 2 && !w->free_pages)
		return false;
	if (lower <= PAGE_HEAD || lower % 2 != 0 || lower > upper || upper > PAGE || kind != (depth == 1 ? PAGE_LEAF : PAGE_BRANCH))
		return false;
	for (unsigned i = 0; i < count; i++) {
		unsigned at = get16(page + PAGE_HEAD + 2 * i);
		bool edge = i == 0 || i + 1 == count;
		const unsigned char *node;

		w->bad = number;
		if (at < upper || at > PAGE - NODE_HEAD)
			return false;
		node = page + at;
		if (kind == PAGE_LEAF) {
			if (!leaf_node_check(w, node, PAGE - at, edge, inner))
				return false;
			continue;
		}
		if (NODE_HEAD + get16(node + 6) > PAGE - at)
			return false;
		if ((w->whole || edge) && !page_check(w, get_le(node, 6), depth - 1, inner))
			return false;
	}
	return true;
}

/* inner: one of the named databases, which holds no further ones. */
static bool tree_check(struct walk *w, const unsigned char *tree, unsigned flags, bool inner)
{
	unsigned depth = get16(tree + TREE_DEPTH_AT);
	uint64_t root = get_le(tree + TREE_ROOT_AT, 8);

	if (get16(tree + TREE_FLAGS_AT) != flags)
		return false;
	if (root == UINT64_MAX)
		return depth == 0;
	return depth > 0 && depth <= TREE_DEPTH_MAX && page_check(w, root, depth, inner);
}

/* The first leaf below a tree's root; false when the way there makes no sense. */
static bool first_leaf(struct walk *w, const unsigned char *tree, unsigned char *page)
{
	uint64_t number = get_le(tree + TREE_ROOT_AT, 8);

	for (unsigned depth = get16(tree + TREE_DEPTH_AT); depth > 0 && depth <= TREE_DEPTH_MAX; depth--) {
		unsigned at;

		if (!page_read(w, number, page, PAGE))
			return false;
		at = get16(page + PAGE_HEAD);
		if (at < PAGE_HEAD + 2 || at > PAGE - NODE_HEAD)
			return false;
		if (depth == 1)
			return get16(page + 10) == PAGE_LEAF;
		number = get_le(page + at, 6);
	}
	return false;
}

/* The data of the first entry of a leaf, when its key is this and there are at least `size` bytes; else NULL. */
static const unsigned char *first_entry(const unsigned char *page, struct span key, size_t size)
{
	size_t at = get16(page + PAGE_HEAD);

	if (at + NODE_HEAD + key.len + size > PAGE || get16(page + at + 6) != key.len || memcmp(page + at + NODE_HEAD, key.ptr, key.len) != 0 ||
	    get_le(page + at, 4) < size)
		return NULL;
	return page + at + NODE_HEAD + key.len;
}

/* By which transaction the trees of a meta page were written, as the record in them says; 0 when they lead to none. */
static uint64_t written_by(struct walk *w, const unsigned char *meta, const struct pages_record *record)
{
	unsigned char page[PAGE], tree[TREE_SIZE];
	const unsigned char *entry;

	w->last = get_le(meta + META_LAST_PAGE_AT, 8);
	w->budget = TREE_DEPTH_MAX;
	if (!first_leaf(w, meta + META_MAIN_AT, page))
		return 0;
	entry = first_entry(page, span_str(record->database), TREE_SIZE);
	if (entry == NULL)
		return 0;
	memcpy(tree, entry, TREE_SIZE);
	if (!first_leaf(w, tree, page))
		return 0;
	entry = first_entry(page, record->key, record->size);
	return entry == NULL ? 0 : get_le(entry + record->txn_at, 8);
}

/*
 * LMDB takes the meta page with the greater number. If that number fell, it would go on from the moment before as if
 * the last commit had never been; but the meta record below it tells how it was called. seen: the moment it has taken.
 */
static bool was_taken_back(struct walk *w, uint64_t seen, const struct pages_record *record)
{
	uint64_t wrote, last = w->last, other = (seen + 1) % 2; /* last: of the moment seen */
	unsigned char meta[META_SIZE];

	if (!meta_read(w->fd, other * PAGE, meta))
		return false;
	wrote = written_by(w, meta, record);
	w->bad = other;
	if (wrote <= seen || !meta_read(w->fd, other * PAGE, meta))
		return false;
	/*
	 * Of a commit whose meta page could not be written LMDB leaves the new trees under the numbers that were there
	 * before, those of the commit before seen: nobody was told that it is done. Had it been, pages_guard would know.
	 */
	if (wrote == seen + 1 && get_le(meta + META_TXN_AT, 8) + 1 == seen && get_le(meta + META_LAST_PAGE_AT, 8) <= last)
		return false;
	return get_le(meta + META_TXN_AT, 8) < wrote;
}

/* One moment of the index: a meta page and the two trees in it. */
static int moment_check(MDB_env *env, struct walk *w, const struct pages_record *record, bool *sane)
{
	unsigned char meta[META_SIZE];
	MDB_txn *txn;
	/* What this reader could see is not written over while it is there, nor is what was committed since. */
	int r = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	if (r != 0)
		return r;
	*sane = meta_read(w->fd, mdb_txn_id(txn) % 2 * PAGE, meta);
	w->budget = w->last = get_le(meta + META_LAST_PAGE_AT, 8);
	w->free_pages = true;
	*sane = *sane && tree_check(w, meta + META_FREE_AT, TREE_NUMBERS, true);
	w->free_pages = false;
	*sane = *sane && tree_check(w, meta + META_MAIN_AT, 0, false) && (record == NULL || !was_taken_back(w, mdb_txn_id(txn), record));
	mdb_txn_abort(txn);
	return 0;
}

static bool meta_is_sane(const unsigned char *meta, uint64_t page_size)
{
	return get_le(meta + META_MAGIC_AT, 4) == META_MAGIC && get_le(meta + META_PAGE_SIZE_AT, 4) == page_size && page_size > META_SIZE &&
	       page_size <= META_PAGE_SIZE_MAX && (page_size & (page_size - 1)) == 0;
}

/*
 * LMDB counted a commit as done that is in neither meta page, and the older of them is not what its number says: the number
 * has fallen. Not by a cut of the power: the meta page was on the disk before the commit was counted. And one that
 * failed was not counted. Two honest pages are an index of an earlier time, from a backup.
 */
static bool last_is_gone(int fd, const unsigned char *newest, const unsigned char *older, const struct pages_record *record, uint64_t last_commit)
{
	struct walk w = {.fd = fd};

	return last_commit > get_le(newest + META_TXN_AT, 8) && written_by(&w, older, record) != get_le(older + META_TXN_AT, 8);
}

/* What is too short is made longer, but not with ftruncate: a writer may have made it longer than that in the meantime. */
static void lengthen(int fd, uint64_t page_size, uint64_t pages)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && (uint64_t)st.st_size < pages * page_size)
		(void)!fallocate(fd, 0, (off_t)((pages - 1) * page_size), (off_t)page_size);
}

/*
 * A file that is shorter than its newest meta page says would end the process
 * with SIGBUS at the first touch. It is made long enough: what was cut off reads
 * as zeros, which LMDB knows to be no page of its own.
 */
int pages_guard_file(int fd, uint64_t map_max, const struct pages_record *record, uint64_t last_commit, struct err *err)
{
	unsigned char metas[2][META_SIZE];
	uint64_t size, last;
	int newest;

	/* Of a file without meta pages nothing is known: it may just be made. LMDB refuses it if it is not. */
	if (!meta_read(fd, 0, metas[0]) || get_le(metas[0] + META_MAGIC_AT, 4) != META_MAGIC)
		return 0;
	size = get_le(metas[0] + META_PAGE_SIZE_AT, 4);
	if (meta_is_sane(metas[0], size) && !meta_read(fd, size, metas[1]))
		return 0;
	if (!meta_is_sane(metas[0], size) || !meta_is_sane(metas[1], size))
		return err_set(err, E_CORRUPT, "index: a meta page is damaged");
	/* Each moment is written where its number says, and the first to both: what is checked is what LMDB takes. */
	if (get_le(metas[0] + META_TXN_AT, 8) % 2 != 0 || (get_le(metas[1] + META_TXN_AT, 8) % 2 == 0 && get_le(metas[1] + META_TXN_AT, 8) != 0))
		return err_set(err, E_CORRUPT, "index: a meta page is damaged");
	newest = get_le(metas[1] + META_TXN_AT, 8) > get_le(metas[0] + META_TXN_AT, 8);
	last = get_le(metas[newest] + META_LAST_PAGE_AT, 8);
	if (last < 1 || last >= map_max / size)
		return err_set(err, E_CORRUPT, "index: a meta page is damaged");
	if (size == PAGE && record != NULL && last_is_gone(fd, metas[newest], metas[!newest], record, last_commit))
		return err_set(err, E_CORRUPT, "index: a meta page is damaged: the last commit is gone");
	lengthen(fd, size, last + 1);
	return 0;
}

/*
 * The number of the last commit, as LMDB has it in its lock file; 0 when that is not known. It is put there when the
 * commit's meta page is on the disk, and, like all that is in a shared map, without a sync: after a cut of the power
 * it may be an older one, never a newer.
 */
static int read_last_commit(int dir, const char *path, uint64_t *number, struct err *err)
{
	int fd = openat(dir, "lock.mdb", O_RDONLY | O_CLOEXEC);
	struct lock_head head;
	ssize_t n = fd < 0 ? -1 : pread(fd, &head, sizeof(head), 0);
	int r = n >= 0 || (fd < 0 && errno == ENOENT) ? 0 : err_set_errno(err, errno, "%s/lock.mdb", path);

	*number = n == (ssize_t)sizeof(head) && head.magic == META_MAGIC && head.format == LOCK_FORMAT ? head.last_commit : 0;
	if (fd >= 0)
		close(fd);
	return r;
}

/*
 * The lock file is read before the meta pages, which so cannot be older than it; and before LMDB opens it: who is the first to
 * do so makes the number in it what the meta pages say.
 */
int pages_guard(int dir, const char *path, uint64_t map_max, const struct pages_record *record, struct err *err)
{
	int at = openat(dir, path, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, r;
	uint64_t last_commit;

	if (at < 0)
		return 0;
	r = read_last_commit(at, path, &last_commit, err);
	fd = openat(at, "data.mdb", O_RDWR | O_CLOEXEC);
	if (r == 0 && fd >= 0)
		r = pages_guard_file(fd, map_max, record, last_commit, err);
	if (fd >= 0)
		close(fd);
	close(at);
	return r;
}

int pages_check(MDB_env *env, bool whole, const struct pages_record *record, struct err *err)
{
	struct walk w = {.whole = whole};
	bool sane = false;
	MDB_stat stat;
	int r = mdb_env_stat(env, &stat);

	if (r == 0)
		r = mdb_env_get_fd(env, &w.fd);
	if (r == 0 && stat.ms_psize != PAGE)
		return 0;
	/* Once more: the meta page may have been read while it was written. */
	for (int i = 0; i < 2 && r == 0 && !sane; i++)
		r = moment_check(env, &w, record, &sane);
	if (r != 0)
		return err_set(err, r > 0 ? err_from_errno(r) : E_CORRUPT, "index: check: %s", mdb_strerror(r));
	return sane ? 0 : err_set(err, E_CORRUPT, "index: page %llu is damaged", (unsigned long long)w.bad);
}
