/* plant: deliver; wraps: store_append store_commit ppoll */
/* The worker answers first and commits then, while queue can already be at the next delivery (D2). */
#include "store/store.h"

#include <poll.h>
#include <signal.h>

int __real_store_append(struct store_txn *txn, struct store_draft *draft, uint32_t mailbox, uint32_t flags, const struct span *keywords,
    size_t keyword_count, const unsigned char *key, struct store_message *out, struct err *err);
int __wrap_store_append(struct store_txn *txn, struct store_draft *draft, uint32_t mailbox, uint32_t flags, const struct span *keywords,
    size_t keyword_count, const unsigned char *key, struct store_message *out, struct err *err);
int __real_store_commit(struct store_txn **txn, struct err *err);
int __wrap_store_commit(struct store_txn **txn, struct err *err);
int __real_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *limit, const sigset_t *mask);
int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *limit, const sigset_t *mask);

static bool is_delivery;
static struct store_txn *put_off;

int __wrap_store_append(struct store_txn *txn, struct store_draft *draft, uint32_t mailbox, uint32_t flags, const struct span *keywords,
    size_t keyword_count, const unsigned char *key, struct store_message *out, struct err *err)
{
	is_delivery = key != NULL;
	return __real_store_append(txn, draft, mailbox, flags, keywords, keyword_count, key, out, err);
}

int __wrap_store_commit(struct store_txn **txn, struct err *err)
{
	if (!is_delivery)
		return __real_store_commit(txn, err);
	is_delivery = false;
	put_off = *txn;
	*txn = NULL;
	return 0;
}

/* What the worker does when it has answered everything. */
int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *limit, const sigset_t *mask)
{
	struct err err;

	if (put_off != NULL)
		__real_store_commit(&put_off, &err);
	return __real_ppoll(fds, count, limit, mask);
}
