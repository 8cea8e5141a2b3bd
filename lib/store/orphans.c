/*
 * Message files that nothing in the index knows (F5 of doc/store.md): of a writer that was killed before its commit, or of
 * a purge between its commit and the unlink. They are nobody's mail, cost space that no quota counts, and a rebuild would file them.
 */
#include "store/draft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ORPHANS_BATCH = 1000 }; /* removed at once; what is left is found the next day */

/* Numbers of message files, sorted when all are there. */
struct known {
	uint64_t *numbers;
	size_t count, size;
};

static int note(struct known *known, uint64_t number)
{
	if (known->count == known->size) {
		size_t size = known->size ? 2 * known->size : 1024;
		uint64_t *numbers = reallocarray(known->numbers, size, sizeof(*numbers));

		if (numbers == NULL)
			return E_NOMEM;
		known->numbers = numbers;
		known->size = size;
	}
	known->numbers[known->count++] = number;
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* skip: what stands before the records of a value. */
static int note_all(struct store_txn *txn, MDB_dbi dbi, size_t skip, struct known *known, struct err *err)
{
	struct store_message m;
	MDB_cursor *cursor;
	MDB_val k, v;
	int r = mdb_cursor_open(txn->mdb, dbi, &cursor);

	if (r != 0)
		return store_db_error(err, r, "looking for orphans");
	while ((r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
		for (size_t at = skip; at + sizeof(m) <= v.mv_size; at += sizeof(m)) {
			memcpy(&m, (const char *)v.mv_data + at, sizeof(m));
			if (note(known, m.number) != 0) {
				mdb_cursor_close(cursor);
				return err_set(err, E_NOMEM, "out of memory");
			}
		}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : store_db_error(err, r, "looking for orphans");
}

static int know(struct store_txn *txn, struct known *known, struct err *err)
{
	int r = note_all(txn, txn->store->messages, 0, known, err);

	if (r == 0)
		r = note_all(txn, txn->store->expunged, offsetof(struct expunged, message), known, err);
	if (r == 0 && known->count > 0)
		qsort(known->numbers, known->count, sizeof(*known->numbers), compare);
	return r;
}

static bool is_known(const struct known *known, uint64_t number)
{
	return known->count > 0 && bsearch(&number, known->numbers, known->count, sizeof(number), compare) != NULL;
}

struct search {
	struct known known;
	struct store_message orphans[ORPHANS_BATCH];
	size_t count;
};

static int look_at_file(void *arg, const char *path, uint64_t number, uint32_t mailbox, int64_t arrived)
{
	struct search *s = arg;

	(void)path;
	if (!file_is_old(number, STORE_DRAFT_MS) || is_known(&s->known, number))
		return 0;
	s->orphans[s->count++] = (struct store_message){.number = number, .origin = mailbox, .arrived = arrived};
	return s->count == ORPHANS_BATCH;
}

/* Nobody can file one meanwhile: a write transaction is under way. */
static void remove_unknown(struct store *store, const struct search *s, const struct known *known)
{
	char name[STORE_FILE_NAME];

	for (size_t i = 0; i < s->count; i++) {
		if (is_known(known, s->orphans[i].number))
			continue;
		file_name(s->orphans[i].number, s->orphans[i].origin, s->orphans[i].arrived, name);
		unlinkat(store->dir, name, 0);
	}
}

static int search(struct store *store, struct search *s, struct err *err)
{
	struct store_txn *txn;
	int r = store_begin(store, false, &txn, err);

	if (r != 0)
		return r;
	r = know(txn, &s->known, err);
	store_abort(&txn);
	if (r == 0)
		files_each(store->dir, look_at_file, s);
	return r;
}

int orphans_remove(struct store *store, struct err *err)
{
	struct search *s = calloc(1, sizeof(*s));
	struct known now = {0};
	struct store_txn *txn;
	int r = s != NULL ? search(store, s, err) : err_set(err, E_NOMEM, "out of memory");

	if (r == 0 && s->count > 0) {
		r = store_begin(store, true, &txn, err);
		if (r == 0)
			r = know(txn, &now, err);
		if (r == 0)
			remove_unknown(store, s, &now);
		if (txn != NULL)
			store_abort(&txn);
	}
	if (s != NULL)
		free(s->known.numbers);
	free(now.numbers);
	free(s);
	return r;
}
