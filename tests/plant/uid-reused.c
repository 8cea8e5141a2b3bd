/* plant: imap-session; wraps: store_expunge */
/* UIDNEXT falls back to behind the last message that is left (D4; RFC 3501 section 2.3.1.1). */
#include "store/private.h"

int __real_store_expunge(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, struct err *err);
int __wrap_store_expunge(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, struct err *err);

static int note_last(void *arg, const struct store_message *messages, size_t count)
{
	*(uint32_t *)arg = messages[count - 1].uid;
	return 0;
}

int __wrap_store_expunge(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, struct err *err)
{
	struct store_mailbox box;
	uint32_t last = 0;
	int r = __real_store_expunge(txn, mailbox, uids, count, err);

	if (r == 0)
		r = store_message_each(txn, mailbox, note_last, &last, err);
	if (r == 0)
		r = mailbox_get(txn, mailbox, &box, err);
	if (r != 0)
		return r;
	box.uidnext = last + 1;
	return mailbox_put(txn, &box, err);
}
