#include "net/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct connecting {
	struct event *event;
	int fd;
	int failed; /* an errno that came at once */
	connect_done *done;
	void *arg;
};

void connect_text(const struct sockaddr_storage *address, char out[INET6_ADDRSTRLEN])
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;
	const void *binary = address->ss_family == AF_INET ? (const void *)&v4->sin_addr : &v6->sin6_addr;

	if (inet_ntop(address->ss_family, binary, out, INET6_ADDRSTRLEN) == NULL)
		out[0] = '\0';
}

void connect_port(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET)
		((struct sockaddr_in *)(void *)address)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)(void *)address)->sin6_port = htons(port);
}

static socklen_t length_of(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* The words are for the log and for whoever's mail does not get there. */
static int code_of(int number)
{
	int code = err_from_errno(number);

	if (code == E_TIMEOUT || code == E_NOFILES || code == E_NOMEM)
		return code;
	return number == EADDRNOTAVAIL ? E_IO : E_CLOSED;
}

static void finish(struct connecting *c, int number)
{
	connect_done *done = c->done;
	struct err why = {0};
	void *arg = c->arg;
	int fd = c->fd;

	event_free(c->event);
	free(c);
	if (number != 0) {
		err_set(&why, code_of(number), "%s", number == ETIMEDOUT ? "the connection could not be made in time" : strerror(number));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	done(arg, fd, &why);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct connecting *c = arg;
	int number = c->failed;
	socklen_t len = sizeof(number);

	if (number == 0 && (what & EV_TIMEOUT))
		number = ETIMEDOUT;
	else if (number == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len) != 0)
		number = errno;
	finish(c, number);
}

/* 0 or an errno; EINPROGRESS is none. */
static int begin(int fd, const struct sockaddr_storage *to, const struct sockaddr_storage *from)
{
	int on = 1;

	if (fd < 0)
		return errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (from != NULL && bind(fd, (const void *)from, length_of(from)) != 0)
		return errno;
	if (connect(fd, (const void *)to, length_of(to)) != 0 && errno != EINPROGRESS)
		return errno;
	return 0;
}

struct connecting *connect_begin(struct event_base *base, const struct sockaddr_storage *to, const struct sockaddr_storage *from,
    int64_t timeout_ms, connect_done *done, void *arg)
{
	struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	struct connecting *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->done = done;
	c->arg = arg;
	c->fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	c->failed = begin(c->fd, to, from);
	c->event = event_new(base, c->fd, c->failed != 0 ? 0 : EV_WRITE, on_event, c);
	if (c->event == NULL || event_add(c->event, c->failed != 0 ? NULL : &tv) != 0) {
		connect_cancel(&c);
		return NULL;
	}
	if (c->failed != 0)
		event_active(c->event, EV_WRITE, 0);
	return c;
}

void connect_cancel(struct connecting **connecting)
{
	struct connecting *c = *connecting;

	*connecting = NULL;
	if (c == NULL)
		return;
	if (c->event != NULL)
		event_free(c->event);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}
