/* What is done now and then: purge, and the making of a lost index from the files. */
#include "store/draft.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PURGE_BATCH = 1000, REPORT_LINE = 512 };

void store_say(store_report *report, void *arg, const char *fmt, ...)
{
	char line[REPORT_LINE];
	va_list ap;

	if (report == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	report(arg, line);
}

/* ---- purge ---- */

static bool keeps_too_much(const struct store_txn *txn)
{
	return txn->store->quota > 0 && txn->meta.kept_bytes > txn->store->quota;
}

static int purge_some(struct store_txn *txn, int64_t before, struct store_message *gone, size_t *gone_count, uint32_t *count, struct err *err)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int r = mdb_cursor_open(txn->mdb, txn->store->db[DB_EXPUNGED], &cursor);

	if (r != 0)
		return record_error(txn, DB_EXPUNGED, r, err);
	while (*count < PURGE_BATCH && r == 0 && mdb_cursor_get(cursor, &k, &v, MDB_FIRST) == 0) {
		struct expunged record;
		uint32_t left = 0;

		if (k.mv_size < 8 || ((int64_t)store_get64(k.mv_data) >= before && !keeps_too_much(txn)))
			break;
		/* What is removed cannot be made again: nothing is, on the word of a damaged record or for want of one. */
		if (*count == 0 && (records_verify(txn, DB_EXPUNGED, err) != 0 || records_verify(txn, DB_REFS, err) != 0))
			r = E_CORRUPT;
		if (r == 0)
			r = expunged_decode(txn, k, v, &record, err);
		if (r == 0)
			r = refs_change(txn, record.message.number, -1, &left, err);
		if (r == 0 && left == 0) {
			r = facts_del(txn, record.message.number, err);
			gone[(*gone_count)++] = record.message;
		}
		if (r != 0)
			break;
		txn->meta.kept_bytes -= record.message.size;
		r = record_del_at(txn, DB_EXPUNGED, cursor, k, v, err);
		(*count)++;
	}
	mdb_cursor_close(cursor);
	return r;
}

/* The record goes first: a file without a record is found and removed, a record without a file would be a fault. */
int store_purge(struct store *store, int64_t before, uint32_t *count, struct err *err)
{
	struct store_message *gone = reallocarray(NULL, PURGE_BATCH, sizeof(*gone));
	size_t gone_count = 0;
	struct store_txn *txn;
	int r = gone ? store_begin(store, true, &txn, err) : err_set(err, E_NOMEM, "out of memory");

	*count = 0;
	if (r != 0) {
		free(gone);
		return r;
	}
	r = purge_some(txn, before, gone, &gone_count, count, err);
	if (r == 0)
		r = store_commit(&txn, err);
	else
		store_abort(&txn);
	for (size_t i = 0; i < gone_count && r == 0; i++) {
		char name[STORE_FILE_NAME];

		message_file_name(&gone[i], name);
		unlinkat(store->dir, name, 0);
	}
	free(gone);
	return r;
}

int store_purge_surplus(struct store *store, struct err *err)
{
	uint32_t count = 0;
	int r = 0;

	while (store->quota > 0 && r == 0) {
		r = store_purge(store, INT64_MIN, &count, err);
		if (count == 0)
			break;
	}
	return r;
}

/* ---- what is of use for a time only ---- */

enum { TIDY_EVERY = 86400, TIDY_STEP = 2 * TIDY_EVERY, TIDY_BATCH = 1000 };

#define TIDY_KEY SPAN_LIT("T")

static int tidied_at(struct store *store, int64_t *when, struct err *err)
{
	struct span value;
	struct store_txn *txn;
	int r = store_begin(store, false, &txn, err);

	*when = 0;
	if (r != 0)
		return r;
	if (record_get(txn, DB_CATALOG, TIDY_KEY, &value, NULL) == 0 && value.len == sizeof(*when))
		memcpy(when, value.ptr, sizeof(*when));
	store_abort(&txn);
	return 0;
}

int tidied_put(struct store_txn *txn, int64_t when, struct err *err)
{
	return record_put(txn, DB_CATALOG, TIDY_KEY, span_of(&when, sizeof(when)), err);
}

static int note_tidied(struct store *store, int64_t when, struct err *err)
{
	struct store_txn *txn;
	int r = store_begin(store, true, &txn, err);

	if (r != 0)
		return r;
	r = tidied_put(txn, when, err);
	if (r == 0)
		return store_commit(&txn, err);
	store_abort(&txn);
	return r;
}

/* When an entry was made; INT64_MAX for what is none of ours: it stays. */
typedef int64_t entry_when(struct span value);

static int64_t delivered_when(struct span value)
{
	int64_t when = INT64_MAX;

	if (value.len == sizeof(when))
		memcpy(&when, value.ptr, sizeof(when));
	return when;
}

static int64_t log_when(struct span value)
{
	int64_t when = INT64_MAX;

	if (value.len >= 16 + sizeof(when))
		memcpy(&when, value.ptr + 16, sizeof(when));
	return when;
}

struct old_keys {
	unsigned char keys[TIDY_BATCH][STORE_KEY];
	size_t len; /* of each */
	size_t count;
	unsigned char next[STORE_KEY]; /* where the search goes on */
	bool more;
};

/* Up to a batch of keys whose time is over. in_order: the oldest come first, so the first that stays ends it. */
static int find_old(struct store *store, enum store_db db, entry_when *when, int64_t before, bool in_order, struct old_keys *old, struct err *err)
{
	MDB_val k = {old->len, old->next}, v;
	struct store_txn *txn;
	MDB_cursor *cursor;
	int r = store_begin(store, false, &txn, err);

	old->count = 0;
	old->more = false;
	if (r != 0)
		return r;
	r = mdb_cursor_open(txn->mdb, store->db[db], &cursor);
	if (r == 0) {
		for (r = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); r == 0; r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
			struct span value;
			bool is_old = k.mv_size == old->len && record_check(db, k, v, &value) && when(value) < before;

			if (!is_old && in_order)
				break;
			if (!is_old)
				continue;
			old->more = old->count == TIDY_BATCH;
			memcpy(old->more ? old->next : old->keys[old->count], k.mv_data, old->len);
			if (old->more)
				break;
			old->count++;
		}
		mdb_cursor_close(cursor);
	}
	store_abort(&txn);
	return r == 0 || r == MDB_NOTFOUND ? 0 : store_db_error(err, r, "tidying");
}

static int remove_old(struct store *store, enum store_db db, const struct old_keys *old, struct err *err)
{
	struct store_txn *txn;
	int r = store_begin(store, true, &txn, err);

	if (r != 0)
		return r;
	for (size_t i = 0; i < old->count && r == 0; i++)
		r = record_del(txn, db, span_of(old->keys[i], old->len), err);
	if (r == 0)
		return store_commit(&txn, err);
	store_abort(&txn);
	return r;
}

static int prune(struct store *store, enum store_db db, size_t key_len, entry_when *when, int64_t before, bool in_order, bool (*stop)(void),
    struct err *err)
{
	struct old_keys *old = calloc(1, sizeof(*old));
	int r = old ? 0 : err_set(err, E_NOMEM, "out of memory");

	if (old != NULL) {
		old->len = key_len;
		old->more = true;
	}
	while (r == 0 && old->more && (stop == NULL || !stop())) {
		r = find_old(store, db, when, before, in_order, old, err);
		if (r == 0 && old->count > 0)
			r = remove_old(store, db, old, err);
	}
	free(old);
	return r;
}

static int purge_all(struct store *store, int64_t before, bool (*stop)(void), struct err *err)
{
	uint32_t count;
	int r;

	do
		r = store_purge(store, before, &count, err);
	while (r == 0 && count > 0 && (stop == NULL || !stop()));
	return r;
}

/*
 * By what time the age of things is told. A clock that is a month ahead must not take what could have been undone: no more than TIDY_STEP
 * has passed since the last time, and what nobody has opened for longer is tidied wholly a day later.
 */
static int64_t counted_time(int64_t now, int64_t last)
{
	return last > 0 && now - last > TIDY_STEP ? last + TIDY_STEP : now;
}

int store_tidy(struct store *store, unsigned undo_days, bool (*stop)(void), struct err *err)
{
	int64_t wall = clock_wall(), now, last;
	int r = tidied_at(store, &last, err);

	if (r != 0 || (last <= wall && wall - last < TIDY_EVERY))
		return r;
	now = counted_time(wall, last);
	r = purge_all(store, now - (int64_t)undo_days * 86400, stop, err);
	if (r == 0)
		r = prune(store, DB_DELIVERED, STORE_KEY, delivered_when, now - (int64_t)DELIVERED_KEEP_DAYS * 86400, false, stop, err);
	if (r == 0)
		r = prune(store, DB_LOG, 12, log_when, now - (int64_t)LOG_KEEP_DAYS * 86400, true, stop, err);
	if (r == 0 && (stop == NULL || !stop()))
		r = orphans_remove(store, err);
	return r == 0 && (stop == NULL || !stop()) ? note_tidied(store, wall, err) : r;
}

/* ---- rebuild ---- */


struct rebuild {
	struct store *store;
	store_report *report;
	void *arg;
	struct file_name *list;
	size_t count, size;
	uint32_t filed, left_out;
};

static int note_file(void *arg, const char *path, const struct file_name *name)
{
	struct rebuild *b = arg;

	(void)path;
	if (b->count == b->size) {
		size_t size = b->size ? 2 * b->size : 1024;
		struct file_name *list = reallocarray(b->list, size, sizeof(*list));

		if (list == NULL)
			return E_NOMEM;
		b->list = list;
		b->size = size;
	}
	b->list[b->count++] = *name;
	return 0;
}

/* In the order in which they came. */
static int compare_found(const void *a, const void *b)
{
	uint64_t x = ((const struct file_name *)a)->number, y = ((const struct file_name *)b)->number;

	return (x > y) - (x < y);
}

bool store_is_passing(int code)
{
	return code != 0 && err_is_temp(code) && code != E_CORRUPT && code != E_IO;
}

/* Maps it. E_CORRUPT: nothing that can be filed; others: it cannot be looked at now. */
static int map_file(int dir, const char *path, struct span *out, struct err *err)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	void *map;
	int r = fd < 0 || fstat(fd, &st) != 0 ? err_set_errno(err, errno, "%s", path) : 0;

	if (r == 0 && (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > UINT32_MAX))
		r = E_CORRUPT;
	if (r == 0) {
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		r = map == MAP_FAILED ? err_set_errno(err, errno, "%s", path) : 0;
		*out = r == 0 ? span_of(map, (size_t)st.st_size) : (struct span){0};
	}
	if (fd >= 0)
		close(fd);
	return r == 0 || store_is_passing(r) ? r : E_CORRUPT;
}

static int refile_content(struct rebuild *b, struct store_txn *txn, struct store_draft *draft, struct span content, struct err *err)
{
	struct store_message m;
	struct store_mailbox box;
	uint32_t mailbox = draft->mailbox;
	int r = draft->pool == NULL ? err_set(err, E_NOMEM, "out of memory") : store_facts_find(content, draft->arrived, draft->pool, &draft->facts, err);

	if (r != 0)
		return r;
	if (store_mailbox_by_id(txn, mailbox, &box, NULL) != 0 || box.noselect) {
		r = store_mailbox_by_name(txn, SPAN_LIT("INBOX"), &box, err);
		mailbox = box.id;
	}
	if (r == 0)
		r = store_append(txn, draft, mailbox, 0, NULL, 0, NULL, &m, err);
	b->filed += r == 0;
	return r;
}

/* Somebody may still want to read what is left of it; nothing removes it there. */
static bool set_aside(int dir, const char *path)
{
	char to[STORE_FILE_NAME];

	snprintf(to, sizeof(to), STORE_DAMAGED "/%s", strrchr(path, '/') + 1);
	return (mkdirat(dir, STORE_DAMAGED, 0700) == 0 || errno == EEXIST) && renameat(dir, path, dir, to) == 0;
}

static int refile(struct rebuild *b, struct store_txn *txn, const struct file_name *f, struct err *err)
{
	struct store_draft draft = {.store = b->store, .number = f->number, .mailbox = f->mailbox, .arrived = f->arrived, .sum = f->sum, .fd = -1,
	    .finished = true, .filed = true};
	struct span content;
	int r;

	/* The id is taken, also when nothing else is known of its mailbox. */
	if (f->mailbox >= txn->meta.next_mailbox && f->mailbox < UINT32_MAX)
		txn->meta.next_mailbox = f->mailbox + 1;
	file_name(f, draft.name);
	r = map_file(b->store->dir, draft.name, &content, err);
	if (r != 0 && r != E_CORRUPT)
		return r;
	if (r != 0) {
		b->left_out++;
		store_say(b->report, b->arg, "%s: cannot be read or is empty; left where it is", draft.name);
		return 0;
	}
	draft.size = content.len;
	if (f->sum != 0 && file_sum(content) != f->sum) {
		b->left_out++;
		store_say(b->report, b->arg, "%s: its content does not fit its checksum; %s", draft.name,
		    set_aside(b->store->dir, draft.name) ? "moved to " STORE_DAMAGED "/" : "left where it is");
	} else {
		draft.pool = pool_new(txn->pool, 0);
		r = refile_content(b, txn, &draft, content, err);
		pool_free(&draft.pool);
	}
	munmap((void *)(uintptr_t)content.ptr, content.len);
	return r;
}

static int refile_all(struct rebuild *b, struct err *err)
{
	size_t i = 0;
	int r = 0;

	while (i < b->count && r == 0) {
		struct store_txn *txn;

		r = store_begin(b->store, true, &txn, err);
		for (size_t n = 0; n < PURGE_BATCH && i < b->count && r == 0; n++)
			r = refile(b, txn, &b->list[i++], err);
		if (r == 0)
			r = store_commit(&txn, err);
		else
			store_abort(&txn);
	}
	return r;
}

/* The damaged index is kept beside: it may still tell somebody something. One that we began to make does not. */
static int move_index(int dir, bool again, struct err *err)
{
	char name[64];

	if (again && (unlinkat(dir, "index/data.mdb", 0) == 0 || errno == ENOENT) &&
	    (unlinkat(dir, "index/lock.mdb", 0) == 0 || errno == ENOENT) && (unlinkat(dir, "index", AT_REMOVEDIR) == 0 || errno == ENOENT))
		return 0;
	snprintf(name, sizeof(name), "index.damaged-%lld", (long long)clock_wall_ms());
	if (renameat(dir, "index", dir, name) != 0 && errno != ENOENT)
		return err_set_errno(err, errno, "moving the damaged index aside");
	return 0;
}

static int lock_alone(int dir, int *fd, struct err *err)
{
	*fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd < 0)
		return err_set_errno(err, errno, "the account's lock");
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	close(*fd);
	return err_set(err, E_BUSY, "the account is in use; close its sessions and try again");
}

/* From here on every opening begins anew, until rebuild_end. again: the one before was interrupted. */
static int rebuild_begin(int dir, bool *again, struct err *err)
{
	int fd = openat(dir, STORE_REBUILDING, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	*again = fd < 0 && errno == EEXIST;
	if (fd < 0 && !*again)
		return err_set_errno(err, errno, STORE_REBUILDING);
	if (fd >= 0)
		close(fd);
	return fsync(dir) != 0 ? err_set_errno(err, errno, "sync of the account's directory") : 0;
}

static int rebuild_end(int dir, struct err *err)
{
	(void)unlinkat(dir, STORE_SUSPECT, 0);
	return unlinkat(dir, STORE_REBUILDING, 0) != 0 || fsync(dir) != 0 ? err_set_errno(err, errno, STORE_REBUILDING) : 0;
}

int store_rebuild(int dir, store_report *report, void *arg, struct err *err)
{
	struct rebuild b = {.report = report, .arg = arg};
	bool again = false;
	int lock, r = lock_alone(dir, &lock, err);

	if (r != 0)
		return r;
	r = rebuild_begin(dir, &again, err);
	if (r == 0)
		r = move_index(dir, again, err);
	if (r == 0 && renameat(dir, "mailboxes", dir, "mailboxes.old") != 0 && errno != ENOENT)
		r = err_set_errno(err, errno, "mailbox names");
	/* A new index: names from the snapshot, or the default mailboxes. */
	if (r == 0)
		r = store_open_anew(&b.store, dir, err);
	if (r == 0)
		r = files_each(b.store->dir, note_file, &b);
	if (r != 0 && err != NULL && err->code == 0)
		err_set(err, r, "the message files: %s", err_text(r));
	if (r == 0) {
		if (b.count > 0)
			qsort(b.list, b.count, sizeof(*b.list), compare_found);
		r = refile_all(&b, err);
	}
	if (r == 0)
		r = rebuild_end(dir, err);
	if (r == 0)
		store_say(report, arg, "%u messages filed again, %u files left out", b.filed, b.left_out);
	store_close(&b.store);
	close(lock);
	free(b.list);
	return r;
}
