/* Sessions on port 25: policy on the engine of lib/smtp. */
#ifndef MW_SMTPD_SMTPD_H
#define MW_SMTPD_SMTPD_H

#include "net/conn.h"
#include "net/listener.h"
#include "proc/daemon.h"
#include "smtp/server.h"
#include "net/tls_daemon.h"
#include "spool/spool.h"

struct ipc_conn;

enum {
	SMTPD_LISTENERS = 32,
	SMTPD_STOCK = 32,	   /* spool files kept ready */
	SMTPD_CACHE = 1024,	   /* recipients remembered */
	SMTPD_CACHE_GOOD_MS = 5000,
	SMTPD_CACHE_BAD_MS = 1000,
	SMTPD_GATHER = 64 * 1024,  /* content gathered before it is written */
	SMTPD_WAIT_FILE_MS = 10000,
	SMTPD_WAITING = 8192,	   /* clients that wait for a session */
	SMTPD_WAIT_MS = 10000,	   /* and so long */
	SMTPD_OCTET_MS = 2,	   /* what an octet of a message buys: slower than 500 a second is too slow */
};

#define SMTPD_CROWDED "Too many connections; try again later"

struct smtpd_listener {
	struct smtpd *smtpd;
	struct listener *listener;
	struct waiting *room, **room_tail; /* who waits for a session, the first to come first; room.c */
	char address[128];
};

/* A client at the door. */
struct visitor {
	int fd;
	bool counted; /* by smtpd->peers */
	struct sockaddr_storage address;
	char peer[LISTENER_PEER_TEXT];
};

/* auth's word on a recipient, kept for the transaction or the cache. */
struct verdict {
	int code;
	uint64_t account, quota;
	char address[321], detail[65];
	unsigned char grant[32];
	size_t grant_len;
	char text[256];
};

struct cached {
	char key[321];
	int64_t until_ms;
	struct verdict verdict;
};

/* A spool file that queue has handed out. */
struct stock {
	uint64_t id;
	int fd;
};

struct session {
	struct session *next, **link;
	struct session *wait_next; /* in smtpd->waiting_files */
	struct session *commit_next, **commit_link; /* in smtpd->committing, while it waits_commit */
	struct smtpd *smtpd;
	struct conn *conn;
	struct smtp_server *server;
	struct sockaddr_storage address;
	struct conf_where where;
	uint32_t question; /* to auth; 0: none */
	struct stock file; /* of the running transaction; fd -1: none */
	bool waits_file, waits_commit, counted, greeted;
	bool in_line; /* a command was begun and is not complete */
	struct event *greeting; /* greeting-delay */
	struct buf content;	/* not yet written */
	uint64_t written;
	char id[SPOOL_ID_TEXT];
};

struct smtpd {
	struct daemon *daemon;
	struct tls_context *tls;
	struct tls_daemon tls_daemon;
	char note[96]; /* for status: about a crowd */
	struct ipc_conn *auth, *queue;
	struct smtpd_listener listeners[SMTPD_LISTENERS];
	size_t listener_count;
	struct peer_count *peers;
	struct session *sessions;
	uint32_t session_count;
	size_t waiting_count;	/* in the rooms of all listeners */
	struct event *turn;	/* somebody in a room may be let in, or has waited enough */
	uint64_t total;
	uint32_t last_question;
	struct stock stock[SMTPD_STOCK];
	size_t stock_count;
	size_t stock_asked;
	struct session *waiting_files, **waiting_tail;
	struct session *committing, **committing_tail;
	struct cached cache[SMTPD_CACHE];
	bool halting;
};

/* ---- session.c ---- */
/* fd: owned. A connection past a limit waits, or is told so and closed. */
void session_start(struct smtpd_listener *listener, int fd, const struct sockaddr_storage *address, const char *peer);
/* visitor: its descriptor is owned. */
void session_begin(struct smtpd_listener *listener, const struct visitor *visitor);
bool session_full(const struct smtpd *smtpd, const struct smtpd_listener *listener);
/* 421 with `why`; nothing was made for it yet. */
void visitor_refuse(struct smtpd *smtpd, const struct visitor *visitor, const char *why);
/* An answer has come from another daemon: the reply goes out and the next command is read. The session may be gone afterwards. */
void session_go_on(struct session *session);
/* 421 with `why`, when no question is open. The session may be gone afterwards. */
void session_shutdown(struct session *session, const char *why);

/* ---- room.c ---- */
int room_open(struct smtpd *smtpd);
/* Waits for a session; refused when the room is full, and when it has waited SMTPD_WAIT_MS. */
void room_enter(struct smtpd_listener *listener, const struct visitor *visitor);
/* A session has ended. */
void room_turn(struct smtpd *smtpd);
void room_close(struct smtpd *smtpd, const char *why);

/* ---- recipients.c ---- */
/* Ends in smtp_server_rcpt_done, at once or when auth has answered. */
void recipient_ask(struct session *session, struct span address);
void recipient_answered(struct smtpd *smtpd, uint32_t id, const struct auth_recipient_answer *answer);
/* The directory was changed: what is remembered may be wrong. */
void recipients_forget(struct smtpd *smtpd);
/* auth went away: those who wait for it are told to try again. */
void recipients_service_lost(struct smtpd *smtpd);

/* ---- content.c ---- */
/* The engine's callbacks: begin ends in smtp_server_data_ready, commit in smtp_server_data_done, at once or later. */
void content_begin(struct session *session);
int content_add(struct session *session, struct span bytes, struct err *err);
void content_commit(struct session *session);
void content_abort(struct session *session);
/* The session ends: it waits for nothing any more. */
void content_forget(struct session *session);
/* queue's answer to a commit; text: what went wrong. */
void content_committed(struct smtpd *smtpd, uint64_t id, int code, struct span text);
void content_service_lost(struct smtpd *smtpd);
/* Asks queue for files when half of the stock is used. */
void stock_refill(struct smtpd *smtpd);
/* fd: owned. For the session that has waited longest, or for the stock. */
void stock_add(struct smtpd *smtpd, uint64_t id, int fd);
/* queue has no file to give: all who wait for one are told to try again. */
void stock_lost(struct smtpd *smtpd, uint64_t id);
void stock_refused(struct smtpd *smtpd, int code);

#endif
