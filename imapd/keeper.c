#include "imapd/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"
#include "proc/fork.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEEPER_BUCKETS = 4096, KEEPER_CHANNEL = 3 };

struct kept {
	struct kept *next; /* in its bucket */
	struct keeper *keeper;
	struct event *event; /* the client speaks, or its time is over */
	int64_t deadline;    /* monotonic ms */
	uint32_t id;
	int fd;
	size_t len;
	char state[];
};

struct keeper {
	struct event_base *base;
	struct ipc_conn *conn;
	struct kept *buckets[KEEPER_BUCKETS];
};

static struct kept **find(struct keeper *keeper, uint32_t id)
{
	struct kept **link = &keeper->buckets[id % KEEPER_BUCKETS];

	while (*link != NULL && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

static void kept_free(struct kept **link)
{
	struct kept *kept = *link;

	*link = kept->next;
	if (kept->event != NULL)
		event_free(kept->event);
	close(kept->fd);
	free(kept);
}

static void say(struct keeper *keeper, const struct ipc_type *type, uint32_t id)
{
	const struct keep_gone body = {0}; /* keep_wants is the same */

	ipc_conn_send(keeper->conn, type, id, &body, -1);
}

/* The client has gone: that needs no process, unless there is something to be written. */
static bool is_left(const struct kept *kept, struct wake_hibernate *state)
{
	struct ipc_message m;
	struct err err;
	int waiting = 1;

	if (ipc_decode(&ipc_service_wake, TO_SERVICE, span_of(kept->state, kept->len), &m, &err) != 0 || m.type != &ipc_wake_hibernate)
		return false;
	*state = *(const struct wake_hibernate *)(const void *)m.body;
	return !state->unsaved && ioctl(kept->fd, FIONREAD, &waiting) == 0 && waiting == 0;
}

static void on_client(evutil_socket_t fd, short what, void *arg)
{
	struct kept *kept = arg;
	struct keeper *keeper = kept->keeper;
	struct wake_hibernate state;

	(void)fd;
	if ((what & EV_READ) == 0 || !is_left(kept, &state)) {
		say(keeper, &ipc_keep_wants, kept->id);
		return;
	}
	log_event(EV_imap_disconnect, NULL, F_SPAN("user", state.user), F_SPAN("rip", state.remote), F_U64("commands", state.commands),
	    F_STR("reason", err_text(E_CLOSED)));
	log_flush();
	say(keeper, &ipc_keep_gone, kept->id);
	kept_free(find(keeper, kept->id));
}

/* One that cannot be kept goes: its client connects again. */
static void hold(struct keeper *keeper, uint32_t id, const struct keep_hold *body, int fd)
{
	int64_t left_ms = body->left_ms < INT32_MAX ? (int64_t)body->left_ms : INT32_MAX;
	struct timeval left = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
	struct kept **link = find(keeper, id);
	struct kept *kept = *link == NULL ? malloc(sizeof(*kept) + body->state.len) : NULL;

	if (kept == NULL) {
		close(fd);
		say(keeper, &ipc_keep_gone, id);
		return;
	}
	*kept = (struct kept){.keeper = keeper, .id = id, .fd = fd, .deadline = clock_monotonic_ms() + left_ms, .len = body->state.len};
	memcpy(kept->state, body->state.ptr, body->state.len);
	kept->event = event_new(keeper->base, fd, EV_READ, on_client, kept);
	*link = kept;
	if (kept->event == NULL || event_add(kept->event, &left) != 0) {
		say(keeper, &ipc_keep_gone, id);
		kept_free(link);
	}
}

static void give(struct keeper *keeper, uint32_t id)
{
	struct kept **link = find(keeper, id);
	struct keep_given body = {0};
	int64_t left_ms;

	if (*link == NULL)
		return; /* keep_gone was said */
	left_ms = (*link)->deadline - clock_monotonic_ms();
	body.left_ms = left_ms > 0 ? (uint64_t)left_ms : 0;
	body.state = span_of((*link)->state, (*link)->len);
	if (ipc_conn_send(keeper->conn, &ipc_keep_given, id, &body, (*link)->fd) != 0)
		say(keeper, &ipc_keep_gone, id);
	kept_free(link);
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)conn;
	if (m->fd_lost)
		say(arg, &ipc_keep_gone, m->id);
	else if (m->type == &ipc_keep_hold)
		hold(arg, m->id, (const void *)m->body, m->fd);
	else
		give(arg, m->id);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	static const char bye[] = "* BYE The server is stopping\r\n";
	struct keeper *keeper = arg;

	(void)conn;
	for (size_t i = 0; i < KEEPER_BUCKETS; i++)
		for (struct kept *kept = keeper->buckets[i]; kept != NULL; kept = kept->next)
			(void)!send(kept->fd, bye, sizeof(bye) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	log_flush();
	_exit(0);
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

void keeper_main(int channel)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));

	signal(SIGCHLD, SIG_DFL);
	fork_ready(SIGTERM, SIG_DFL);
	if (keeper == NULL || (channel != KEEPER_CHANNEL && dup2(channel, KEEPER_CHANNEL) < 0))
		_exit(1);
	close_range(KEEPER_CHANNEL + 1, ~0U, 0);
	keeper->base = event_base_new();
	if (keeper->base != NULL)
		keeper->conn = ipc_conn_new(keeper->base, KEEPER_CHANNEL, &ipc_service_keep, TO_SERVICE, &callbacks, keeper);
	if (keeper->conn != NULL)
		event_base_dispatch(keeper->base);
	_exit(1);
}
