/* A session's bytes: in through a bounded buffer, out in large pieces. */
#include "imapd/session.h"

#include "base/clock.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

enum { SESSION_READ = 16 * 1024 };

/* One message, if there is any: of a change, or the spawner wants an end. Not to be called once s->end_ms is known. */
static int take_wake(struct session *s)
{
	static _Alignas(16) char buffer[IPC_MESSAGE_MAX];
	struct ipc_message m;
	struct err err;
	int r = ipc_receive(s->wake, &ipc_service_wake, TO_CLIENT, buffer, &m, &err);

	if (r == 0 && m.type != &ipc_wake_kick) {
		s->changed = true;
	} else if (r != E_AGAIN) {
		s->kicked = r == 0;
		s->end_ms = clock_monotonic_ms() + SESSION_END_MS;
	}
	return r;
}

bool session_ends(struct session *s)
{
	while (s->end_ms == 0 && take_wake(s) == 0)
		;
	return s->end_ms != 0;
}

static int read_some(struct session *s)
{
	char *room = buf_reserve(&s->in, SESSION_READ);
	ssize_t n;

	if (room == NULL)
		return E_TOOBIG;
	n = recv(s->fd, room, SESSION_READ, MSG_DONTWAIT);
	if (n > 0)
		buf_added(&s->in, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		return E_CLOSED;
	return n > 0 ? 0 : E_AGAIN;
}

int session_fill(struct session *s, int64_t ms, bool watch)
{
	int64_t deadline = clock_monotonic_ms() + ms;

	for (;;) {
		struct pollfd p[2] = {{.fd = s->fd, .events = POLLIN}, {.fd = s->wake, .events = POLLIN}};
		int64_t left = deadline - clock_monotonic_ms();
		int r;

		if (s->end_ms != 0)
			return E_UNAVAILABLE;
		if (watch && s->changed)
			return E_AGAIN;
		if (left <= 0)
			return E_TIMEOUT;
		if (poll(p, 2, (int)left) < 0 && errno != EINTR)
			return E_IO;
		if (p[1].revents != 0) {
			take_wake(s);
		} else if (p[0].revents != 0) {
			r = read_some(s);
			if (r != E_AGAIN)
				return r;
		}
	}
}

bool session_goes_on(struct session *s)
{
	struct pollfd p[2] = {{.fd = s->fd, .events = POLLRDHUP}, {.fd = s->wake, .events = POLLIN}};

	char next;

	if (poll(p, 2, 0) <= 0)
		return true;
	/* Who says no more has not gone while what he said is not read. */
	if (p[0].revents != 0 && recv(s->fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) <= 0 && buf_len(&s->in) == s->command_len)
		s->broken = E_CLOSED;
	else if (p[1].revents != 0 && session_ends(s))
		session_bye_wanted(s);
	return s->broken == 0 && !s->closing;
}

/* One try; true when everything is out. */
static bool send_some(struct session *s)
{
	while (buf_len(&s->out) > 0 && s->broken == 0) {
		struct span rest = buf_span(&s->out);
		ssize_t n = send(s->fd, rest.ptr, rest.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0)
			buf_take(&s->out, (size_t)n);
		else if (n < 0 && errno == EAGAIN)
			return false;
		else if (n < 0 && errno != EINTR)
			s->broken = E_CLOSED;
	}
	if (s->broken != 0)
		buf_clear(&s->out);
	return true;
}

/* Any progress gives the client another SESSION_WRITE_MS; but of a session that is to end, none gives it more than is left. */
static void wait_for_room(struct session *s)
{
	bool ends = s->end_ms != 0;
	int64_t ms = ends ? s->end_ms - clock_monotonic_ms() : SESSION_WRITE_MS;
	struct pollfd p[2] = {{.fd = s->fd, .events = POLLOUT}, {.fd = ends ? -1 : s->wake, .events = POLLIN}};

	if (ms <= 0 || poll(p, 2, (int)ms) == 0)
		s->broken = E_TIMEOUT;
	else if (p[1].revents != 0)
		take_wake(s);
}

void session_flush(struct session *s)
{
	if (buf_failed(&s->out))
		s->broken = E_TOOBIG;
	while (!send_some(s))
		wait_for_room(s);
}

bool session_would_wait(struct session *s)
{
	if (buf_failed(&s->out))
		s->broken = E_TOOBIG;
	if (buf_len(&s->out) < SESSION_OUTPUT_FLUSH)
		return false;
	session_ends(s); /* who takes everything at once is not waited for: it is seen here that it has had enough */
	return !send_some(s);
}

void session_watch(struct session *s, bool on)
{
	struct wake_watch body = {.on = on};

	s->changed = false; /* until now: who asks looks at the index next */
	/* When the channel is full the spawner has enough to tell us about already. */
	(void)ipc_send(s->wake, &ipc_wake_watch, 0, &body, -1);
}
