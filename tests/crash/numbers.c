/*
 * What an account's store says of itself, in one line of JSON: the counters that must never go back (D4), and the
 * message files that nothing in the index knows (F5 of doc/store.md).
 *
 *   numbers DIRECTORY
 */
#include "store/draft.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct numbers {
	struct store_txn *txn;
	uint64_t *known; /* numbers of message files in the index */
	size_t count, size;
	uint64_t modseq; /* the highest of any message */
	size_t files, unknown;
};

static int note(struct numbers *n, uint64_t number)
{
	if (n->count == n->size) {
		size_t size = n->size ? 2 * n->size : 1024;
		uint64_t *known = reallocarray(n->known, size, sizeof(*known));

		if (known == NULL)
			return E_NOMEM;
		n->known = known;
		n->size = size;
	}
	n->known[n->count++] = number;
	return 0;
}

static int note_mailbox(void *arg, const struct store_mailbox *box)
{
	struct numbers *n = arg;
	struct store_message *list;
	size_t count;
	struct err err;
	int r = store_message_list(n->txn, box->id, 0, n->txn->pool, &list, &count, &err);

	for (size_t i = 0; i < count && r == 0; i++) {
		if (list[i].modseq > n->modseq)
			n->modseq = list[i].modseq;
		r = note(n, list[i].number);
	}
	return r;
}

static int note_expunged(struct numbers *n)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int r = mdb_cursor_open(n->txn->mdb, n->txn->store->expunged, &cursor) == 0 ? 0 : E_IO;

	while (r == 0 && mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0)
		if (v.mv_size == sizeof(struct expunged))
			r = note(n, ((const struct expunged *)v.mv_data)->message.number);
	return r;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int look_at_file(void *arg, const char *path, uint64_t number, uint32_t mailbox, int64_t arrived)
{
	struct numbers *n = arg;

	(void)path, (void)mailbox, (void)arrived;
	n->files++;
	n->unknown += n->count == 0 || bsearch(&number, n->known, n->count, sizeof(number), compare) == NULL;
	return 0;
}

static int look(struct store *store, int dir, struct err *err)
{
	struct numbers n = {0};
	int r = store_begin(store, false, &n.txn, err);

	if (r == 0)
		r = store_mailbox_each(n.txn, note_mailbox, &n);
	if (r == 0)
		r = note_expunged(&n);
	if (n.count > 0)
		qsort(n.known, n.count, sizeof(*n.known), compare);
	if (r == 0)
		r = files_each(dir, look_at_file, &n);
	if (r == 0)
		printf("{\"modseq\": %" PRIu64 ", \"message_modseq\": %" PRIu64 ", \"uidvalidity\": %u, \"next_mailbox\": %u, \"files\": %zu, \"unknown\": %zu}\n",
		    n.txn->meta.modseq, n.modseq, n.txn->meta.last_uidvalidity, n.txn->meta.next_mailbox, n.files, n.unknown);
	store_abort(&n.txn);
	free(n.known);
	return r;
}

int main(int argc, char **argv)
{
	struct store_options options = {.create = false};
	struct store *store;
	struct err err = {0};
	bool rebuilt;
	int dir = argc == 2 && chdir(argv[1]) == 0 ? open(".", O_RDONLY | O_DIRECTORY) : -1;
	int r = dir >= 0 ? store_open(&store, dir, &options, &rebuilt, &err) : E_NOTFOUND;

	if (r == 0) {
		r = look(store, dir, &err);
		store_close(&store);
	}
	if (r != 0)
		fprintf(stderr, "numbers: %s: %s\n", argc == 2 ? argv[1] : "usage: numbers DIRECTORY", err.text);
	return r != 0;
}
