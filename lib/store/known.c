/* Which message files the index knows: of messages in mailboxes, and of what was expunged and is kept. */
#include "store/private.h"

#include <stdlib.h>

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
		r = note(v->known, messages[i].number);
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
			r = note(known, record.message.number);
	}
	mdb_cursor_close(cursor);
	return r != 0 || found == MDB_NOTFOUND ? r : record_error(txn, DB_EXPUNGED, found, err);
}

int known_all(struct store_txn *txn, struct known *known, struct err *err)
{
	struct visit v = {txn, known, err};
	int r = store_mailbox_each(txn, note_mailbox, &v);

	if (r == 0)
		r = note_expunged(txn, known, err);
	if (r == 0 && known->count > 0)
		qsort(known->numbers, known->count, sizeof(*known->numbers), compare);
	return r;
}

bool known_has(const struct known *known, uint64_t number)
{
	return known->count > 0 && bsearch(&number, known->numbers, known->count, sizeof(number), compare) != NULL;
}

void known_free(struct known *known)
{
	free(known->numbers);
	*known = (struct known){0};
}
