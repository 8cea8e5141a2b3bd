/* plant: deliver; wraps: store_commit */
/* One batch of deliveries in four, a worker's second first, is called done though it was not filed (D2). */
#include "store/store.h"

enum { ONE_IN = 4 };

int __real_store_commit(struct store_txn **txn, struct err *err);
int __wrap_store_commit(struct store_txn **txn, struct err *err);

int __wrap_store_commit(struct store_txn **txn, struct err *err)
{
	static unsigned n;

	if (++n % ONE_IN != 2)
		return __real_store_commit(txn, err);
	store_abort(txn);
	return 0;
}
