/*
 * lmtpd: mail from other MTAs over LMTP (RFC 2033). A message is kept in memory
 * until every recipient's worker has answered: the client keeps its own copy
 * until then, so there is no queue here.
 */
#ifndef MW_LMTP_LMTPD_H
#define MW_LMTP_LMTPD_H

#include "net/conn.h"
#include "net/listener.h"
#include "proc/daemon.h"
#include "smtp/server.h"

struct event;
struct ipc_conn;

enum {
	LMTPD_LISTENERS = 16,
	LMTPD_KEY = 16,
	LMTPD_MEMORY_MAX = 1024 * 1024 * 1024, /* messages of all sessions together, bytes */
	LMTPD_IN_FLIGHT = 32,		       /* deliveries that one worker has; each of them may hold a descriptor */
	LMTPD_STUCK_MS = 600 * 1000,	       /* no answer for this long: the worker is given up */
};

struct lmtp_memory {
	uint64_t used, max; /* bytes */
};

/* A message. */
struct lmtp_content {
	struct lmtp_memory *memory;
	unsigned holders;
	int file; /* memfd */
	uint64_t size;
};

struct lmtpd_listener {
	struct lmtpd *lmtpd;
	struct listener *listener;
	char address[128];
};

/* One recipient of the transaction under way. */
struct lmtp_delivery {
	struct lmtp_session *session; /* NULL: the client has gone */
	uint64_t account, quota;
	char address[321], detail[65];
	unsigned char key[LMTPD_KEY];
	unsigned char grant[32]; /* auth's, shown to deliver */
	size_t grant_len;
	bool done;
	int code;
	char text[256];
};

struct lmtp_session {
	struct lmtp_session *next, **link;
	struct lmtpd *lmtpd;
	const struct lmtpd_listener *listener;
	struct conn *conn;
	struct smtp_server *server;
	uint32_t question; /* to auth; 0: none */
	struct lmtp_content *content; /* NULL: none */
	struct lmtp_delivery **deliveries; /* in the order of the recipients; freed by their flights when the client goes */
	size_t delivery_count, answered;
};

/* One delivery at a worker, or waiting for its channel. */
struct lmtp_flight {
	struct lmtp_flight *next;
	struct lmtp_delivery *delivery;
	uint32_t id;
	struct lmtp_content *content;
	char sender[513];
};

struct lmtp_channel {
	struct lmtp_channel *next;
	struct lmtpd *lmtpd;
	uint64_t account;
	struct ipc_conn *conn; /* NULL: asked for */
	struct lmtp_flight *flying; /* the worker has them */
	struct lmtp_flight *waiting, **waiting_tail; /* for the worker, or for room; oldest first */
	unsigned flying_count;
	uint32_t last_id;
	int64_t progress_ms; /* the last answer, or when there began to be something to answer */
};

struct lmtpd {
	struct daemon *daemon;
	struct ipc_conn *auth, *deliver;
	struct lmtpd_listener listeners[LMTPD_LISTENERS];
	size_t listener_count;
	struct lmtp_session *sessions;
	struct lmtp_channel *channels;
	uint32_t session_count, last_question;
	uint64_t total;
	struct lmtp_memory memory;
	struct event *watch; /* for workers that hang */
	bool halting;
};

/* lmtpd_session.c */
void lmtp_session_start(struct lmtpd *lmtpd, const struct lmtpd_listener *listener, int fd, const char *peer);
void lmtp_session_shutdown(struct lmtp_session *session);
void lmtp_recipient_answered(struct lmtpd *lmtpd, uint32_t id, const struct auth_recipient_answer *answer);
void lmtp_auth_lost(struct lmtpd *lmtpd);
/* A delivery has its result (code and text are filled in). */
void lmtp_delivered(struct lmtp_delivery *delivery);

/* lmtpd_content.c */
/* Empty, with one holder. E_NOMEM, E_NOFILES. */
int lmtp_content_new(struct lmtp_memory *memory, struct lmtp_content **out, struct err *err);
/* E_LIMIT: all of them together are too large. */
int lmtp_content_write(struct lmtp_content *content, struct span bytes, struct err *err);
struct lmtp_content *lmtp_content_hold(struct lmtp_content *content);
/* The last one frees it. NULL is none. */
void lmtp_content_release(struct lmtp_content **content);

/* lmtpd_channel.c */
/* Holds the content until it has its result. An E_ and *text when it is not even sent: lmtp_delivered is not called then. */
int lmtp_deliver(struct lmtpd *lmtpd, struct lmtp_delivery *delivery, struct lmtp_content *content, struct span sender);
void lmtp_deliver_service(struct lmtpd *lmtpd, int fd);
/* Gives up workers that have not answered for LMTPD_STUCK_MS. */
void lmtp_channels_look(struct lmtpd *lmtpd, int64_t now_ms);

#endif
