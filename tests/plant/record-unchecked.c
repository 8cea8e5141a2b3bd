/* plant: imap-session deliver damage; wraps: record_check */
/* The records that a mailbox is listed from are taken as they are (D5). */
#include "store/private.h"

bool __wrap_record_check(enum store_db db, MDB_val key, MDB_val value, struct span *out);

bool __wrap_record_check(enum store_db db, MDB_val key, MDB_val value, struct span *out)
{
	(void)db, (void)key;
	if (value.mv_size < RECORD_SUM)
		return false;
	*out = span_of(value.mv_data, value.mv_size - RECORD_SUM);
	return true;
}
