/*
 * imap-session: makes a session process for every login that imapd hands on,
 * and watches the indexes of accounts whose sessions wait in IDLE.
 */
#ifndef MW_IMAPD_SPAWNER_H
#define MW_IMAPD_SPAWNER_H

#include "proc/daemon.h"
#include "proc/grant.h"

struct ipc_conn;

struct spawned {
	struct spawned *next, **link;
	struct spawner *spawner;
	pid_t pid;
	uint64_t account;
	struct ipc_conn *wake;
	struct watch *watch; /* while it waits in IDLE */
	bool armed;	     /* is to be told of the next change */
	bool dirty;	     /* there was a change it was not told of */
};

/* One account's index, watched for all its idle sessions. */
struct watch {
	struct watch *next;
	uint64_t account;
	int wd;
	unsigned users;
};

struct spawner {
	struct daemon *daemon;
	unsigned char key[GRANT_KEY];
	struct event *child_event, *inotify_event;
	struct event *overflow; /* all are told a moment after events were lost */
	int inotify;
	struct spawned *sessions;
	struct watch *watches;
	uint32_t count;
	uint64_t total;
	bool halting;
};

/* watch.c */
int watch_init(struct spawner *spawner, struct err *err);
void watch_set(struct spawned *session, bool on);

#endif
