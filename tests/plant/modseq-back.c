/* plant: imap-session; wraps: store_expunge */
/* The number of an expunge is not kept: the next change of the account gets it again (D4; RFC 7162 section 3.1). */
#include "store/private.h"

int __real_store_expunge(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, struct err *err);
int __wrap_store_expunge(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, struct err *err);

int __wrap_store_expunge(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, struct err *err)
{
	uint64_t before = txn->meta.modseq;
	int r = __real_store_expunge(txn, mailbox, uids, count, err);

	txn->meta.modseq = before;
	return r;
}
