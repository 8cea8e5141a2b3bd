#include "net/conn.h"

#include "base/buf.h"
#include "base/clock.h"
#include "tls/client.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CONN_READ = 16 * 1024, /* asked for at once: one TLS record */
	CONN_FINISH_MS = 5000,
	CONN_LINGER_MAX = 64 * 1024 * 1024, /* bytes dropped so that the last reply is not lost in a reset */
};

struct conn {
	struct event_base *base;
	struct event *read_event;
	struct event *write_event;
	struct event *timer;
	const struct conn_callbacks *callbacks;
	void *arg;
	struct tls_session *tls;
	struct buf in;
	struct buf out;
	int64_t deadline; /* monotonic ms; 0: none */
	int fd;
	unsigned busy;	  /* depth of running callbacks: freed when it is back at 0 */
	bool freed;	  /* conn_free was called inside a callback */
	bool paused;
	bool keeps_reading; /* however much waits to be written */
	bool handshaking;
	size_t plain;	  /* octets of out that go before the handshake begins */
	bool signing;	  /* the handshake waits for a signature: nothing is read meanwhile */
	bool finishing;
	bool lingering;	  /* all is said; what still comes is dropped */
	size_t dropped;	  /* bytes, while lingering */
	bool resumed;	  /* conn_resume asked for another input call */
	bool dead;	  /* closed was called or is about to be */
	bool unwatched;	  /* an event could not be waited for */
	char peer[CONN_PEER_TEXT];
};

static void conn_on_read(evutil_socket_t fd, short what, void *arg);
static void conn_on_write(evutil_socket_t fd, short what, void *arg);
static void conn_on_timer(evutil_socket_t fd, short what, void *arg);

static void conn_destroy(struct conn *conn)
{
	if (conn->read_event != NULL)
		event_free(conn->read_event);
	if (conn->write_event != NULL)
		event_free(conn->write_event);
	if (conn->timer != NULL)
		event_free(conn->timer);
	if (conn->tls != NULL) {
		tls_session_shutdown(conn->tls);
		tls_session_free(&conn->tls);
	}
	if (conn->fd >= 0)
		close(conn->fd);
	buf_fini_secret(&conn->in);
	buf_fini(&conn->out);
	free(conn);
}

static void conn_enter(struct conn *conn)
{
	conn->busy++;
}

/* False when the conn is gone. */
static bool conn_leave(struct conn *conn)
{
	conn->busy--;
	if (conn->freed && conn->busy == 0) {
		conn_destroy(conn);
		return false;
	}
	return !conn->freed;
}

struct conn *conn_new(struct event_base *base, int fd, const char *peer,
    const struct conn_callbacks *callbacks, void *arg)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL) {
		close(fd);
		return NULL;
	}
	evutil_make_socket_nonblocking(fd);
	conn->base = base;
	conn->fd = fd;
	conn->callbacks = callbacks;
	conn->arg = arg;
	snprintf(conn->peer, sizeof(conn->peer), "%s", peer);
	buf_init(&conn->in, CONN_INPUT_MAX);
	buf_init(&conn->out, CONN_OUTPUT_MAX);
	conn->read_event = event_new(base, fd, EV_READ | EV_PERSIST, conn_on_read, conn);
	conn->write_event = event_new(base, fd, EV_WRITE, conn_on_write, conn);
	conn->timer = evtimer_new(base, conn_on_timer, conn);
	if (conn->read_event == NULL || conn->write_event == NULL || conn->timer == NULL ||
	    event_add(conn->read_event, NULL) != 0) {
		conn_destroy(conn);
		return NULL;
	}
	return conn;
}

void conn_free(struct conn **connp)
{
	struct conn *conn = *connp;

	if (conn == NULL)
		return;
	*connp = NULL;
	if (conn->busy > 0) {
		conn->freed = true;
		event_del(conn->read_event);
		return;
	}
	conn_destroy(conn);
}

static void conn_fail(struct conn *conn, const struct err *why)
{
	if (conn->dead || conn->freed)
		return;
	conn->dead = true;
	event_del(conn->read_event);
	conn->callbacks->closed(conn->arg, conn, why);
}

/* Nothing would ever come of a connection that is not watched: it ends, in a turn of its own. */
static void conn_watch(struct conn *conn, struct event *event)
{
	if (event_add(event, NULL) == 0)
		return;
	conn->unwatched = true;
	event_active(conn->timer, EV_TIMEOUT, 0);
}

/* Reading goes on only while there is room for what comes and the client takes what goes. */
static void conn_update_read(struct conn *conn)
{
	bool want = conn->lingering || (!conn->paused && !conn->signing && conn->plain == 0 && !conn->finishing && !conn->dead &&
		    buf_len(&conn->in) < CONN_INPUT_MAX &&
		    (conn->keeps_reading || buf_len(&conn->out) <= CONN_OUTPUT_HIGH));

	if (!want) {
		event_del(conn->read_event);
		return;
	}
	conn_watch(conn, conn->read_event);
	/* The rest of a record that found no room has left the socket: no event will tell of it. */
	if (conn->tls != NULL && !conn->handshaking && !conn->lingering && tls_session_pending(conn->tls))
		event_active(conn->read_event, EV_READ, 0);
}

static void conn_call_input(struct conn *conn)
{
	do {
		conn->resumed = false;
		conn->callbacks->input(conn->arg, conn);
	} while (conn->resumed && !conn->freed && !conn->dead && !conn->finishing &&
		 buf_len(&conn->in) > 0);
	if (!conn->freed && buf_len(&conn->in) == 0)
		buf_fini_secret(&conn->in); /* an idle connection holds no buffer; what was in it may have been a password */
}

/* Bytes read; E_AGAIN, E_CLOSED, E_PROTO. */
static ssize_t conn_read_some(struct conn *conn, struct err *err)
{
	size_t room = CONN_INPUT_MAX - buf_len(&conn->in);
	enum tls_want want;
	ssize_t n;
	char *at;

	if (room > CONN_READ)
		room = CONN_READ;
	at = buf_reserve(&conn->in, room);
	if (at == NULL)
		return err_set(err, E_NOMEM, "no memory for input");
	if (conn->tls != NULL) {
		n = tls_session_read(conn->tls, at, room, &want, err);
	} else {
		n = recv(conn->fd, at, room, MSG_DONTWAIT);
		if (n == 0)
			n = err_set(err, E_CLOSED, "closed by the other side");
		else if (n < 0)
			n = err_set_errno(err, errno, "read");
	}
	if (n > 0)
		buf_added(&conn->in, (size_t)n);
	return n;
}

/* The answer to STARTTLS goes out before the handshake's first octet, whole. False: not yet, or never. */
static bool conn_send_plain(struct conn *conn)
{
	struct err err = {0};
	ssize_t n = conn->plain > 0 ? send(conn->fd, buf_span(&conn->out).ptr, conn->plain, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (n < 0 && err_set_errno(&err, errno, "write") != E_AGAIN) {
		conn_fail(conn, &err);
		return false;
	}
	if (n > 0) {
		conn->plain -= (size_t)n;
		buf_take(&conn->out, (size_t)n);
	}
	if (conn->plain > 0) {
		conn_update_read(conn);
		conn_watch(conn, conn->write_event);
		return false;
	}
	if (buf_len(&conn->out) == 0)
		buf_fini(&conn->out);
	return true;
}

static void conn_handshake(struct conn *conn)
{
	enum tls_want want = TLS_WANT_READ;
	struct err err = {0};
	int r;

	if (!conn_send_plain(conn))
		return;
	r = tls_session_handshake(conn->tls, &want, &err);
	conn->signing = r == E_AGAIN && want == TLS_WANT_SIGNATURE;
	conn_update_read(conn);
	if (r == E_AGAIN) {
		if (want == TLS_WANT_WRITE)
			conn_watch(conn, conn->write_event);
		return;
	}
	conn->handshaking = false;
	conn->callbacks->tls(conn->arg, conn, r, &err);
	if (r != 0 && !conn->freed)
		conn_fail(conn, &err);
}

/* The signature is there, or there will be none: the handshake goes on in a turn of its own. */
static void conn_on_signed(void *arg)
{
	struct conn *conn = arg;

	conn->signing = false;
	if (conn->dead || conn->freed)
		return;
	conn_update_read(conn);
	event_active(conn->read_event, EV_READ, 0);
}

/* A close with unread input resets the connection, and the client never sees why. */
static void conn_drop_input(struct conn *conn)
{
	static char scratch[CONN_READ];
	struct err none = {0};
	ssize_t n;

	while (conn->dropped < CONN_LINGER_MAX) {
		n = recv(conn->fd, scratch, sizeof(scratch), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		conn->dropped += (size_t)n;
	}
	conn_fail(conn, &none);
}

static bool conn_begin_linger(struct conn *conn)
{
	char byte;

	if (conn->lingering || (buf_len(&conn->in) == 0 && recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0))
		return false;
	if (conn->tls != NULL)
		tls_session_shutdown(conn->tls);
	shutdown(conn->fd, SHUT_WR);
	conn->lingering = true;
	return true;
}

static void conn_on_read(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	struct err err = {0};
	ssize_t n = 0;

	(void)fd;
	(void)what;
	conn_enter(conn);
	if (conn->lingering) {
		conn_drop_input(conn);
		conn_leave(conn);
		return;
	}
	if (conn->handshaking && !conn->finishing)
		conn_handshake(conn);
	while (!conn->freed && !conn->dead && !conn->handshaking && !conn->paused &&
	       !conn->finishing && buf_len(&conn->in) < CONN_INPUT_MAX) {
		struct tls_session *before = conn->tls;

		n = conn_read_some(conn, &err);
		if (n < 0)
			break;
		conn_call_input(conn);
		if (conn->freed || conn->tls == NULL || conn->tls != before ||
		    !tls_session_pending(conn->tls))
			break;
	}
	if (!conn->freed && n < 0 && n != E_AGAIN)
		conn_fail(conn, &err);
	if (conn_leave(conn))
		conn_flush(conn);
}

static ssize_t conn_write_some(struct conn *conn, struct err *err)
{
	struct span out = buf_span(&conn->out);
	enum tls_want want;
	ssize_t n;

	if (conn->tls != NULL)
		return tls_session_write(conn->tls, out.ptr, out.len, &want, err);
	n = send(conn->fd, out.ptr, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? err_set_errno(err, errno, "write") : n;
}

static void conn_written(struct conn *conn)
{
	buf_fini(&conn->out);
	if (conn->finishing) {
		struct err none = {0};

		if (!conn_begin_linger(conn))
			conn_fail(conn, &none);
		return;
	}
	if (conn->callbacks->drained != NULL)
		conn->callbacks->drained(conn->arg, conn);
}

void conn_flush(struct conn *conn)
{
	struct err err = {0};
	ssize_t n = 0;

	if (conn->busy > 0 && !conn->freed && !conn->dead)
		return; /* conn_leave's caller flushes */
	if (conn->dead || conn->freed || conn->handshaking)
		return;
	conn_enter(conn);
	if (buf_failed(&conn->out)) {
		if (conn->out.starved)
			err_set(&err, E_NOMEM, "no memory for output");
		else
			err_set(&err, E_LIMIT, "the other side does not read");
		conn_fail(conn, &err);
	}
	while (!conn->dead && buf_len(&conn->out) > 0 && (n = conn_write_some(conn, &err)) > 0)
		buf_take(&conn->out, (size_t)n);
	if (!conn->dead && n < 0 && n != E_AGAIN)
		conn_fail(conn, &err);
	else if (!conn->dead && buf_len(&conn->out) > 0)
		conn_watch(conn, conn->write_event);
	else if (!conn->dead && (n > 0 || conn->finishing))
		conn_written(conn);
	/* What drained() has added goes in a turn of its own. */
	if (!conn->dead && !conn->freed && buf_len(&conn->out) > 0)
		conn_watch(conn, conn->write_event);
	if (conn_leave(conn))
		conn_update_read(conn);
}

static void conn_on_write(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;

	(void)fd;
	(void)what;
	if (conn->handshaking && !conn->finishing) {
		conn_enter(conn);
		conn_handshake(conn);
		if (!conn_leave(conn))
			return;
	}
	conn_flush(conn);
	/* conn may be gone here: conn_flush was the last to touch it. */
}

static void conn_arm_timer(struct conn *conn, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	evtimer_add(conn->timer, &tv);
}

/* The timer is not moved at every byte: when it fires early it is set again. */
static void conn_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	int64_t left = conn->deadline - clock_monotonic_ms();
	struct err err;

	(void)fd;
	(void)what;
	if (conn->unwatched) {
		err_set(&err, E_NOMEM, "no memory to wait for it");
	} else if (conn->deadline == 0) {
		return;
	} else if (left > 0) {
		conn_arm_timer(conn, left);
		return;
	} else {
		err_set(&err, E_TIMEOUT, "no activity in time");
	}
	conn_enter(conn);
	conn_fail(conn, &err);
	conn_leave(conn);
}

struct span conn_input(const struct conn *conn)
{
	return buf_span(&conn->in);
}

void conn_consume(struct conn *conn, size_t len)
{
	buf_take(&conn->in, len);
}

void conn_resume(struct conn *conn)
{
	conn->resumed = true;
	if (conn->busy > 0 || conn->paused || conn->dead || conn->finishing)
		return; /* conn_call_input sees the flag */
	conn_enter(conn);
	if (buf_len(&conn->in) > 0)
		conn_call_input(conn);
	if (conn_leave(conn))
		conn_flush(conn);
}

struct buf *conn_output(struct conn *conn)
{
	return &conn->out;
}

size_t conn_output_len(const struct conn *conn)
{
	return buf_len(&conn->out);
}

void conn_pause(struct conn *conn, bool pause)
{
	conn->paused = pause;
	if (!conn->dead)
		conn_update_read(conn);
}

void conn_keep_reading(struct conn *conn)
{
	conn->keeps_reading = true;
}

void conn_timeout(struct conn *conn, int64_t ms)
{
	int64_t before = conn->deadline;

	conn->deadline = ms > 0 ? clock_monotonic_ms() + ms : 0;
	if (ms > 0 && (before == 0 || conn->deadline < before || !evtimer_pending(conn->timer, NULL)))
		conn_arm_timer(conn, ms);
}

int64_t conn_time_left(const struct conn *conn)
{
	return conn->deadline ? conn->deadline - clock_monotonic_ms() : INT64_MAX / 2;
}

static void conn_begin_handshake(struct conn *conn)
{
	conn->handshaking = true;
	conn->plain = buf_len(&conn->out);
	event_active(conn->write_event, EV_WRITE, 0); /* what is plain goes out; a client has the first word */
}

int conn_start_tls(struct conn *conn, struct tls_context *context)
{
	/* What came before the handshake was not protected by it: command injection. */
	buf_clear(&conn->in);
	conn->tls = tls_session_new(context, conn->fd);
	if (conn->tls == NULL)
		return E_NOMEM;
	tls_session_on_signed(conn->tls, conn_on_signed, conn);
	conn_begin_handshake(conn);
	return 0;
}

int conn_start_tls_client(struct conn *conn, struct tls_context *context, const struct tls_peer *peer, struct err *err)
{
	int r;

	buf_clear(&conn->in);
	r = tls_session_connect(context, conn->fd, peer, &conn->tls, err);
	if (r != 0)
		return r;
	conn_begin_handshake(conn);
	return 0;
}

enum tls_verdict conn_tls_verdict(const struct conn *conn, const char **why)
{
	*why = "";
	return conn->tls != NULL ? tls_session_verdict(conn->tls, why) : TLS_RIGHT;
}

struct tls_ticket *conn_tls_ticket(struct conn *conn)
{
	return conn_is_tls(conn) ? tls_session_ticket(conn->tls) : NULL;
}

bool conn_is_tls(const struct conn *conn)
{
	return conn->tls != NULL && !conn->handshaking;
}

bool conn_is_plain(const struct conn *conn)
{
	return conn->tls == NULL;
}

const char *conn_tls_version(const struct conn *conn)
{
	return conn_is_tls(conn) ? tls_session_version(conn->tls) : "";
}

const char *conn_tls_cipher(const struct conn *conn)
{
	return conn_is_tls(conn) ? tls_session_cipher(conn->tls) : "";
}

const char *conn_tls_client(const struct conn *conn)
{
	return conn_is_tls(conn) ? tls_session_client(conn->tls) : "";
}

void conn_tls_bindings(const struct conn *conn, struct tls_bindings *out)
{
	*out = (struct tls_bindings){0};
	if (conn_is_tls(conn))
		tls_session_bindings(conn->tls, out);
}

bool conn_tls_is_bound(const struct conn *conn)
{
	struct tls_bindings bindings;

	conn_tls_bindings(conn, &bindings);
	return bindings.exporter_len > 0 || bindings.unique_len > 0;
}

void conn_finish(struct conn *conn)
{
	if (conn->finishing || conn->dead)
		return;
	conn->finishing = true;
	event_del(conn->read_event);
	conn_timeout(conn, conn->handshaking ? 1 : CONN_FINISH_MS); /* in mid-handshake nothing can be said any more */
	conn_flush(conn);
}

const char *conn_peer(const struct conn *conn)
{
	return conn->peer;
}

int conn_fd(const struct conn *conn)
{
	return conn->fd;
}
