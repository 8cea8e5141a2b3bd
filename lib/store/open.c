/* Opening an account, transactions, and the making of a lost index. */
#include "store/private.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_MAP ((size_t)16 << 30) /* address space, not memory and not disk */
enum { STORE_READERS = 2048, BUSY_TRIES = 100, BUSY_WAIT_MS = 20 };

int store_db_error(struct err *err, int r, const char *what)
{
	int code = r == MDB_NOTFOUND ? E_NOTFOUND
		: r == MDB_MAP_FULL ? E_NOSPACE
		: r == MDB_READERS_FULL ? E_BUSY
		: r > 0 ? err_from_errno(r) : E_CORRUPT;

	return err_set(err, code, "index: %s: %s", what, mdb_strerror(r));
}

void store_key32(uint32_t n, unsigned char *out)
{
	for (int i = 3; i >= 0; i--, n >>= 8)
		out[i] = (unsigned char)n;
}

uint32_t store_get32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void store_key64(uint64_t n, unsigned char out[8])
{
	store_key32((uint32_t)(n >> 32), out);
	store_key32((uint32_t)n, out + 4);
}

uint64_t store_get64(const unsigned char *p)
{
	return (uint64_t)store_get32(p) << 32 | store_get32(p + 4);
}

static int open_databases(struct store *s, bool create)
{
	static const char *const names[] = {"catalog", "messages", "facts", "refs", "log", "expunged", "delivered"};
	MDB_txn *txn = NULL;
	int r = mdb_txn_begin(s->env, NULL, create ? 0 : MDB_RDONLY, &txn);

	for (size_t i = 0; i < DB_COUNT && r == 0; i++)
		r = mdb_dbi_open(txn, names[i], create ? MDB_CREATE : 0, &s->db[i]);
	if (r != 0) {
		if (txn != NULL)
			mdb_txn_abort(txn);
		return r;
	}
	return mdb_txn_commit(txn);
}

/*
 * A writer that is killed after it wrote its meta page, and before it wrote its number into index/lock.mdb, leaves a commit that readers do not
 * see until the next writer finds it. A client that comes back would see that what it had asked for was not done, and later that it was.
 * To begin a write is to find it.
 */
static int take_last_commit(MDB_env *env)
{
	MDB_envinfo info;
	MDB_txn *txn;
	size_t seen;
	int r = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	if (r != 0)
		return r;
	seen = mdb_txn_id(txn);
	mdb_txn_abort(txn);
	mdb_env_info(env, &info);
	if (seen >= info.me_last_txnid)
		return 0;
	r = mdb_txn_begin(env, NULL, 0, &txn);
	if (r == 0)
		mdb_txn_abort(txn);
	return r;
}

/* path: of a directory that is there. create: the databases too. whole: all pages are looked at, before anything believes them. */
static int env_open(struct store *s, const char *path, bool create, bool whole, struct err *err)
{
	int r = mdb_env_create(&s->env), dead;

	if (r == 0)
		r = mdb_env_set_mapsize(s->env, STORE_MAP);
	if (r == 0)
		r = mdb_env_set_maxdbs(s->env, 8);
	if (r == 0)
		r = mdb_env_set_maxreaders(s->env, STORE_READERS);
	/* The process is confined to the account's directory, which is its current one. */
	if (r == 0)
		r = mdb_env_open(s->env, path, MDB_NOTLS, 0600);
	if (r != 0)
		return store_db_error(err, r, "open");
	mdb_reader_check(s->env, &dead);
	r = take_last_commit(s->env);
	if (r != 0)
		return store_db_error(err, r, "open");
	r = index_pages_check(s, whole, err);
	if (r != 0)
		return r;
	r = open_databases(s, create);
	if (r == MDB_NOTFOUND)
		return err_set(err, E_CORRUPT, "index: a database is missing");
	return r == 0 ? 0 : store_db_error(err, r, "open");
}

static void env_close(struct store *s)
{
	if (s->env != NULL)
		mdb_env_close(s->env);
	s->env = NULL;
}

/* One small read of every database: a damaged file is found here rather than in the middle of a command. */
static int env_check(struct store *s, struct err *err)
{
	MDB_cursor *cursor;
	MDB_txn *txn;
	MDB_val k = {1, (void *)(uintptr_t)"M"}, v;
	int r = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);

	for (size_t i = 0; i < DB_COUNT && r == 0; i++) {
		MDB_val key, value;

		r = mdb_cursor_open(txn, s->db[i], &cursor);
		if (r == 0) {
			r = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
			if (r == 0)
				r = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
			mdb_cursor_close(cursor);
		}
		if (r == MDB_NOTFOUND)
			r = 0;
	}
	if (r == 0) {
		r = mdb_get(txn, s->db[DB_CATALOG], &k, &v);
		if (r == MDB_NOTFOUND || (r == 0 && v.mv_size != sizeof(struct meta) + RECORD_SUM)) /* also one of another version */
			r = MDB_CORRUPTED;
	}
	if (txn != NULL)
		mdb_txn_abort(txn);
	return r == 0 ? 0 : store_db_error(err, r, "check");
}

/* Into *there; an error when that cannot be said. */
static int look_for(int dir, const char *name, bool *there, struct err *err)
{
	*there = faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	return *there || errno == ENOENT ? 0 : err_set_errno(err, errno, "%s", name);
}

static int make_directory(int dir, const char *name, struct err *err)
{
	return mkdirat(dir, name, 0700) == 0 || errno == EEXIST ? 0 : err_set_errno(err, errno, "mkdir %s", name);
}

static int sync_directory(int dir, struct err *err)
{
	return fsync(dir) == 0 ? 0 : err_set_errno(err, errno, "sync of the account's directory");
}

static int stop_at_file(void *arg, const char *path, const struct file_name *name)
{
	(void)arg, (void)path, (void)name;
	return 1;
}

/* Names or mail without an index: it was lost, and is made again from the files. */
static int index_was_lost(int dir, bool *lost, struct err *err)
{
	int r = look_for(dir, "mailboxes", lost, err);

	if (r != 0 || *lost)
		return r;
	r = files_each(dir, stop_at_file, NULL);
	*lost = r > 0;
	return r < 0 ? err_set(err, r, "the message files: %s", err_text(r)) : 0;
}

/* The first transaction of an index. */
static int fill_index(struct store *s, struct err *err)
{
	struct store_txn *txn;
	bool rebuilding;
	int r = look_for(s->dir, STORE_REBUILDING, &rebuilding, err);

	if (r == 0)
		r = store_begin(s, true, &txn, err);
	if (r != 0)
		return r;
	txn->meta.version = STORE_VERSION;
	txn->meta.next_mailbox = 1;
	/*
	 * Beyond all that the lost index can have given: it began at 0 or at a time before, and gave less than one in a microsecond. If the
	 * clock is behind that time now, the copy of the names tells more.
	 */
	if (rebuilding)
		txn->meta.modseq = (uint64_t)clock_wall_us();
	txn->dirty = true;
	r = names_restore(txn, err);
	if (r == E_NOTFOUND)
		r = catalog_create_defaults(txn, err);
	if (r == 0)
		r = tidied_put(txn, clock_wall(), err);
	if (r == 0)
		return store_commit(&txn, err);
	store_abort(&txn);
	return r;
}

/* What a making that was cut short has left. */
static int clear_unfinished(int dir, struct err *err)
{
	static const char *const names[] = {STORE_INDEX_NEW "/data.mdb", STORE_INDEX_NEW "/lock.mdb"};

	for (size_t i = 0; i < 2; i++)
		if (unlinkat(dir, names[i], 0) != 0 && errno != ENOENT)
			return err_set_errno(err, errno, "removing %s", names[i]);
	return 0;
}

/* Under another name until it is whole: an index that is there can be used, or was damaged. */
static int make_index(struct store *s, struct err *err)
{
	int r = make_directory(s->dir, STORE_INDEX_NEW, err);

	if (r == 0)
		r = clear_unfinished(s->dir, err);
	if (r == 0)
		r = env_open(s, STORE_INDEX_NEW, true, false, err);
	if (r == 0)
		r = fill_index(s, err);
	env_close(s);
	if (r == 0 && renameat(s->dir, STORE_INDEX_NEW, s->dir, "index") != 0)
		r = err_set_errno(err, errno, "renaming the new index");
	return r == 0 ? sync_directory(s->dir, err) : r;
}

/* Waits while the index is made again. */
static int take_lock(struct store *s, struct err *err)
{
	s->lock_fd = openat(s->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_set_errno(err, errno, "the account's lock");
	return flock(s->lock_fd, LOCK_SH) == 0 ? 0 : err_set_errno(err, errno, "the account's lock");
}

static int make_account(struct store *s, struct err *err)
{
	int r = make_directory(s->dir, "mail", err);

	if (r == 0)
		r = make_directory(s->dir, "sieve", err);
	return r == 0 ? make_index(s, err) : r;
}

static int ignore_mailbox(void *arg, const struct store_mailbox *mailbox)
{
	(void)arg, (void)mailbox;
	return 0;
}

/* Without these two nothing of the account is of use. */
static int read_catalog(struct store *s, struct err *err)
{
	struct store_txn *txn;
	int r = store_begin(s, false, &txn, err);

	if (r != 0)
		return r;
	r = store_mailbox_each(txn, ignore_mailbox, NULL);
	store_abort(&txn);
	return r == 0 ? 0 : err_set(err, r, "index: the records of the mailboxes are damaged");
}

/* Somebody met damage, or died: is it there to stay? */
static int look_at_suspect(struct store *s, struct err *err)
{
	int r = index_check(s, err);

	if (r == 0 && unlinkat(s->dir, STORE_SUSPECT, 0) != 0 && errno != ENOENT)
		r = err_set_errno(err, errno, STORE_SUSPECT);
	return r;
}

/*
 * One makes it, the others wait, for that alone: the account's own lock is held, shared, for as long as somebody
 * has it open. So it is the directory that is locked here.
 */
static int make_account_alone(struct store *s, struct err *err)
{
	bool there, lost = false;
	int r;

	if (flock(s->dir, LOCK_EX) != 0)
		return err_set_errno(err, errno, "the account's directory");
	r = look_for(s->dir, "index", &there, err);
	if (r == 0 && !there)
		r = index_was_lost(s->dir, &lost, err);
	if (r == 0 && !there)
		r = lost ? err_set(err, E_CORRUPT, "the index is missing") : make_account(s, err);
	flock(s->dir, LOCK_UN);
	return r;
}

static int open_index(struct store *s, bool suspect, struct err *err)
{
	int r = index_guard(s->dir, STORE_MAP, err);

	if (r == 0)
		r = env_open(s, "index", false, suspect, err);
	if (r == 0)
		r = env_check(s, err);
	return r == 0 ? read_catalog(s, err) : r;
}

/* look: at all of an index that is suspect. */
static int open_once(struct store *s, const struct store_options *options, bool look, struct err *err)
{
	bool rebuilding = false, there = true, lost = false, suspect = false;
	int r = take_lock(s, err);

	crash_watch(s->dir);
	if (r == 0)
		r = look_for(s->dir, STORE_REBUILDING, &rebuilding, err);
	if (r == 0 && rebuilding)
		r = err_set(err, E_CORRUPT, "the making of the index was interrupted");
	if (r == 0)
		r = look_for(s->dir, "index", &there, err);
	if (r == 0 && !there)
		r = index_was_lost(s->dir, &lost, err);
	if (r == 0 && !there)
		r = options->create || lost ? make_account_alone(s, err) : err_set(err, E_NOTFOUND, "the account has no store yet");
	if (r == 0 && look)
		r = look_for(s->dir, STORE_SUSPECT, &suspect, err);
	if (r == 0)
		r = open_index(s, suspect, err);
	return r == 0 && suspect ? look_at_suspect(s, err) : r;
}

static void close_parts(struct store *s)
{
	env_close(s);
	crash_watch(-1);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->lock_fd = -1;
}

/*
 * The index made again. While others have it open it cannot be: what is sound in it serves, and if it cannot be
 * opened at all, a session that is just ending is waited for.
 */
static int open_rebuilt(struct store *s, const struct store_options *options, struct err *err)
{
	int r = E_BUSY;

	for (int tries = 0; r == E_BUSY && tries < BUSY_TRIES; tries++) {
		if (tries > 0)
			poll(NULL, 0, BUSY_WAIT_MS);
		close_parts(s);
		r = store_rebuild(s->dir, NULL, NULL, err);
		if (r == 0)
			return open_once(s, options, true, err);
		if (r == E_BUSY && open_once(s, options, false, NULL) == 0)
			return 0;
	}
	return r;
}

static int store_new(struct store **out, int dir, struct err *err)
{
	struct store *s = *out = calloc(1, sizeof(*s));

	if (s == NULL)
		return err_set(err, E_NOMEM, "no memory for the store");
	s->lock_fd = -1;
	s->dir = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	return s->dir < 0 ? err_set_errno(err, errno, "account directory") : 0;
}

int store_open_anew(struct store **out, int dir, struct err *err)
{
	bool there = true;
	int r = store_new(out, dir, err);

	if (r == 0)
		r = look_for((*out)->dir, "index", &there, err);
	if (r == 0 && !there)
		r = make_account(*out, err);
	if (r == 0)
		r = open_index(*out, false, err);
	if (r != 0)
		store_close(out);
	return r;
}

int store_open(struct store **out, int dir, const struct store_options *options, bool *rebuilt, struct err *err)
{
	struct store *s;
	int r = store_new(&s, dir, err);

	if (rebuilt != NULL)
		*rebuilt = false;
	if (r == 0) {
		s->quota = options->quota;
		r = open_once(s, options, true, err);
	}
	if (r == E_CORRUPT) {
		r = open_rebuilt(s, options, err);
		if (r == 0 && rebuilt != NULL)
			*rebuilt = faccessat(s->dir, STORE_SUSPECT, F_OK, 0) != 0;
	}
	if (r != 0)
		store_close(&s);
	*out = s;
	return r;
}

void store_close(struct store **sp)
{
	struct store *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	close_parts(s);
	if (s->dir >= 0)
		close(s->dir);
	free(s);
}

void store_set_quota(struct store *s, uint64_t quota)
{
	s->quota = quota;
}

uint64_t store_generation(struct store *s)
{
	MDB_envinfo info;

	return mdb_env_info(s->env, &info) == 0 ? info.me_last_txnid : 0;
}

/* ---- transactions ---- */

/*
 * After a meta page that could not be written LMDB does nothing more with an environment it has open. It has put the
 * page back as it was, and what is in the file is the last good commit: opened again, it serves.
 */
static int begin_or_reopen(struct store *s, bool write, MDB_txn **out, struct err *err)
{
	unsigned flags = write ? 0 : MDB_RDONLY;
	int r = s->env != NULL ? mdb_txn_begin(s->env, NULL, flags, out) : MDB_PANIC;

	if (r == MDB_PANIC) {
		env_close(s);
		r = env_open(s, "index", false, false, err);
		if (r != 0) {
			env_close(s);
			return r;
		}
		r = mdb_txn_begin(s->env, NULL, flags, out);
	}
	return r == 0 ? 0 : store_db_error(err, r, "begin");
}

int store_begin(struct store *s, bool write, struct store_txn **out, struct err *err)
{
	struct pool *pool = pool_new(NULL, STORE_TXN_POOL);
	struct store_txn *txn = pool ? pool_new_object(pool, struct store_txn) : NULL;
	int r;

	*out = NULL;
	invariant(!s->in_txn);
	if (txn == NULL) {
		pool_free(&pool);
		return err_set(err, E_NOMEM, "no memory for a transaction");
	}
	txn->store = s;
	txn->pool = pool;
	txn->write = write;
	r = begin_or_reopen(s, write, &txn->mdb, err);
	if (r != 0) {
		pool_free(&pool);
		return r;
	}
	s->in_txn = true;
	r = meta_get(txn, err);
	if (r != 0) {
		store_abort(&txn);
		return r;
	}
	*out = txn;
	return 0;
}

/*
 * A commit is in the file a moment before new readers see it: LMDB publishes its number last. Who was told of a change
 * by the file itself would look too early, and nothing would tell it again. Waiting for the writer's lock is waiting
 * for that moment; a writer that was killed in it is cleaned up after on the way.
 */
int store_begin_after(struct store *s, uint64_t generation, struct store_txn **out, struct err *err)
{
	int r = store_begin(s, false, out, err);

	if (r != 0 || mdb_txn_id((*out)->mdb) >= generation)
		return r;
	store_abort(out);
	r = store_begin(s, true, out, err);
	if (r != 0)
		return r;
	store_abort(out);
	return store_begin(s, false, out, err);
}

static void txn_end(struct store_txn **txnp)
{
	struct pool *pool = (*txnp)->pool;

	(*txnp)->store->in_txn = false;
	*txnp = NULL;
	pool_free(&pool);
}

void store_abort(struct store_txn **txn)
{
	if (*txn == NULL)
		return;
	mdb_txn_abort((*txn)->mdb);
	txn_end(txn);
}

int store_commit(struct store_txn **txnp, struct err *err)
{
	struct store_txn *txn = *txnp;
	int r = 0;

	if (!txn->write || !txn->dirty) {
		store_abort(txnp);
		return 0;
	}
	r = txn->changes > 0 ? log_bound(txn, err) : 0;
	if (r == 0)
		r = meta_put(txn, err);
	/* Before the commit: a name too many does no harm, one too few would lose a mailbox's name. */
	if (r == 0 && txn->names_dirty)
		r = names_write(txn, err);
	if (r != 0) {
		store_abort(txnp);
		return r;
	}
	r = mdb_txn_commit(txn->mdb);
	txn_end(txnp);
	return r == 0 ? 0 : store_db_error(err, r, "commit");
}

int store_usage(struct store_txn *txn, struct store_usage *out, struct err *err)
{
	(void)err;
	*out = (struct store_usage){.bytes = txn->meta.bytes, .messages = txn->meta.messages, .kept_bytes = txn->meta.kept_bytes};
	return 0;
}
