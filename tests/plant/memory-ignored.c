/* plant: imap-session; wraps: session_fail */
/* What could not be done for want of memory is told as done (D3, D6). */
#include "imapd/session.h"

void __real_session_fail(struct session *s, int code, const struct err *err);
void __wrap_session_fail(struct session *s, int code, const struct err *err);

void __wrap_session_fail(struct session *s, int code, const struct err *err)
{
	if (code == E_NOMEM)
		session_ok(s, "Done");
	else
		__real_session_fail(s, code, err);
}
