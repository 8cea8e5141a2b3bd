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

struct ipc_conn;

enum {
	LMTPD_LISTENERS = 16,
	LMTPD_KEY = 16,
	LMTPD_MEMORY_MAX = 1024 * 1024 * 1024, /* messages of all sessions together, bytes */
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
	int file;	   /* memfd of the message; -1: none */
	uint64_t size;
	struct lmtp_delivery **deliveries; /* in the order of the recipients; freed by their flights when the client goes */
	size_t delivery_count, answered;
};

/* One delivery at a worker, or waiting for its channel. */
struct lmtp_flight {
	struct lmtp_flight *next;
	struct lmtp_delivery *delivery;
	uint32_t id;
	int fd; /* of the message, read only */
	uint64_t size;
	char sender[513];
};

struct lmtp_channel {
	struct lmtp_channel *next;
	struct lmtpd *lmtpd;
	uint64_t account;
	struct ipc_conn *conn; /* NULL: asked for */
	struct lmtp_flight *flights;
	uint32_t last_id;
};

struct lmtpd {
	struct daemon *daemon;
	struct ipc_conn *auth, *deliver;
	struct lmtpd_listener listeners[LMTPD_LISTENERS];
	size_t listener_count;
	struct lmtp_session *sessions;
	struct lmtp_channel *channels;
	uint32_t session_count, last_question;
	uint64_t total, memory;
	bool halting;
};

/* lmtpd_session.c */
void lmtp_session_start(struct lmtpd *lmtpd, const struct lmtpd_listener *listener, int fd, const char *peer);
void lmtp_session_shutdown(struct lmtp_session *session);
void lmtp_recipient_answered(struct lmtpd *lmtpd, uint32_t id, const struct auth_recipient_answer *answer);
void lmtp_auth_lost(struct lmtpd *lmtpd);
/* A delivery has its result (code and text are filled in). */
void lmtp_delivered(struct lmtp_delivery *delivery);

/* lmtpd_channel.c */
/* fd: owned. An E_ and *text when it is not even sent: lmtp_delivered is not called then. */
int lmtp_deliver(struct lmtpd *lmtpd, struct lmtp_delivery *delivery, int fd, uint64_t size, struct span sender);
void lmtp_deliver_service(struct lmtpd *lmtpd, int fd);

#endif
