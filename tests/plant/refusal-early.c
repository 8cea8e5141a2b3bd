/* plant: auth; wraps: event_add */
/* A refusal is answered as soon as it is known. */
#include <event2/event.h>

int __real_event_add(struct event *event, const struct timeval *timeout);
int __wrap_event_add(struct event *event, const struct timeval *timeout);

int __wrap_event_add(struct event *event, const struct timeval *timeout)
{
	static const struct timeval at_once;

	return __real_event_add(event, timeout != NULL && timeout->tv_sec == 0 ? &at_once : timeout);
}
