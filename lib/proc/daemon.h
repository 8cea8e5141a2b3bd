/*
 * The skeleton of every daemon: daemon_run(&spec).
 *
 * Order (fixed): take configuration, files, listeners, secrets and peers from
 * master over descriptor 3 until `go` -> spec.prepare (still root when started
 * as root: open what must be open) -> limits, chroot, groups, user ->
 * no_new_privs, Landlock, seccomp -> spec.confined (make threads, worker
 * processes) -> ready -> event loop until master says halt or goes away.
 */
#ifndef MW_PROC_DAEMON_H
#define MW_PROC_DAEMON_H

#include "base/err.h"
#include "base/log.h"
#include "conf/conf.h"
#include "ipc/ipc.h"
#include "proc/profile.h"

struct event_base;
struct ipc_conn; /* net/ipc_conn.h */
struct daemon;

struct daemon_spec {
	const char *name;		/* "smtpd"; the name in profiles.def */
	const struct profile *profile;	/* user, root directory, sandbox; NULL: it has confine */
	/* In place of a profile, for a daemon that must be able to become any user: keeps what it needs of root's powers. */
	int (*confine)(struct daemon *daemon, struct err *err);

	/* Whose connections peer gets as from clients: others are closed, with an event. NULL: anybody's that master makes. */
	const char *const *users;
	size_t user_count;

	/* Before the privileges are dropped; may be NULL. 0 or an error that ends the start. */
	int (*prepare)(struct daemon *daemon, struct err *err);
	/* Confined; set up the loop. May be NULL. */
	int (*confined)(struct daemon *daemon, struct err *err);
	/* A new configuration has come (daemon_conf gives it). An error keeps the old one. */
	int (*reload)(struct daemon *daemon, struct err *err);
	/*
	 * A connection to a service (serving false) or from a client (true) was made or remade by master. Owns fd. What was asked over the
	 * former one, whose end may not have been seen yet, has no answer any more: ipc_conn_lose().
	 */
	void (*peer)(struct daemon *daemon, struct span service, struct span role, bool serving, int fd);
	/* Master has dealt a secret anew, while the daemon runs: daemon_secret gives it. May be NULL. */
	void (*secrets)(struct daemon *daemon);
	/* Stop taking new work; call daemon_finished() when the last is done. */
	void (*halt)(struct daemon *daemon);
	/* Fill in connections, total and note for `status`. */
	void (*stats)(struct daemon *daemon, struct master_stats *stats);
	void *state; /* the daemon's own */
};

/* Runs to the end of the process's life; returns main's exit status. */
int daemon_run(const struct daemon_spec *spec);

void *daemon_state(struct daemon *daemon);
const struct conf *daemon_conf(struct daemon *daemon);
struct event_base *daemon_base(struct daemon *daemon);
const struct log_ctx *daemon_log(struct daemon *daemon);

/* Listening sockets whose name is `name`, in the configuration's order; count of them. fds: max places. */
size_t daemon_listeners(struct daemon *daemon, const char *name, int *fds, char (*addresses)[128],
    size_t max);
/* A file sent by master with the configuration in force, by name ("tls-certificate"); -1 when there is none. Borrowed, until the next reload. */
int daemon_file(struct daemon *daemon, const char *name);
/* A secret dealt by master, given out once, and once more when it was dealt anew: it is kept in no other place. False when there is none. */
bool daemon_secret(struct daemon *daemon, const char *name, void *out, size_t size);

/*
 * The connection to a service has ended. When the service died master makes another one; when it did not (the
 * connection was closed for a bad message or for want of a descriptor) it is asked for after a moment.
 */
void daemon_peer_lost(struct daemon *daemon, const char *service);

/* The daemon has nothing left to do after halt. */
void daemon_finished(struct daemon *daemon);

#endif
