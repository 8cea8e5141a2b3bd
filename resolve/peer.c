/* Clients: what they ask, and the answers on their way back. */
#include "resolve/resolve.h"

#include "net/ipc_conn.h"
#include "proc/daemon.h"
#include "resolve/present.h"

#include <stdlib.h>
#include <unistd.h>

enum { PEER_BURST = 64 /* questions in one turn, so that floods of one client do not keep another waiting */ };

struct peer {
	struct resolve *resolve;
	struct ipc_conn *conn;
	struct ask *asks;
	unsigned count;
};

/* A question of a client. */
struct ask {
	struct ask *next, **link;
	struct peer *peer;
	struct flight_waiter waiter;
	uint32_t id;
};

static void ask_free(struct ask *ask)
{
	*ask->link = ask->next;
	if (ask->next != NULL)
		ask->next->link = ask->link;
	ask->peer->count--;
	free(ask);
}

/* An answer that finds no room is lost: the client's deadline tells it so. */
static void on_done(void *arg, const struct dns_reply *reply)
{
	struct ask *ask = arg;

	ipc_conn_send(ask->peer->conn, &ipc_dns_reply, ask->id, reply, -1);
	ask_free(ask);
}

static void refuse(struct peer *peer, uint32_t id, int code, const char *why)
{
	const struct dns_reply reply = {.code = code, .why = span_str(why)};

	ipc_conn_send(peer->conn, &ipc_dns_reply, id, &reply, -1);
}

static void take_question(struct peer *peer, uint32_t id, const struct dns_query *query)
{
	char name[DNS_NAME_TEXT];
	struct ask *ask;
	int r = present_type_is_data(query->type) ? dns_name_normalize(query->name, name) : E_UNSUPPORTED;

	if (r != 0) { /* E_SYNTAX is an answer: nobody can have that name */
		refuse(peer, id, r, "this is no name or type that can be asked for");
		return;
	}
	ask = peer->count < PEER_ASKS_MAX ? calloc(1, sizeof(*ask)) : NULL;
	if (ask == NULL) {
		refuse(peer, id, E_UNAVAILABLE, "the resolver has too many questions under way");
		return;
	}
	ask->peer = peer;
	ask->id = id;
	ask->link = &peer->asks;
	ask->next = peer->asks;
	if (ask->next != NULL)
		ask->next->link = &ask->next;
	peer->asks = ask;
	peer->count++;
	flights_ask(peer->resolve->flights, span_str(name), query->type, &ask->waiter, on_done, ask);
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	(void)conn;
	if (m->type != &ipc_dns_query)
		return E_PROTO;
	take_question(arg, m->id, (const void *)m->body);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct peer *peer = arg;

	(void)conn;
	while (peer->asks != NULL) {
		flights_leave(&peer->asks->waiter);
		ask_free(peer->asks);
	}
	peer->resolve->peers--;
	free(peer);
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

void peer_new(struct resolve *resolve, int fd)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (peer == NULL) {
		close(fd);
		return;
	}
	peer->resolve = resolve;
	peer->conn = ipc_conn_new(daemon_base(resolve->daemon), fd, &ipc_service_dns, TO_SERVICE, &callbacks, peer);
	if (peer->conn == NULL) {
		free(peer);
		return;
	}
	ipc_conn_burst(peer->conn, PEER_BURST);
	ipc_conn_wait_max(peer->conn, (size_t)64 << 20);
	resolve->peers++;
}
