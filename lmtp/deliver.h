/* Final delivery: a spawner, and workers that are confined to one account each. */
#ifndef MW_LMTP_DELIVER_H
#define MW_LMTP_DELIVER_H

#include "proc/daemon.h"

struct ipc_conn;
struct request;

enum {
	DELIVER_BATCH = 64,	  /* deliveries in one index transaction */
	DELIVER_IDLE_MS = 60000,  /* a worker without work ends */
};

struct worker {
	struct worker *next;
	pid_t pid;
	uint64_t account;
};

struct deliver {
	struct daemon *daemon;
	struct control_server *control;
	struct event *child_event;
	struct worker *workers;
	unsigned worker_count;
	struct ipc_conn *auth;
	struct request *requests; /* of administrators, control.c */
	uint32_t last_question;
	uint64_t total;
	bool halting;
};

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
