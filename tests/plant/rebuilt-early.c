/* plant: deliver; wraps: store_open_anew unlinkat */
/* An index that is made again counts as whole before the messages are filed in it (D5). */
#include "store/private.h"

#include <string.h>
#include <unistd.h>

int __real_store_open_anew(struct store **out, int dir, struct err *err);
int __wrap_store_open_anew(struct store **out, int dir, struct err *err);
int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_unlinkat(int dir, const char *name, int flags);

int __wrap_store_open_anew(struct store **out, int dir, struct err *err)
{
	int r = __real_store_open_anew(out, dir, err);

	if (r == 0)
		__real_unlinkat(dir, STORE_REBUILDING, 0);
	return r;
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
	return strcmp(name, STORE_REBUILDING) == 0 ? 0 : __real_unlinkat(dir, name, flags);
}
