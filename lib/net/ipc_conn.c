#include "net/ipc_conn.h"

#include "base/log.h"

#include <event2/event.h>
#include <sys/socket.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	IPC_CONN_BURST = 256,		 /* messages taken in one turn */
	IPC_CONN_WAIT_MAX = 4 << 20,	 /* bytes waiting for a full socket */
};

/* A message that waits; wire follows the structure. */
struct ipc_waiting {
	struct ipc_waiting *next;
	size_t len;
	int pass;
	char wire[];
};

struct ipc_conn {
	struct event *read_event;
	struct event *write_event;
	const struct ipc_service *service;
	enum ipc_direction direction;
	const struct ipc_conn_callbacks *callbacks;
	void *arg;
	int fd;
	bool busy;  /* inside callbacks->message */
	bool freed; /* freed while busy */
	struct ipc_waiting *head;
	struct ipc_waiting **tail;
	size_t waiting;
	size_t wait_max; /* bytes */
	size_t pause_above; /* bytes */
	bool paused; /* nothing is read */
	int burst;
	void (*drained)(void *arg, struct ipc_conn *conn);
};

/*
 * What is sent is encoded here, for all connections, of which a spawner has thousands: it is gone or copied before the next one
 * comes. Kept, so that a message costs no allocation.
 */
static struct buf *shared_wire(void)
{
	static struct buf wire = {.max = IPC_MESSAGE_MAX};

	return &wire;
}

static void ipc_conn_on_read(evutil_socket_t fd, short what, void *arg);
static void ipc_conn_on_write(evutil_socket_t fd, short what, void *arg);

struct ipc_conn *ipc_conn_new(struct event_base *base, int fd, const struct ipc_service *service,
    enum ipc_direction direction, const struct ipc_conn_callbacks *callbacks, void *arg)
{
	struct ipc_conn *conn = calloc(1, sizeof(*conn));
	bool reserved;

	if (conn == NULL) {
		close(fd);
		return NULL;
	}
	evutil_make_socket_nonblocking(fd);
	conn->fd = fd;
	conn->service = service;
	conn->direction = direction;
	conn->callbacks = callbacks;
	conn->arg = arg;
	conn->tail = &conn->head;
	conn->wait_max = IPC_CONN_WAIT_MAX;
	conn->pause_above = SIZE_MAX;
	conn->burst = IPC_CONN_BURST;
	/* At once, that no answer is lost for want of memory: the asker would wait for it for ever. */
	buf_clear(shared_wire());
	reserved = buf_reserve(shared_wire(), IPC_MESSAGE_MAX) != NULL;
	conn->read_event = event_new(base, fd, EV_READ | EV_PERSIST, ipc_conn_on_read, conn);
	conn->write_event = event_new(base, fd, EV_WRITE, ipc_conn_on_write, conn);
	if (!reserved || conn->read_event == NULL || conn->write_event == NULL ||
	    event_add(conn->read_event, NULL) != 0)
		ipc_conn_free(&conn);
	return conn;
}

static void ipc_waiting_drop(struct ipc_conn *conn)
{
	struct ipc_waiting *first = conn->head;

	conn->head = first->next;
	if (conn->head == NULL)
		conn->tail = &conn->head;
	conn->waiting -= first->len;
	if (first->pass >= 0)
		close(first->pass);
	explicit_bzero(first->wire, first->len);
	free(first);
}

void ipc_conn_free(struct ipc_conn **connp)
{
	struct ipc_conn *conn = *connp;

	if (conn == NULL)
		return;
	*connp = NULL;
	if (conn->busy) {
		conn->freed = true;
		return;
	}
	if (conn->read_event != NULL)
		event_free(conn->read_event);
	if (conn->write_event != NULL)
		event_free(conn->write_event);
	while (conn->head != NULL)
		ipc_waiting_drop(conn);
	close(conn->fd);
	free(conn);
}

void ipc_conn_lose(struct ipc_conn **connp)
{
	struct ipc_conn *conn = *connp;

	if (conn == NULL)
		return;
	*connp = NULL;
	conn->callbacks->closed(conn->arg, conn);
	ipc_conn_free(&conn);
}

static void ipc_conn_end(struct ipc_conn *conn, int code, const struct err *why)
{
	if (code != E_CLOSED)
		log_event(EV_ipc_bad_message, NULL, F_STR("service", conn->service->name), F_ERR(why));
	conn->callbacks->closed(conn->arg, conn);
	ipc_conn_free(&conn);
}

/* One message. 0; E_AGAIN when there is none; other: the connection is over (or was freed: E_CANNOT). */
static int ipc_conn_take(struct ipc_conn *conn, struct err *err)
{
	/* One for all connections, of which a spawner has thousands: a callback does not take from another one. */
	static struct {
		_Alignas(16) char buffer[IPC_MESSAGE_MAX];
		bool taken;
	} received;
	struct ipc_message message;
	int r;

	invariant(!received.taken);
	r = ipc_receive(conn->fd, conn->service, conn->direction, received.buffer, &message, err);
	if (r == E_PROTO)
		explicit_bzero(received.buffer, sizeof(received.buffer));
	if (r != 0)
		return r;
	if (message.fd_lost)
		log_event(EV_ipc_descriptor_lost, NULL, F_STR("service", conn->service->name), F_STR("message", message.type->name));
	conn->busy = received.taken = true;
	r = conn->callbacks->message(conn->arg, conn, &message);
	conn->busy = received.taken = false;
	/* Passwords come this way, and a spawner's children, who inherit its memory, serve others. */
	explicit_bzero(received.buffer, message.size);
	if (conn->freed) {
		ipc_conn_free(&conn);
		return E_CANNOT;
	}
	if (r != 0)
		return err_set(err, E_PROTO, "%s: not allowed here or not valid", message.type->name);
	return 0;
}

/* One message, unless too much waits to be sent. */
static int ipc_conn_take_next(struct ipc_conn *conn, struct err *err)
{
	if (conn->waiting <= conn->pause_above)
		return ipc_conn_take(conn, err);
	event_del(conn->read_event);
	conn->paused = true;
	return E_AGAIN;
}

static void ipc_conn_go_on(struct ipc_conn *conn)
{
	if (!conn->paused)
		return;
	conn->paused = false;
	event_add(conn->read_event, NULL);
}

/* The reader sees the end of the connection and tells its owner. */
static void ipc_conn_break(struct ipc_conn *conn)
{
	shutdown(conn->fd, SHUT_RDWR);
	conn->pause_above = SIZE_MAX;
	ipc_conn_go_on(conn);
}

static void ipc_conn_on_read(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_conn *conn = arg;
	struct err err = {0};
	int r = 0;

	(void)fd;
	(void)what;
	for (int i = 0, most = conn->burst; i < most && r == 0; i++)
		r = ipc_conn_take_next(conn, &err);
	if (r != 0 && r != E_AGAIN && r != E_CANNOT)
		ipc_conn_end(conn, r, &err);
}

void ipc_conn_take_rest(struct ipc_conn *conn)
{
	struct err err;

	for (int i = 0; i < IPC_CONN_BURST && ipc_conn_take(conn, &err) == 0; i++)
		;
}

static void ipc_conn_on_write(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_conn *conn = arg;

	(void)fd;
	(void)what;
	while (conn->head != NULL) {
		struct ipc_waiting *first = conn->head;
		int r = ipc_send_wire(conn->fd, span_of(first->wire, first->len), first->pass);

		if (r == E_AGAIN || r == E_NOMEM) {
			event_add(conn->write_event, NULL);
			return;
		}
		if (r != 0) {
			ipc_conn_break(conn);
			return;
		}
		ipc_waiting_drop(conn);
		if (conn->waiting <= conn->pause_above)
			ipc_conn_go_on(conn);
	}
	if (conn->drained != NULL)
		conn->drained(conn->arg, conn);
}

static int ipc_conn_wait(struct ipc_conn *conn, struct span text, int pass)
{
	struct ipc_waiting *one;

	if (conn->waiting + text.len > conn->wait_max)
		return E_LIMIT;
	one = malloc(sizeof(*one) + text.len);
	if (one == NULL)
		return E_NOMEM;
	one->next = NULL;
	one->len = text.len;
	one->pass = pass >= 0 ? fcntl(pass, F_DUPFD_CLOEXEC, 0) : -1;
	if (pass >= 0 && one->pass < 0) {
		free(one);
		return E_NOFILES;
	}
	memcpy(one->wire, text.ptr, text.len);
	*conn->tail = one;
	conn->tail = &one->next;
	conn->waiting += text.len;
	event_add(conn->write_event, NULL);
	return 0;
}

static int ipc_conn_send_wire(struct ipc_conn *conn, struct span wire, int pass)
{
	if (conn->head == NULL) {
		int r = ipc_send_wire(conn->fd, wire, pass);

		if (r != E_AGAIN && r != E_NOMEM)
			return r;
	}
	return ipc_conn_wait(conn, wire, pass);
}

int ipc_conn_send(struct ipc_conn *conn, const struct ipc_type *type, uint32_t id, const void *body,
    int pass)
{
	struct buf *wire = shared_wire();
	size_t len;
	int r;

	buf_clear(wire);
	r = ipc_encode(type, id, body, wire);
	if (r == 0)
		r = ipc_conn_send_wire(conn, buf_span(wire), pass);
	/* A spawner's children, who inherit its memory, serve others. */
	len = buf_len(wire);
	buf_clear(wire);
	explicit_bzero(buf_reserve(wire, len), len);
	return r;
}

int ipc_conn_answer(struct ipc_conn *conn, const struct ipc_type *type, uint32_t id, const void *body, int pass)
{
	int r = ipc_conn_send(conn, type, id, body, pass);

	if (r != 0)
		ipc_conn_break(conn);
	return r;
}

void ipc_conn_burst(struct ipc_conn *conn, int messages)
{
	conn->burst = messages;
}

void ipc_conn_wait_max(struct ipc_conn *conn, size_t max)
{
	conn->wait_max = max;
}

void ipc_conn_pause_above(struct ipc_conn *conn, size_t waiting)
{
	conn->pause_above = waiting;
}

void ipc_conn_on_drained(struct ipc_conn *conn, void (*drained)(void *arg, struct ipc_conn *conn))
{
	conn->drained = drained;
}

size_t ipc_conn_waiting(const struct ipc_conn *conn)
{
	return conn->waiting;
}
