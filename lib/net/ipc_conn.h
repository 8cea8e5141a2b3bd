/* An IPC connection on the event loop: messages in by callback, messages out queued when the socket is full. */
#ifndef MW_NET_IPC_CONN_H
#define MW_NET_IPC_CONN_H

#include "base/err.h"
#include "ipc/ipc.h"

struct event_base;
struct ipc_conn;

struct ipc_conn_callbacks {
	/*
	 * One message; message->fd is now the callee's (look at fd_lost where one is required). Return 0, or E_PROTO (any error): the
	 * connection is closed, logged, and closed() is called.
	 */
	int (*message)(void *arg, struct ipc_conn *conn, struct ipc_message *message);
	/* The other end went away or misbehaved; the connection is freed after this returns. */
	void (*closed)(void *arg, struct ipc_conn *conn);
};

/*
 * fd: owned from now on. direction: of the messages received here (TO_SERVICE
 * in a service). NULL when out of memory (fd is then closed).
 */
struct ipc_conn *ipc_conn_new(struct event_base *base, int fd, const struct ipc_service *service,
    enum ipc_direction direction, const struct ipc_conn_callbacks *callbacks, void *arg);
/* Closes without calling closed(). */
void ipc_conn_free(struct ipc_conn **conn);
/* As if the other end had gone: closed() is called, now. For a connection in whose place another one has come. NULL is none. */
void ipc_conn_lose(struct ipc_conn **conn);

/*
 * Sends now, or later when the socket is full (up to 4 MiB wait; past that
 * E_LIMIT and nothing is sent). pass: -1 or a descriptor, duplicated when it has to wait.
 */
int ipc_conn_send(struct ipc_conn *conn, const struct ipc_type *type, uint32_t id,
    const void *body, int pass);
/*
 * The same for what the other end waits for. When it cannot be sent the connection ends, closed() is called from the loop, and whoever
 * waits asks again over the next one: otherwise it would wait for ever.
 */
int ipc_conn_answer(struct ipc_conn *conn, const struct ipc_type *type, uint32_t id, const void *body, int pass);
/*
 * Gives the messages that have already arrived to the callback, without waiting: the last words
 * of a process that has ended. closed() is not called.
 */
void ipc_conn_take_rest(struct ipc_conn *conn);
/* Another bound than 4 MiB for what may wait: for long answers to administrators. */
void ipc_conn_wait_max(struct ipc_conn *conn, size_t max);
/* So many messages are taken before others get their turn; few, when each costs much. */
void ipc_conn_burst(struct ipc_conn *conn, int messages);
/* While more bytes than these wait no message is taken: who asks must read the answers. Of one side only, or both would wait for each other. */
void ipc_conn_pause_above(struct ipc_conn *conn, size_t waiting);
/* drained(arg, conn) whenever nothing waits any more that had to wait; it may free the connection. NULL: nobody asks. */
void ipc_conn_on_drained(struct ipc_conn *conn, void (*drained)(void *arg, struct ipc_conn *conn));
/* Bytes that wait for a full socket. */
size_t ipc_conn_waiting(const struct ipc_conn *conn);

#endif
