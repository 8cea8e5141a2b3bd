/* plant: imap-session; wraps: pool_reset */
/* What a command took is not all given back. */
#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

void __real_pool_reset(struct pool *pool);
void __wrap_pool_reset(struct pool *pool);

void __wrap_pool_reset(struct pool *pool)
{
	static void *volatile left;

	left = malloc(400);
	if (left != NULL)
		memset(left, 1, 400);
	__real_pool_reset(pool);
}
