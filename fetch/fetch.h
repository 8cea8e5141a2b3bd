/* The fetch daemon's own state: requests, one transfer each. */
#ifndef MW_FETCH_FETCH_H
#define MW_FETCH_FETCH_H

#include "base/buf.h"
#include "dns/dns.h"
#include "ipc/ipc.h"
#include "proc/daemon.h"

#include <curl/curl.h>
#include <openssl/x509_vfy.h>

enum {
	FETCH_RUNNING_MAX = 64,
	FETCH_HOST_MAX = 8,	/* of them with one host */
	FETCH_OWNER_MAX = 48,	/* and for one peer: slow hosts of the relay's must not keep logins waiting */
	FETCH_WAITING_MAX = 512, /* behind them; further ones are refused */
	FETCH_OWNER_WAITING_MAX = 384,
	FETCH_BODY_MAX = 57344,
	FETCH_POST_MAX = 49152, /* of a request */
	FETCH_HEADERS_MAX = 32768, /* of one answer, 1xx and trailers included */
	FETCH_TIMEOUT_MAX_MS = 60 * 1000,
	FETCH_ADDRESSES_MAX = 8, /* of one kind, of one host */
	FETCH_CONNECTIONS_KEPT = 32,
	FETCH_CONNECTION_IDLE_S = 60,
};

struct transfer;

struct fetch {
	struct daemon *daemon;
	struct dns *dns;
	struct control_server *control;
	CURLM *multi;
	struct event *timer; /* curl's */
	X509_STORE *authorities;
	int64_t since_ms;	 /* these authorities and networks hold: older connections are not used again */
	struct transfer *first, **tail; /* by arrival */
	unsigned waiting, running;
	uint64_t total;
};

/* The answer is borrowed until it returns. */
typedef void fetch_done(void *arg, uint32_t id, const struct fetch_answer *answer);

/* ---- transfer.c: one request, from the question to the answer ---- */

/*
 * Begins a request; done is called once, perhaps before this returns. owner and id are for the two below: after those it is
 * not called any more.
 */
void fetch_begin(struct fetch *fetch, const struct fetch_request *ask, const void *owner, uint32_t id, fetch_done *done, void *arg);
void fetch_cancel_one(struct fetch *fetch, const void *owner, uint32_t id);
void fetch_cancel_all(struct fetch *fetch, const void *owner);
/* curl is through with it. */
void transfer_finished(struct transfer *transfer, CURLcode result);

/* ---- loop.c: curl's sockets and timer on the daemon's loop ---- */
int loop_init(struct fetch *fetch, struct err *err);

/* ---- address.c ---- */

/*
 * May a host be asked at this address? A name in the DNS of others' must not lead us to ourselves or into the network
 * that we stand in: only what is routed on the internet, and what fetch-private-networks names.
 */
bool address_is_allowed(const struct conf *conf, const struct sockaddr *address);
/* Routed on the internet: of none of the blocks of RFC 6890 that are for something else. */
bool address_is_public(const struct sockaddr *address);

/* ---- header.c ---- */

/* One line of an answer's head: max-age of Cache-Control (RFC 9111 section 5.2.2) into *max_age, which stays when it is none; "no-store" and "no-cache" are 0. */
void header_max_age(struct span line, int64_t *max_age);

/* ---- control.c ---- */
struct control_reply;
void fetch_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input, struct span secret);

#endif
