/* plant: imap-session deliver damage; wraps: crash_watch */
/* Who dies of a damaged index leaves no mark, and the next one dies too (D5). */
#include "store/private.h"

void __wrap_crash_watch(int dir);

void __wrap_crash_watch(int dir)
{
	(void)dir;
}
