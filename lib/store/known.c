/* Which message files the index knows: of messages in mailboxes, and of what was expunged and is kept. */
#include "store/private.h"

#include "base/checksum.h"

#include <stdlib.h>

static uint64_t rest_of_name(const struct store_message *m)
{
	const uint64_t parts[] = {m->origin, (uint64_t)m->arrived, m->sum};

	return checksum(parts, sizeof(parts), 0);
}

static int note(struct known *known, const struct store_message *m)
{
	if (known->count == known->size) {
		size_t size = known->size ? 2 * known->size : 1024;
		struct known_file *files = reallocarray(known->files, size, sizeof(*files));

		if (files == NULL)
			return E_NOMEM;
		known->files = files;
		known->size = size;
	}
	known->files[known->count++] = (struct known_file){m->number, rest_of_name(m)};
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = ((const struct known_file *)a)->number, y = ((const struct known_file *)b)->number;

	return (x > y) - (x < y);
}

struct visit {
	struct store_txn *txn;
	struct known *known;
	struct err *err;
};

static int note_messages(void *arg, const struct store_message *messages, size_t count)
{
	struct visit *v = arg;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = note(v->known, &messages[i]);
	return r;
}

static int note_mailbox(void *arg, const struct store_mailbox *mailbox)
{
	struct visit *v = arg;

	return store_message_each(v->txn, mailbox->id, note_messages, v, v->err);
}

static int note_expunged(struct store_txn *txn, struct known *known, struct err *err)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int found, r = mdb_cursor_open(txn->mdb, txn->store->db[DB_EXPUNGED], &cursor);

	if (r != 0)
		return record_error(txn, DB_EXPUNGED, r, err);
	for (found = mdb_cursor_get(cursor, &k, &v, MDB_FIRST); found == 0 && r == 0; found = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		struct expunged record;

		r = expunged_decode(txn, k, v, &record, err);
		if (r == 0)
			r = note(known, &record.message);
	}
	mdb_cursor_close(cursor);
	return r != 0 || found == MDB_NOTFOUND ? r : record_error(txn, DB_EXPUNGED, found, err);
}

/* Copies of a message share its file. */
static uint64_t find_twice(const struct known *known)
{
	for (size_t i = 1; i < known->count; i++)
		if (known->files[i].number == known->files[i - 1].number && known->files[i].name != known->files[i - 1].name)
			return known->files[i].number;
	return 0;
}

int known_all(struct store_txn *txn, struct known *known, struct err *err)
{
	struct visit v = {txn, known, err};
	int r = store_mailbox_each(txn, note_mailbox, &v);

	if (r == 0)
		r = note_expunged(txn, known, err);
	if (r == 0 && known->count > 0)
		qsort(known->files, known->count, sizeof(*known->files), compare);
	if (r == 0)
		known->twice = find_twice(known);
	return r;
}

bool known_has(const struct known *known, uint64_t number)
{
	const struct known_file wanted = {.number = number};

	return known->count > 0 && bsearch(&wanted, known->files, known->count, sizeof(wanted), compare) != NULL;
}

void known_free(struct known *known)
{
	free(known->files);
	*known = (struct known){0};
}
