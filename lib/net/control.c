#include "net/control.h"

#include "base/log.h"
#include "net/ipc_conn.h"
#include "net/listener.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

struct control_server {
	struct event_base *base;
	struct listener *listener;
	control_handler *handler;
	void *arg;
};

/* One connection, which carries one request; it lives until both the command and the answer are done. */
struct control_reply {
	struct control_server *server;
	struct ipc_conn *conn; /* NULL when the command has gone */
	struct buf input;
	uint32_t id;
	uid_t uid;
	enum { HEARING, ASKED, ANSWERED } state;
	int lost; /* why a part of the answer could not be sent; 0: none */
	void (*more)(void *arg); /* waits for the command to read */
	void *more_arg;
};

static void reply_free(struct control_reply *reply)
{
	ipc_conn_free(&reply->conn);
	buf_fini(&reply->input);
	free(reply);
}

/* A command that has gone wants no more. */
static void send_part(struct control_reply *reply, const struct ipc_type *type, const void *body)
{
	int r = reply->conn != NULL && reply->lost == 0 ? ipc_conn_send(reply->conn, type, reply->id, body, -1) : 0;

	if (r != 0 && r != E_CLOSED)
		reply->lost = r;
}

bool control_reply_is_to_root(const struct control_reply *reply)
{
	return reply->uid == 0 || reply->uid == geteuid();
}

void control_reply_row(struct control_reply *reply, struct span json)
{
	struct control_row row = {.json = json};

	send_part(reply, &ipc_control_row, &row);
}

void control_reply_text(struct control_reply *reply, struct span text)
{
	while (text.len > 0 && reply->conn != NULL) {
		struct control_text piece = {.text = span_sub(text, 0, CONTROL_PIECE)};

		send_part(reply, &ipc_control_text, &piece);
		text = span_from(text, CONTROL_PIECE);
	}
}

static void call_more(struct control_reply *reply)
{
	void (*more)(void *arg) = reply->more;

	reply->more = NULL;
	if (more != NULL)
		more(reply->more_arg);
}

static void on_drained(void *arg, struct ipc_conn *conn)
{
	(void)conn;
	call_more(arg);
}

bool control_reply_has_room(struct control_reply *reply, void (*more)(void *arg), void *arg)
{
	if (reply->conn == NULL || ipc_conn_waiting(reply->conn) < CONTROL_PART)
		return true;
	reply->more = more;
	reply->more_arg = arg;
	return false;
}

bool control_reply_is_gone(const struct control_reply *reply)
{
	return reply->conn == NULL;
}

/* Of the machine, not of what was asked. */
static bool is_failure(unsigned exit)
{
	return exit == EX_OSERR || exit == EX_IOERR || exit == EX_TEMPFAIL;
}

void control_reply_done(struct control_reply *reply, unsigned exit, const char *fmt, ...)
{
	struct control_done done;
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (reply->lost != 0 && exit == EX_OK) {
		snprintf(text, sizeof(text), "the answer is not all here: %s", err_text(reply->lost));
		exit = EX_TEMPFAIL;
	}
	done = (struct control_done){.exit = exit, .text = span_str(text)};
	reply->more = NULL;
	if (is_failure(exit))
		log_event(EV_control_failed, NULL, F_STR("error", text));
	if (reply->conn == NULL) {
		reply_free(reply);
		return;
	}
	/* The command reads the answer and goes; its end of the connection frees the reply. */
	reply->state = ANSWERED;
	if (ipc_conn_send(reply->conn, &ipc_control_done, reply->id, &done, -1) != 0)
		reply_free(reply);
}

static size_t split_args(struct span wire, struct span *args)
{
	size_t count = 0;

	while (wire.len > 0 && count < CONTROL_ARGS_MAX) {
		size_t end = span_find(wire, '\0');

		args[count++] = span_sub(wire, 0, end);
		wire = span_from(wire, end + 1);
	}
	return count;
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct control_reply *reply = arg;
	struct span args[CONTROL_ARGS_MAX];
	const struct control_request *request;

	(void)conn;
	if (reply->state != HEARING)
		return E_PROTO;
	if (m->type == &ipc_control_input) {
		buf_add_span(&reply->input, ((const struct control_input *)(const void *)m->body)->text);
		return buf_failed(&reply->input) && !reply->input.starved ? E_TOOBIG : 0;
	}
	request = (const void *)m->body;
	reply->state = ASKED;
	reply->id = m->id;
	if (reply->input.starved) {
		control_reply_done(reply, EX_TEMPFAIL, "%s", err_text(E_NOMEM));
		return 0;
	}
	reply->server->handler(reply->server->arg, reply, args, split_args(request->args, args),
	    buf_span(&reply->input), request->secret);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct control_reply *reply = arg;

	(void)conn;
	reply->conn = NULL;
	if (reply->state != ASKED)
		reply_free(reply); /* else control_reply_done does it */
	else
		call_more(reply);
}

static const struct ipc_conn_callbacks control_callbacks = {on_message, on_closed};

static void on_accept(void *arg, int fd, const struct sockaddr_storage *address, const char *peer)
{
	struct control_server *server = arg;
	struct control_reply *reply;
	pid_t pid;
	uid_t uid;
	gid_t gid;

	(void)address;
	(void)peer;
	if (ipc_peer(fd, &pid, &uid, &gid) != 0) {
		close(fd);
		return;
	}
	reply = calloc(1, sizeof(*reply));
	if (reply == NULL) {
		log_event(EV_control_failed, NULL, F_STR("error", err_text(E_NOMEM)));
		close(fd);
		return;
	}
	reply->server = server;
	reply->uid = uid;
	buf_init(&reply->input, CONTROL_INPUT_MAX);
	reply->conn = ipc_conn_new(server->base, fd, &ipc_service_control, TO_SERVICE, &control_callbacks, reply);
	if (reply->conn == NULL) {
		log_event(EV_control_failed, NULL, F_STR("error", err_text(E_NOMEM)));
		free(reply);
		return;
	}
	ipc_conn_wait_max(reply->conn, CONTROL_ANSWER_MAX);
	ipc_conn_on_drained(reply->conn, on_drained);
	log_event(EV_control_request, NULL, F_U64("uid", uid), F_I64("pid", pid));
}

struct control_server *control_server_new_on(struct event_base *base, int fd, control_handler *handler, void *arg)
{
	struct control_server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	server->base = base;
	server->handler = handler;
	server->arg = arg;
	server->listener = listener_new(base, fd, on_accept, server);
	if (server->listener == NULL)
		control_server_free(&server);
	return server;
}

void control_server_free(struct control_server **server)
{
	if (*server == NULL)
		return;
	listener_free(&(*server)->listener);
	free(*server);
	*server = NULL;
}
