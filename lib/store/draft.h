/* A message file being written: shared by files.c, change.c (append) and care.c (rebuild). */
#ifndef MW_STORE_DRAFT_H
#define MW_STORE_DRAFT_H

#include "store/private.h"

struct store_draft {
	struct pool *pool;
	struct store *store;
	uint64_t number, size, sum;
	uint32_t mailbox;
	int64_t arrived;
	int fd;
	bool made; /* the file is there */
	bool finished, filed;
	struct buf pending; /* not yet written */
	struct store_facts facts;
	struct err err;
	char name[STORE_FILE_NAME];
};

/* False when it took so long that it was taken for an orphan. In a write transaction: it stays as it is. */
bool draft_is_there(const struct store_draft *d);
/*
 * The index keeps facts and counts by a file's number. When another message has this one's already (two processes drew the same
 * in one millisecond, and their names differ in the rest), the file takes the next free one. In a write transaction.
 */
int draft_own_number(struct store_txn *txn, struct store_draft *draft, struct err *err);

#endif
