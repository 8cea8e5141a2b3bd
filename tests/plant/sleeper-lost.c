/* plant: imap-session; wraps: sleeper_wake */
/* One change in twenty does not wake a session that hibernates. */
#include "imapd/spawner.h"

enum { ONE_IN = 20 };

void __real_sleeper_wake(struct spawned *session);
void __wrap_sleeper_wake(struct spawned *session);

void __wrap_sleeper_wake(struct spawned *session)
{
	static unsigned n;

	if (++n % ONE_IN != 0)
		__real_sleeper_wake(session);
}
