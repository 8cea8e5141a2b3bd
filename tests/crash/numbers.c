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
	struct known known;
	struct store_txn *txn;
	uint64_t modseq; /* the highest of any message */
	size_t files, unknown;
};

static int note_messages(void *arg, const struct store_message *messages, size_t count)
{
	struct numbers *n = arg;

	for (size_t i = 0; i < count; i++)
		if (messages[i].modseq > n->modseq)
			n->modseq = messages[i].modseq;
	return 0;
}

static int note_mailbox(void *arg, const struct store_mailbox *box)
{
	struct numbers *n = arg;
	struct err err;

	return store_message_each(n->txn, box->id, note_messages, n, &err);
}

static int look_at_file(void *arg, const char *path, const struct file_name *name)
{
	struct numbers *n = arg;

	(void)path;
	n->files++;
	n->unknown += !known_has(&n->known, name->number);
	return 0;
}

static int look(struct store *store, int dir, struct err *err)
{
	struct numbers n = {0};
	int r = store_begin(store, false, &n.txn, err);

	if (r == 0)
		r = store_mailbox_each(n.txn, note_mailbox, &n);
	if (r == 0)
		r = known_all(n.txn, &n.known, err);
	if (r == 0)
		r = files_each(dir, look_at_file, &n);
	if (r == 0)
		printf("{\"modseq\": %" PRIu64 ", \"message_modseq\": %" PRIu64 ", \"uidvalidity\": %u, \"next_mailbox\": %u, \"files\": %zu, \"unknown\": %zu}\n",
		    n.txn->meta.modseq, n.modseq, n.txn->meta.last_uidvalidity, n.txn->meta.next_mailbox, n.files, n.unknown);
	store_abort(&n.txn);
	known_free(&n.known);
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
