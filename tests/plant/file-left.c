/* plant: deliver imap-session; wraps: store_draft_free */
/* The file of a message that could not be filed stays. */
#include "store/store.h"

void __real_store_draft_free(struct store_draft **draft);
void __wrap_store_draft_free(struct store_draft **draft);

void __wrap_store_draft_free(struct store_draft **draft)
{
	if (*draft != NULL)
		store_draft_kept(*draft);
	__real_store_draft_free(draft);
}
