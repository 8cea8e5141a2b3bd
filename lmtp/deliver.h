/* Final delivery: a spawner, and workers that are confined to one account each. */
#ifndef MW_LMTP_DELIVER_H
#define MW_LMTP_DELIVER_H

#include "proc/daemon.h"
#include "proc/grant.h"

struct ipc_conn;
struct request;

enum {
	DELIVER_BATCH = 64,	   /* deliveries in one index transaction */
	DELIVER_IDLE_MS = 60000,   /* a worker without work ends */
	DELIVER_ACCOUNT_MAX = 4,   /* workers of one account, those that are ending included */
	DELIVER_OPENINGS_MAX = 2048,
	DELIVER_GRANT_LATE = 3600, /* seconds: a message may have been long on its way to lmtpd */
};

/* A connected daemon that hands in mail. */
struct deliver_peer {
	struct deliver_peer *next, **link;
	struct deliver *deliver;
	struct ipc_conn *conn;
	bool checks_grants; /* queue does it itself; lmtpd, which strangers talk to, shows them */
};

struct worker {
	struct worker *next; /* newest first */
	pid_t pid;
	uint64_t account;
	struct deliver_peer *peer; /* who asked for it; NULL: gone */
	int64_t told_ms;	   /* to end; 0: not */
};

/* Somebody waits for a worker until another one has ended. */
struct opening {
	struct opening *next;
	struct deliver_peer *peer;
	uint32_t id;
	uint64_t account;
};

struct deliver {
	struct daemon *daemon;
	struct control_server *control;
	struct event *child_event, *care;
	struct deliver_peer *peers;
	struct worker *workers;
	unsigned worker_count;
	struct opening *openings, **openings_tail;
	unsigned opening_count;
	unsigned char grant_key[GRANT_KEY];
	struct ipc_conn *auth;
	struct request *requests; /* of administrators, control.c */
	uint32_t last_question;
	uint64_t total;
	bool halting;
};

void deliver_child_keep(struct deliver *deliver, int three, int four);
/* The child's side of a fork: confines itself, works until the channel closes; returns the exit status. */
int worker_main(int channel, int dir, uint64_t account, unsigned undo_days);

/* control.c */
void deliver_account_answered(struct deliver *deliver, uint32_t id, const struct auth_recipient_answer *answer);
void deliver_auth_lost(struct deliver *deliver);
void deliver_worker_gone(struct deliver *deliver, uint64_t account);
struct control_reply;
void deliver_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input,
    struct span secret);

#endif
