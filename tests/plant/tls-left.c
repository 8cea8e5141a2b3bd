/* plant: imapd; wraps: tls_session_free */
/* The TLS state of a connection stays when it has ended. */
#include "tls/tls.h"

void __real_tls_session_free(struct tls_session **session);
void __wrap_tls_session_free(struct tls_session **session);

void __wrap_tls_session_free(struct tls_session **session)
{
	*session = NULL;
}
