/* plant: smtpd; wraps: peer_count_leave */
/* A connection that has ended goes on counting for its address. */
#include "net/listener.h"

void __real_peer_count_leave(struct peer_count *count, const struct sockaddr_storage *address);
void __wrap_peer_count_leave(struct peer_count *count, const struct sockaddr_storage *address);

void __wrap_peer_count_leave(struct peer_count *count, const struct sockaddr_storage *address)
{
	(void)count, (void)address;
}
