#include "net/listener.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LISTENER_BURST = 64,	/* accepted in one turn: others get theirs */
	LISTENER_FLOOD = 1024,	/* and so many when they are dealt with */
	LISTENER_FLOOD_MS = 5,	/* within this: a refusal costs little, an overflowing backlog leaves clients without an answer */
	LISTENER_PAUSE_MS = 200, /* when descriptors or memory are short */
};

struct listener {
	struct event *event;
	struct event *resume;
	listener_accepted *accepted;
	void *arg;
	int fd;
};

void listener_peer_text(const struct sockaddr_storage *address, char out[LISTENER_PEER_TEXT])
{
	const struct sockaddr_in6 *in6 = (const void *)address;
	const struct sockaddr_in *in4 = (const void *)address;

	if (address->ss_family == AF_INET)
		inet_ntop(AF_INET, &in4->sin_addr, out, LISTENER_PEER_TEXT);
	else if (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out, LISTENER_PEER_TEXT);
	else if (address->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &in6->sin6_addr, out, LISTENER_PEER_TEXT);
	else
		snprintf(out, LISTENER_PEER_TEXT, "local");
}

static void listener_pause(struct listener *listener, int64_t ms)
{
	struct timeval tv = {.tv_usec = ms * 1000};

	event_del(listener->event);
	evtimer_add(listener->resume, &tv);
}

static void listener_on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *listener = arg;

	(void)fd;
	(void)what;
	event_add(listener->event, NULL);
}

static void listener_on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct listener *listener = arg;
	int64_t begun = clock_monotonic_ms();

	(void)what;
	for (int i = 0; i < LISTENER_BURST || (i < LISTENER_FLOOD && clock_monotonic_ms() - begun < LISTENER_FLOOD_MS); i++) {
		struct sockaddr_storage address = {0};
		socklen_t len = sizeof(address);
		char peer[LISTENER_PEER_TEXT];
		int on = 1;
		int got = accept4(fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (got < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
				listener_pause(listener, LISTENER_PAUSE_MS);
			return;
		}
		if (address.ss_family != AF_UNIX)
			setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		listener_peer_text(&address, peer);
		listener->accepted(listener->arg, got, &address, peer);
	}
	/* There are more: others have as long now, so that a flood takes half of the process and not all. */
	begun = clock_monotonic_ms() - begun;
	if (begun > 0)
		listener_pause(listener, begun < LISTENER_PAUSE_MS ? begun : LISTENER_PAUSE_MS);
}

struct listener *listener_new(struct event_base *base, int fd, listener_accepted *accepted, void *arg)
{
	struct listener *listener = calloc(1, sizeof(*listener));

	if (listener == NULL)
		return NULL;
	evutil_make_socket_nonblocking(fd);
	listener->fd = fd;
	listener->accepted = accepted;
	listener->arg = arg;
	listener->event = event_new(base, fd, EV_READ | EV_PERSIST, listener_on_ready, listener);
	listener->resume = evtimer_new(base, listener_on_resume, listener);
	if (listener->event == NULL || listener->resume == NULL || event_add(listener->event, NULL) != 0)
		listener_free(&listener);
	return listener;
}

void listener_free(struct listener **listenerp)
{
	struct listener *listener = *listenerp;

	if (listener == NULL)
		return;
	*listenerp = NULL;
	if (listener->event != NULL)
		event_free(listener->event);
	if (listener->resume != NULL)
		event_free(listener->resume);
	free(listener);
}
