/*
 * The records of an index whose pages are sound: damaged ones cost errors, never the
 * process; and from the message files all can be made again.
 *
 * Input: damage: a database's number, a record's, an offset (two octets, the high one first), a
 * count, so many octets that are put there; and again. The count 0: the record
 * ends at the offset. The database 7: what follows is the snapshot of names, with a right checksum.
 */
#include "tests/fuzz/fuzz.h"

#include "store/private.h"
#include "tests/fuzz/scratch.h"

#include <sodium.h>

enum { DATABASES = 7, VALUE_MAX = 8192, MAP_SIZE = 64 * 1024 * 1024, MESSAGES = 3, SUM = 16 };

static void report(void *arg, const char *text)
{
	if (arg != NULL)
		fprintf(stderr, "%s\n", text);
}

/* ---- the account ---- */

static struct store_txn *begin(struct store *store)
{
	struct store_txn *txn;
	struct err err;

	fuzz_assert(store_begin(store, true, &txn, &err) == 0);
	return txn;
}

static void commit(struct store_txn *txn)
{
	struct err err;

	fuzz_assert(store_commit(&txn, &err) == 0);
}

static void file_one(struct store *store, uint32_t mailbox, int n)
{
	struct span keyword = SPAN_LIT("work");
	struct store_draft *draft;
	struct store_message m;
	struct store_txn *txn;
	struct err err;

	fuzz_assert(store_draft_new(store, mailbox, 1700000000 + n, &draft, &err) == 0);
	fuzz_assert(store_draft_write(draft, SPAN_LIT("Subject: x\r\n\r\ntext\r\n"), &err) == 0);
	fuzz_assert(store_draft_finish(draft, &err) == 0);
	txn = begin(store);
	fuzz_assert(store_append(txn, draft, mailbox, STORE_SEEN, &keyword, 1, NULL, &m, &err) == 0);
	commit(txn);
	store_draft_kept(draft);
	store_draft_free(&draft);
}

/* Messages in two mailboxes, one of them twice, one expunged. */
static void fill(struct store *store)
{
	static const uint32_t first[] = {1}, last[] = {MESSAGES};
	struct store_mailbox inbox, work;
	struct store_copied copied;
	struct store_txn *txn = begin(store);
	struct err err;
	uint32_t id;

	fuzz_assert(store_mailbox_create(txn, SPAN_LIT("a/work"), 0, &id, &err) == 0);
	fuzz_assert(store_mailbox_by_name(txn, SPAN_LIT("INBOX"), &inbox, &err) == 0);
	fuzz_assert(store_mailbox_by_id(txn, id, &work, &err) == 0);
	commit(txn);
	for (int i = 0; i < MESSAGES; i++)
		file_one(store, inbox.id, i);
	txn = begin(store);
	fuzz_assert(store_copy(txn, inbox.id, work.id, first, 1, false, txn->pool, &copied, &err) == 0);
	fuzz_assert(store_expunge(txn, inbox.id, last, 1, &err) == 0);
	fuzz_assert(store_mailbox_subscribe(txn, SPAN_LIT("gone"), true, &err) == 0);
	commit(txn);
}

/* ---- damage ---- */

static MDB_env *env_open(void)
{
	MDB_env *env;

	fuzz_assert(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, MAP_SIZE) == 0 && mdb_env_set_maxdbs(env, 8) == 0);
	fuzz_assert(mdb_env_open(env, "index", MDB_NOTLS | MDB_NOSYNC, 0600) == 0);
	return env;
}

/* The n-th record, counted from the front again when there are fewer. */
static bool seek(MDB_cursor *cursor, unsigned n, MDB_val *k, MDB_val *v)
{
	if (mdb_cursor_get(cursor, k, v, MDB_FIRST) != 0)
		return false;
	while (n-- > 0)
		if (mdb_cursor_get(cursor, k, v, MDB_NEXT) != 0 && mdb_cursor_get(cursor, k, v, MDB_FIRST) != 0)
			return false;
	return true;
}

static void damage_record(MDB_txn *txn, MDB_dbi dbi, struct span *input)
{
	unsigned char value[VALUE_MAX + 512] = {0};
	unsigned n = fuzz_byte(input), high = fuzz_byte(input);
	size_t at = high << 8 | fuzz_byte(input), count = fuzz_byte(input), size;
	unsigned char key[512];
	MDB_cursor *cursor;
	MDB_val k, v;

	fuzz_assert(mdb_cursor_open(txn, dbi, &cursor) == 0);
	if (!seek(cursor, n, &k, &v) || v.mv_size > VALUE_MAX) {
		mdb_cursor_close(cursor);
		return;
	}
	memcpy(value, v.mv_data, v.mv_size);
	memcpy(key, k.mv_data, k.mv_size);
	size = v.mv_size;
	mdb_cursor_close(cursor);
	at %= size + 64;
	if (count == 0)
		size = at;
	for (; count > 0 && input->len > 0; count--) {
		value[at++] = (unsigned char)fuzz_byte(input);
		size = at > size ? at : size;
	}
	k = (MDB_val){k.mv_size, key};
	v = (MDB_val){size, value};
	fuzz_assert(mdb_put(txn, dbi, &k, &v, 0) == 0);
}

static void write_names(struct span text)
{
	unsigned char sum[SUM];
	int fd = open("mailboxes", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	crypto_generichash(sum, sizeof(sum), (const unsigned char *)text.ptr, text.len, NULL, 0);
	fuzz_assert(fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len && write(fd, sum, sizeof(sum)) == SUM);
	close(fd);
}

static void damage(struct span input)
{
	static const char *const names[DATABASES] = {"catalog", "messages", "facts", "refs", "log", "expunged", "delivered"};
	MDB_env *env = env_open();
	MDB_txn *txn;
	MDB_dbi dbi;

	fuzz_assert(mdb_txn_begin(env, NULL, 0, &txn) == 0);
	while (input.len > 0) {
		unsigned which = fuzz_byte(&input) % (DATABASES + 1);

		if (which == DATABASES) {
			write_names(input);
			break;
		}
		fuzz_assert(mdb_dbi_open(txn, names[which], 0, &dbi) == 0);
		damage_record(txn, dbi, &input);
	}
	fuzz_assert(mdb_txn_commit(txn) == 0);
	mdb_env_close(env);
}

/* ---- everything that reads records ---- */

static int look_at_change(void *arg, const struct store_change *change)
{
	*(size_t *)arg += change->name.len;
	return 0;
}

static int look_at_name(void *arg, struct span name)
{
	*(size_t *)arg += name.len;
	return 0;
}

struct list {
	uint32_t ids[64];
	size_t count;
};

static int note_mailbox(void *arg, const struct store_mailbox *m)
{
	struct list *list = arg;

	fuzz_assert(m->name.len > 0 && m->name.len <= STORE_NAME_MAX);
	if (list->count < 64)
		list->ids[list->count++] = m->id;
	return 0;
}

static void use_message(struct store *store, struct store_txn *txn, const struct store_message *m)
{
	struct store_facts facts;
	struct err err;
	int fd;

	store_facts_get(txn, m->number, &facts, &err);
	if (store_file_open(store, m, &fd, &err) == 0)
		close(fd);
}

static void use_mailbox(struct store *store, struct store_txn *txn, uint32_t id, uint32_t other)
{
	uint32_t uids[] = {1, 2, 3, UINT32_MAX}, first;
	struct span keyword = SPAN_LIT("other");
	struct store_message *list;
	struct store_copied copied;
	struct err err;
	size_t count;

	if (store_message_list(txn, id, 0, txn->pool, &list, &count, &err) == 0)
		for (size_t i = 0; i < count; i++)
			use_message(store, txn, &list[i]);
	store_take_recent(txn, id, &first, &err);
	store_change_flags(txn, id, uids, 4, STORE_FLAGS_ADD, STORE_FLAGGED, &keyword, 1, &err);
	store_copy(txn, id, other, uids, 2, false, txn->pool, &copied, &err);
	store_expunge(txn, id, uids + 1, 1, &err);
	store_mailbox_rename(txn, id, SPAN_LIT("b/c"), &err);
}

static void use(struct store *store)
{
	struct store_usage usage;
	struct store_txn *txn;
	struct list list = {0};
	struct err err;
	size_t seen = 0;
	uint32_t count;

	store_check(store, report, NULL);
	if (store_begin(store, true, &txn, &err) != 0)
		return;
	store_mailbox_each(txn, note_mailbox, &list);
	store_subscription_each(txn, look_at_name, &seen);
	store_change_each(txn, 0, look_at_change, &seen);
	store_usage(txn, &usage, &err);
	for (size_t i = 0; i < list.count; i++)
		use_mailbox(store, txn, list.ids[i], list.ids[0]);
	store_undo(txn, 0, &count, &err);
	for (size_t i = 0; i < list.count; i++)
		store_mailbox_delete(txn, list.ids[i], &err);
	store_commit(&txn, &err);
	store_purge(store, INT64_MAX, &count, &err);
}

/* ---- one input ---- */

static void make_account(int dir)
{
	struct store_options options = {.create = true};
	struct store *store;
	struct err err;

	fuzz_assert(store_open(&store, dir, &options, NULL, &err) == 0);
	fill(store);
	fuzz_assert(store_check(store, report, store) == 0);
	store_close(&store);
}

static void try_account(int dir, struct span input)
{
	struct store_options options = {0};
	bool rebuilt = false;
	struct store *store;
	struct err err;

	damage(input);
	if (store_open(&store, dir, &options, &rebuilt, &err) == 0) {
		if (rebuilt)
			fuzz_assert(store_check(store, report, store) == 0);
		use(store);
		store_close(&store);
	}
	/* Whatever became of it: from the files, all that are still there. */
	if (store_rebuild(dir, report, NULL, &err) == 0) {
		fuzz_assert(store_open(&store, dir, &options, &rebuilt, &err) == 0 && !rebuilt);
		fuzz_assert(store_check(store, report, store) == 0);
		store_close(&store);
	}
}

void fuzz_one(struct span input)
{
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), dir;
	char path[64];

	fuzz_assert(here >= 0 && scratch_make(path) == 0 && chdir(path) == 0);
	dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_assert(dir >= 0);
	make_account(dir);
	try_account(dir, input);
	close(dir);
	fuzz_assert(fchdir(here) == 0);
	close(here);
	scratch_remove(path);
}
