/*
 * Mail that comes in by SMTP, and goes into the spool: sessions on the engine of lib/smtp, from the door to queue's commit. Two daemons are made
 * of it: smtpd, which takes what is for us from anybody, and submission, which takes what its users send to anybody.
 */
#ifndef MW_INTAKE_INTAKE_H
#define MW_INTAKE_INTAKE_H

#include "base/clock.h"
#include "intake/mend.h"
#include "ipc/ipc.h"
#include "net/conn.h"
#include "net/listener.h"
#include "proc/daemon.h"
#include "smtp/server.h"
#include "net/tls_daemon.h"
#include "spool/spool.h"

struct ipc_conn;

enum {
	INTAKE_LISTENERS = 32,
	INTAKE_SERVICES = 2,
	INTAKE_RATE_ROWS = 512,	   /* accounts whose mail is counted: rows */
	INTAKE_RATE_ROW = 8,	   /* of so many */
	INTAKE_OVER = 32,	   /* accounts that wanted to send more than they may, to be named */
	INTAKE_STOCK = 32,	   /* spool files kept ready */
	INTAKE_CACHE = 1024,	   /* recipients remembered */
	INTAKE_CACHE_GOOD_MS = 5000,
	INTAKE_CACHE_BAD_MS = 1000,
	INTAKE_GATHER = 64 * 1024,  /* content gathered before it is written */
	INTAKE_WAIT_FILE_MS = 10000,
	INTAKE_WAITING = 8192,	   /* clients that wait for a session */
	INTAKE_WAIT_MS = 10000,	   /* and so long */
	INTAKE_OCTET_MS = 2,	   /* what an octet of a message buys: slower than 500 a second is too slow */
};

/* A word behind `listen`. */
struct intake_service {
	const char *name;
	bool implicit_tls;
};

struct intake_kind {
	const char *name; /* of the daemon */
	bool submission;  /* who sends must have logged in, and may send to the world (RFC 6409) */
	struct intake_service services[INTAKE_SERVICES];
};

#define INTAKE_CROWDED "Too many connections; try again later"

struct intake_listener {
	struct intake *intake;
	struct listener *listener;
	const struct intake_service *service;
	struct waiting *room, **room_tail; /* who waits for a session, the first to come first; room.c */
	char address[128];
};

/* A client at the door. */
struct visitor {
	int fd;
	bool counted; /* by intake->peers */
	bool implicit_tls; /* nothing can be said to it before a handshake */
	struct sockaddr_storage address;
	char peer[LISTENER_PEER_TEXT];
};

/* auth's word on a recipient, kept for the transaction or the cache. */
struct verdict {
	int code;
	bool remote; /* of a domain that is not ours; its mail goes out */
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
	struct session *wait_next; /* in intake->waiting_files */
	struct session *commit_next, **commit_link; /* in intake->committing, while it waits_commit */
	struct intake *intake;
	const struct intake_listener *listener;
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
	bool implicit_tls; /* the handshake comes before the greeting */
	/* Of submission. */
	uint32_t exchange;    /* with auth, a login that is under way; 0: none */
	enum sasl_mechanism mechanism; /* of that one, and of the one that it came in by */
	uint32_t asks_sender; /* the question to auth; 0: none */
	uint64_t account;     /* 0: nobody has logged in */
	char user[321];
	uint32_t taken[2]; /* of its share, by the transaction that runs: messages and recipients */
	int64_t taken_hour;
	bool kicked; /* ends as soon as it waits for nobody */
	struct mend mend;
	char date[CLOCK_RFC5322_MAX], message_id[128];
};

/* What an account has sent: messages and recipients, in this hour and in the one before. */
struct rate {
	uint64_t account;
	int64_t hour;
	uint64_t now[2], before[2];
	bool told; /* the log, that it has had its share */
};

/* Wanted to send more than it may. */
struct over {
	char user[321];
	int64_t until; /* monotonic seconds */
};

struct intake {
	const struct intake_kind *kind;
	struct daemon *daemon;
	struct tls_context *tls;
	struct tls_daemon tls_daemon;
	char note[512]; /* for status: a crowd, or who sends too much */
	struct ipc_conn *auth, *queue;
	struct intake_listener listeners[INTAKE_LISTENERS];
	size_t listener_count;
	struct peer_count *peers;
	struct session *sessions;
	uint32_t session_count;
	size_t waiting_count;	/* in the rooms of all listeners */
	struct event *turn;	/* somebody in a room may be let in, or has waited enough */
	uint64_t total;
	uint32_t last_question;
	struct stock stock[INTAKE_STOCK];
	size_t stock_count;
	size_t stock_asked;
	struct session *waiting_files, **waiting_tail;
	struct session *committing, **committing_tail;
	struct cached cache[INTAKE_CACHE];
	bool halting;
	struct rate rates[INTAKE_RATE_ROWS * INTAKE_RATE_ROW];
	struct over over[INTAKE_OVER]; /* the last first */
};

/* daemon.c: the daemon's main. intake: zeroes. */
int intake_run(struct intake *intake, const struct intake_kind *kind);
/* A number for a question to auth; never 0. */
uint32_t intake_next_question(struct intake *intake);

/* ---- session.c ---- */
/* fd: owned. A connection past a limit waits, or is told so and closed. */
void session_start(struct intake_listener *listener, int fd, const struct sockaddr_storage *address, const char *peer);
/* visitor: its descriptor is owned. */
void session_begin(struct intake_listener *listener, const struct visitor *visitor);
/* The configuration is another one, with blocks of its own. */
void session_reload(struct session *session);
bool session_full(const struct intake *intake, const struct intake_listener *listener);
/* 421 with `why`; nothing was made for it yet. */
void visitor_refuse(struct intake *intake, const struct visitor *visitor, const char *why);
/* An answer has come from another daemon: the reply goes out and the next command is read. The session may be gone afterwards. */
void session_go_on(struct session *session);
/* Those of an account, that which it sends now included, but not what queue is already asked to keep. */
void sessions_kick(struct intake *intake, uint64_t account);
/* All that are to end and wait for nobody. */
void sessions_end(struct intake *intake);

/* ---- room.c ---- */
int room_open(struct intake *intake);
/* Waits for a session; refused when the room is full, and when it has waited INTAKE_WAIT_MS. */
void room_enter(struct intake_listener *listener, const struct visitor *visitor);
/* A session has ended. */
void room_turn(struct intake *intake);
void room_close(struct intake *intake, const char *why);

/* ---- login.c: the engine's callbacks, and what auth says to them ---- */
void login_begin(struct session *session, enum sasl_mechanism mechanism, const struct buf *initial);
void login_respond(struct session *session, struct span response);
void login_cancel(struct session *session);
void login_challenged(struct intake *intake, uint32_t id, struct span challenge);
void login_answered(struct intake *intake, uint32_t id, const struct auth_login_answer *answer);
void logins_service_lost(struct intake *intake);

/* ---- sender.c ---- */
/* Ends in smtp_server_mail_done, at once or when auth has answered. */
void sender_ask(struct session *session, struct span sender);
void sender_answered(struct intake *intake, uint32_t id, const struct auth_sender_answer *answer);
void senders_service_lost(struct intake *intake);

/* ---- rate.c ---- */
/*
 * 0: there is room for so many more in this hour, and they are counted, so that many connections at once take no more than one does.
 * E_RATE with a text for the client.
 */
int rate_take(struct session *session, uint32_t messages, uint32_t recipients, struct err *err);
/* What the transaction has taken was used: queue has the message, or may have. */
void rate_use(struct session *session);
/* The transaction is over: what was not used is given back. */
void rate_give_back(struct session *session);
/* Who wants more than the share, for status. False, and nothing is written: nobody. */
bool rate_note(const struct intake *intake, char *out, size_t size);

/* ---- recipients.c ---- */
/* Ends in smtp_server_rcpt_done, at once or when auth has answered. */
void recipient_ask(struct session *session, struct span address);
void recipient_answered(struct intake *intake, uint32_t id, const struct auth_recipient_answer *answer);
/* The directory was changed: what is remembered may be wrong. */
void recipients_forget(struct intake *intake);
/* auth went away: those who wait for it are told to try again. */
void recipients_service_lost(struct intake *intake);

/* ---- content.c ---- */
/* The engine's callbacks: begin ends in smtp_server_data_ready, commit in smtp_server_data_done, at once or later. */
void content_begin(struct session *session);
int content_add(struct session *session, struct span bytes, struct err *err);
void content_commit(struct session *session);
void content_abort(struct session *session);
/* The session ends: it waits for nothing any more. */
void content_forget(struct session *session);
/* queue's answer to a commit; text: what went wrong. */
void content_committed(struct intake *intake, uint64_t id, int code, struct span text);
void content_service_lost(struct intake *intake);
/* Asks queue for files when half of the stock is used. */
void stock_refill(struct intake *intake);
/* fd: owned. For the session that has waited longest, or for the stock. */
void stock_add(struct intake *intake, uint64_t id, int fd);
/* queue has no file to give: all who wait for one are told to try again. */
void stock_lost(struct intake *intake, uint64_t id);
void stock_refused(struct intake *intake, int code);

#endif
