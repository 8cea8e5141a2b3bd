/*
 * imap-session: makes a session process for every login that imapd hands on,
 * watches the indexes of accounts whose sessions wait in IDLE, and wakes those
 * that hibernate, whose clients its keeper holds.
 */
#ifndef MW_IMAPD_SPAWNER_H
#define MW_IMAPD_SPAWNER_H

#include "ipc/ipc.h"
#include "proc/daemon.h"
#include "proc/grant.h"

struct ipc_conn;

struct spawned {
	struct spawned *next, **link;
	struct spawner *spawner;
	pid_t pid;	 /* 0: none; what is left is `wake`'s last word, or it is asleep */
	uint32_t number; /* what the keeper knows it by */
	struct spawned *number_next;
	uint64_t account, quota;
	char *listener; /* the address of its block */
	struct ipc_conn *wake;
	struct watch *watch; /* while it waits in IDLE */
	bool armed;	     /* is to be told of the next change */
	bool dirty;	     /* there was a change it was not told of */
	bool queued;	     /* in spawner->waking */
	bool resuming;	     /* counted in spawner->resuming */
	bool asleep;	     /* it hibernates */
	bool kicked;	     /* it ends, once it is awake */
	struct spawned *wake_next;
};

/* One account's index, watched for all its idle sessions. */
struct watch {
	struct watch *next;
	uint64_t account;
	int wd;
	unsigned users;
	bool moved; /* the index was set aside, and another made in its place: for who has it still, but nobody else */
};

enum {
	SPAWNER_BUCKETS = 4096,
	RESUMING_MAX = 8, /* processes that have not come so far as to wait again, or were not given yet */
};

struct spawner {
	struct daemon *daemon;
	unsigned char key[GRANT_KEY];
	struct event *child_event, *inotify_event;
	struct event *overflow; /* all are told a moment after events were lost */
	struct event *unwatched; /* pending while there are sessions whose index could not be watched */
	int inotify;
	struct spawned *sessions;
	struct spawned *waking, **waking_tail; /* hibernating ones that are wanted, the first first */
	struct event *waking_event;
	struct spawned *numbers[SPAWNER_BUCKETS];
	uint32_t last_number;
	struct ipc_conn *keeper;
	pid_t keeper_pid;		     /* 0: there is none */
	struct event *keeper_event; /* tries to make one again */
	struct watch *watches;
	uint32_t count, asleep, resuming;
	uint64_t resuming_accounts[RESUMING_MAX]; /* whose those `resuming` are */
	uint64_t total;
	bool halting;
};

/* What a new process is told beside its account: of a login, or of a session that hibernated. */
struct child_words {
	struct span user, remote, tag, input;
	struct span state;
	int64_t left_ms; /* of its imap-timeout */
};

/* spawner.c */

/* A process for this session. client: stays the caller's. */
int session_fork(struct spawned *session, int client, const struct child_words *words, struct err *err);
/* The end of it; frees it. */
void session_gone(struct spawned *session);
/* Tells its process that it ends. */
void session_say_kick(struct spawned *session);
uint32_t sessions_awake(const struct spawner *spawner);
/* As many may be awake. */
uint32_t sessions_max(const struct spawner *spawner);

/* watch.c */
int watch_init(struct spawner *spawner, struct err *err);
void watch_set(struct spawned *session, bool on);

/* sleepers.c */
int sleepers_init(struct spawner *spawner, struct err *err);
/* Has kept what a session left. fd: owned. False: it cannot be; session_gone is called for. */
bool sleeper_begin(struct spawned *session, const struct wake_hibernate *body, int fd);
/* Makes it a process again, soon. */
void sleeper_wake(struct spawned *session);
/* Its new process has begun to wait, or ended. */
void sleeper_resumed(struct spawned *session);
/* Nothing of it is left here. */
void sleeper_end(struct spawned *session);
/* Its process has: another one is made. */
void keeper_ended(struct spawner *spawner);

#endif
