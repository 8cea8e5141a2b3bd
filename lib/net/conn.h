/*
 * A connection on the event loop, a client's or one to a server: bytes in, bytes out, plain or TLS.
 *
 * Input is gathered in one bounded buffer and shown whole; what is not consumed
 * is shown again with the next bytes. When it is full, or when the client does
 * not take the output, reading stops: a client can cost no more memory than that.
 */
#ifndef MW_NET_CONN_H
#define MW_NET_CONN_H

#include "base/err.h"
#include "base/span.h"
#include "tls/client.h"

struct conn;
struct event_base;
struct tls_context;
struct tls_bindings;
struct tls_peer;
struct tls_ticket;

enum {
	CONN_INPUT_MAX = 64 * 1024,
	CONN_OUTPUT_HIGH = 64 * 1024,	/* reading stops above this, without conn_keep_reading */
	CONN_OUTPUT_MAX = 1024 * 1024,	/* the connection is given up above this */
	CONN_PEER_TEXT = 64,
};

struct conn_callbacks {
	/* There is input: look at conn_input, conn_consume what was understood. May free the conn. */
	void (*input)(void *arg, struct conn *conn);
	/* The end: closed by the other side, error or time-out (why->code E_TIMEOUT). Free the conn. */
	void (*closed)(void *arg, struct conn *conn, const struct err *why);
	/* The output buffer has become empty. May be NULL. */
	void (*drained)(void *arg, struct conn *conn);
	/* A handshake that conn_start_tls began has ended. code 0, or why it failed (closed is called next). */
	void (*tls)(void *arg, struct conn *conn, int code, const struct err *why);
};

/* fd: owned, made non-blocking. peer: text of the client's address, copied. NULL: no memory (fd closed). */
struct conn *conn_new(struct event_base *base, int fd, const char *peer,
    const struct conn_callbacks *callbacks, void *arg);
/* Unsent output is lost. Allowed inside every callback. */
void conn_free(struct conn **conn);

struct span conn_input(const struct conn *conn);
void conn_consume(struct conn *conn, size_t len);
/* Calls input again with what is left, after an answer that was waited for. The conn may be gone afterwards. */
void conn_resume(struct conn *conn);

/*
 * What is added to this buffer is written when the running callback returns; outside one call conn_flush,
 * after which the conn may be gone.
 */
struct buf *conn_output(struct conn *conn);
void conn_flush(struct conn *conn);
size_t conn_output_len(const struct conn *conn);

/* Stops or resumes reading. */
void conn_pause(struct conn *conn, bool pause);
/* However much waits to be written: of a client, whose server may answer before it has read all. */
void conn_keep_reading(struct conn *conn);
/* closed(E_TIMEOUT) when nothing calls this again within ms. 0: no time-out. */
void conn_timeout(struct conn *conn, int64_t ms);
/* Milliseconds until then; negative when it is overdue. */
int64_t conn_time_left(const struct conn *conn);

/*
 * Begins a handshake as client; peer is borrowed for the call. Input received before it is dropped. 0 or what tls_session_connect says.
 */
int conn_start_tls_client(struct conn *conn, struct tls_context *context, const struct tls_peer *peer, struct err *err);
/* Of a client, in the tls callback or later: as tls_session_verdict; without TLS TLS_RIGHT. */
enum tls_verdict conn_tls_verdict(const struct conn *conn, const char **why);
/* Of a client: as tls_session_ticket. */
struct tls_ticket *conn_tls_ticket(struct conn *conn);
/* Begins a handshake as server, when the output that there is has gone out plain. Input received before it is dropped: nothing protected it. 0 or E_NOMEM. */
int conn_start_tls(struct conn *conn, struct tls_context *context);
bool conn_is_tls(const struct conn *conn);
/* Whether words still mean something to the client: no TLS, and no handshake under way either. */
bool conn_is_plain(const struct conn *conn);
const char *conn_tls_version(const struct conn *conn);
const char *conn_tls_cipher(const struct conn *conn);
/* The address of the client's certificate, "" without one: tls_session_client. */
const char *conn_tls_client(const struct conn *conn);
/* All empty without TLS. */
void conn_tls_bindings(const struct conn *conn, struct tls_bindings *out);
/* Is there one that clients choose, tls-exporter or tls-unique? */
bool conn_tls_is_bound(const struct conn *conn);

/*
 * Takes no more input, writes what is left (for at most 5 s), then closes and calls closed(E_OK). In the midst of a handshake nothing can be said:
 * it goes no further, and closed (E_TIMEOUT) is called in a moment.
 */
void conn_finish(struct conn *conn);

const char *conn_peer(const struct conn *conn);
/* Borrowed. */
int conn_fd(const struct conn *conn);

#endif
