/* What is done now and then: purge, check, and the making of a lost index from the files. */
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

static void say(store_report *report, void *arg, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void say(store_report *report, void *arg, const char *fmt, ...)
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
	int r = 0;

	if (mdb_cursor_open(txn->mdb, txn->store->expunged, &cursor) != 0)
		return err_set(err, E_IO, "expunged");
	while (*count < PURGE_BATCH && r == 0 && mdb_cursor_get(cursor, &k, &v, MDB_FIRST) == 0) {
		struct expunged record;
		uint32_t left = 0;

		if (v.mv_size != sizeof(record) || ((int64_t)store_get64(k.mv_data) >= before && !keeps_too_much(txn)))
			break;
		memcpy(&record, v.mv_data, sizeof(record));
		r = refs_change(txn, record.message.number, -1, &left, err);
		if (r == 0 && left == 0) {
			unsigned char key[8];
			MDB_val f = {sizeof(key), key};

			store_key64(record.message.number, key);
			mdb_del(txn->mdb, txn->store->facts, &f, NULL);
			gone[(*gone_count)++] = record.message;
		}
		txn->meta.kept_bytes -= record.message.size;
		if (mdb_cursor_del(cursor, 0) != 0)
			r = err_set(err, E_IO, "expunged");
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

		file_name(gone[i].number, gone[i].origin, gone[i].arrived, name);
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

enum { TIDY_EVERY = 86400, TIDY_BATCH = 1000 };

#define TIDY_KEY ((MDB_val){1, (void *)(uintptr_t)"T"})

static int tidied_at(struct store *store, int64_t *when, struct err *err)
{
	MDB_val k = TIDY_KEY, v;
	struct store_txn *txn;
	int r = store_begin(store, false, &txn, err);

	*when = 0;
	if (r != 0)
		return r;
	if (mdb_get(txn->mdb, store->catalog, &k, &v) == 0 && v.mv_size == sizeof(*when))
		memcpy(when, v.mv_data, sizeof(*when));
	store_abort(&txn);
	return 0;
}

static int note_tidied(struct store *store, int64_t when, struct err *err)
{
	MDB_val k = TIDY_KEY, v = {sizeof(when), &when};
	struct store_txn *txn;
	int r = store_begin(store, true, &txn, err);

	if (r != 0)
		return r;
	txn->dirty = true;
	r = mdb_put(txn->mdb, store->catalog, &k, &v, 0);
	if (r == 0)
		return store_commit(&txn, err);
	store_abort(&txn);
	return store_db_error(err, r, "catalog");
}

/* When an entry was made; INT64_MAX for what is none of ours: it stays. */
typedef int64_t entry_when(MDB_val key, MDB_val value);

static int64_t delivered_when(MDB_val key, MDB_val value)
{
	int64_t when = INT64_MAX;

	(void)key;
	if (value.mv_size == sizeof(when))
		memcpy(&when, value.mv_data, sizeof(when));
	return when;
}

static int64_t log_when(MDB_val key, MDB_val value)
{
	int64_t when = INT64_MAX;

	(void)key;
	if (value.mv_size >= 16 + sizeof(when))
		memcpy(&when, (char *)value.mv_data + 16, sizeof(when));
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
static int find_old(struct store *store, MDB_dbi dbi, entry_when *when, int64_t before, bool in_order, struct old_keys *old, struct err *err)
{
	MDB_val k = {old->len, old->next}, v;
	struct store_txn *txn;
	MDB_cursor *cursor;
	int r = store_begin(store, false, &txn, err);

	old->count = 0;
	old->more = false;
	if (r != 0)
		return r;
	r = mdb_cursor_open(txn->mdb, dbi, &cursor);
	if (r == 0) {
		for (r = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); r == 0; r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
			bool is_old = k.mv_size == old->len && when(k, v) < before;

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

static int remove_old(struct store *store, MDB_dbi dbi, const struct old_keys *old, struct err *err)
{
	struct store_txn *txn;
	int r = store_begin(store, true, &txn, err);

	if (r != 0)
		return r;
	for (size_t i = 0; i < old->count && (r == 0 || r == MDB_NOTFOUND); i++) {
		MDB_val k = {old->len, (void *)(uintptr_t)old->keys[i]};

		r = mdb_del(txn->mdb, dbi, &k, NULL);
	}
	txn->dirty = true;
	if (r == 0 || r == MDB_NOTFOUND)
		return store_commit(&txn, err);
	store_abort(&txn);
	return store_db_error(err, r, "tidying");
}

static int prune(struct store *store, MDB_dbi dbi, size_t key_len, entry_when *when, int64_t before, bool in_order, bool (*stop)(void),
    struct err *err)
{
	struct old_keys *old = calloc(1, sizeof(*old));
	int r = old ? 0 : err_set(err, E_NOMEM, "out of memory");

	if (old != NULL) {
		old->len = key_len;
		old->more = true;
	}
	while (r == 0 && old->more && (stop == NULL || !stop())) {
		r = find_old(store, dbi, when, before, in_order, old, err);
		if (r == 0 && old->count > 0)
			r = remove_old(store, dbi, old, err);
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

int store_tidy(struct store *store, unsigned undo_days, bool (*stop)(void), struct err *err)
{
	int64_t now = clock_wall(), last;
	int r = tidied_at(store, &last, err);

	if (r != 0 || (last <= now && now - last < TIDY_EVERY))
		return r;
	r = purge_all(store, now - (int64_t)undo_days * 86400, stop, err);
	if (r == 0)
		r = prune(store, store->delivered, STORE_KEY, delivered_when, now - (int64_t)DELIVERED_KEEP_DAYS * 86400, false, stop, err);
	if (r == 0)
		r = prune(store, store->log, 12, log_when, now - (int64_t)LOG_KEEP_DAYS * 86400, true, stop, err);
	if (r == 0 && (stop == NULL || !stop()))
		r = orphans_remove(store, err);
	return r == 0 && (stop == NULL || !stop()) ? note_tidied(store, now, err) : r;
}

/* ---- check ---- */

struct check {
	struct store *store;
	struct store_txn *txn;
	store_report *report;
	void *arg;
	int faults;
	uint64_t bytes;
	uint32_t messages;
};

static void fault(struct check *c, struct span mailbox, uint32_t uid, const char *what)
{
	c->faults++;
	say(c->report, c->arg, "mailbox %.*s UID %u: %s", SPAN_ARG(mailbox), uid, what);
}

static int check_mailbox(void *arg, const struct store_mailbox *box)
{
	struct check *c = arg;
	struct store_message *list;
	struct err err = {0};
	size_t count;
	uint64_t size = 0;
	uint32_t last = 0, unseen = 0;
	int r = store_message_list(c->txn, box->id, 0, c->txn->pool, &list, &count, &err);

	if (r != 0) {
		fault(c, box->name, 0, err.text);
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		struct store_facts facts;
		int fd = -1;

		if (list[i].uid <= last || list[i].uid >= box->uidnext)
			fault(c, box->name, list[i].uid, "UID out of order");
		last = list[i].uid;
		if (store_file_open(c->store, &list[i], &fd, &err) != 0)
			fault(c, box->name, list[i].uid, err.text);
		if (fd >= 0)
			close(fd);
		r = store_facts_get(c->txn, list[i].number, &facts, &err);
		if (r != 0 && r != E_NOTFOUND) /* they may have been too large to be kept */
			fault(c, box->name, list[i].uid, err.text);
		size += list[i].size;
		unseen += !(list[i].flags & STORE_SEEN);
	}
	if (unseen != box->unseen)
		fault(c, box->name, 0, "count of unseen does not fit the messages");
	if (count != box->exists || size != box->size)
		fault(c, box->name, 0, "counts do not fit the messages");
	c->bytes += size;
	c->messages += (uint32_t)count;
	return 0;
}

int store_check(struct store *store, store_report *report, void *arg)
{
	struct check c = {.store = store, .report = report, .arg = arg};
	struct err err = {0};
	int r = pages_check(store, true, &err);

	if (r == E_CORRUPT) { /* no use in going further, and no safe way */
		say(report, arg, "%s", err.text);
		return 1;
	}
	if (r == 0)
		r = store_begin(store, false, &c.txn, &err);
	if (r == 0)
		r = store_mailbox_each(c.txn, check_mailbox, &c);
	if (r == 0 && (c.bytes != c.txn->meta.bytes || c.messages != c.txn->meta.messages)) {
		c.faults++;
		say(report, arg, "usage says %u messages, %" PRIu64 " octets; there are %u, %" PRIu64, c.txn->meta.messages,
		    c.txn->meta.bytes, c.messages, c.bytes);
	}
	store_abort(&c.txn);
	if (r != 0)
		say(report, arg, "%s", err.text);
	return r != 0 ? r : c.faults;
}

/* ---- rebuild ---- */

struct found {
	uint64_t number;
	uint32_t mailbox;
	int64_t arrived;
};

struct rebuild {
	struct store *store;
	store_report *report;
	void *arg;
	struct found *list;
	size_t count, size;
	uint32_t filed, left_out;
};

static int note_file(void *arg, const char *path, uint64_t number, uint32_t mailbox, int64_t arrived)
{
	struct rebuild *b = arg;

	(void)path;
	if (b->count == b->size) {
		size_t size = b->size ? 2 * b->size : 1024;
		struct found *list = reallocarray(b->list, size, sizeof(*list));

		if (list == NULL)
			return E_NOMEM;
		b->list = list;
		b->size = size;
	}
	b->list[b->count++] = (struct found){number, mailbox, arrived};
	return 0;
}

/* In the order in which they came. */
static int compare_found(const void *a, const void *b)
{
	uint64_t x = ((const struct found *)a)->number, y = ((const struct found *)b)->number;

	return (x > y) - (x < y);
}

static int refile(struct rebuild *b, struct store_txn *txn, const struct found *f, struct err *err)
{
	struct store_draft draft = {.store = b->store, .number = f->number, .mailbox = f->mailbox, .arrived = f->arrived, .fd = -1,
	    .finished = true, .filed = true};
	struct store_message m;
	struct store_mailbox box;
	uint32_t mailbox = f->mailbox;
	struct stat st;
	void *map = MAP_FAILED;
	int fd, r;

	/* The id is taken, also when nothing else is known of its mailbox. */
	if (mailbox >= txn->meta.next_mailbox && mailbox < UINT32_MAX)
		txn->meta.next_mailbox = mailbox + 1;
	file_name(f->number, f->mailbox, f->arrived, draft.name);
	fd = openat(b->store->dir, draft.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > UINT32_MAX) {
		b->left_out++;
		say(b->report, b->arg, "%s: cannot be read or is empty; left where it is", draft.name);
		if (fd >= 0)
			close(fd);
		return 0;
	}
	draft.size = (uint64_t)st.st_size;
	draft.pool = pool_new(txn->pool, 0);
	map = mmap(NULL, draft.size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	r = map == MAP_FAILED || draft.pool == NULL ? E_NOMEM : store_facts_find(span_of(map, draft.size), f->arrived, draft.pool, &draft.facts, err);
	if (map != MAP_FAILED)
		munmap(map, draft.size);
	if (r != 0)
		return r;
	if (store_mailbox_by_id(txn, mailbox, &box, NULL) != 0 || box.noselect) {
		r = store_mailbox_by_name(txn, SPAN_LIT("INBOX"), &box, err);
		mailbox = box.id;
	}
	if (r == 0)
		r = store_append(txn, &draft, mailbox, 0, NULL, 0, NULL, &m, err);
	b->filed += r == 0;
	pool_free(&draft.pool);
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
	if (r == 0) {
		if (b.count > 0)
			qsort(b.list, b.count, sizeof(*b.list), compare_found);
		r = refile_all(&b, err);
	}
	if (r == 0)
		r = rebuild_end(dir, err);
	if (r == 0)
		say(report, arg, "%u messages filed again, %u files left out", b.filed, b.left_out);
	store_close(&b.store);
	close(lock);
	free(b.list);
	return r;
}
