/*
 * The daemons: which there are, what each is handed, who talks to whom.
 * Everything about them is in the two tables of children.c.
 */
#ifndef MW_MASTER_CHILDREN_H
#define MW_MASTER_CHILDREN_H

#include "conf/conf.h"
#include "ipc/ipc.h"

#include <sys/types.h>

struct event_base;
struct ipc_conn;
struct master;

enum { CHILDREN_MAX = 64, CHILD_SERVICES = 4 };

enum child_state {
	CHILD_DOWN,	/* waits for its restart */
	CHILD_STARTING, /* forked, not yet ready */
	CHILD_READY,
	CHILD_STOPPING, /* told to halt */
	CHILD_ENDED,	/* stopped for good */
};

/* A stop goes by stages: each begins when those of the one before have ended, so that nobody loses what it leans on. */
enum child_stage { STOP_FRONTS, STOP_QUEUE, STOP_SERVICES, STOP_STAGES };

/* What a kind of daemon is, in one line of the table. */
struct child_kind {
	const char *name;			 /* of the daemon and of its binary */
	const char *listeners[CHILD_SERVICES];	 /* services of `listen` it takes */
	enum child_stage stop;			 /* when in a stop it is told to end */
	bool only_with_listener;		 /* not started without one */
	bool only_with_system_users;		 /* not started unless a domain has users of this machine */
	unsigned files;				 /* enum master_file_kind: those it is handed */
	bool tickets;				 /* has secrets for session tickets, the same in all processes of its kind */
	bool only_with_programs;		 /* not started when aliases lead to neither commands nor files */
	bool programs;				 /* knows the key of the grants for these */
	bool grant;				 /* knows the key of grants */
	bool control;				 /* has a control socket run/<name>.sock */
	const char *open_socket;		 /* NULL, or: has a socket run/<open_socket>.sock for everybody on this machine */
	enum conf_setting workers;		 /* CONF_COUNT: one process */
};

struct child {
	const struct child_kind *kind;
	struct master *master;
	enum child_state state;
	pid_t pid;
	struct ipc_conn *conn;
	struct event *restart;
	int64_t started_ms;	/* monotonic */
	uint32_t deaths;	/* since the suite started */
	uint32_t recent_deaths; /* within CHILD_TALLY_MS */
	uint32_t failed_starts; /* in a row */
	int64_t tally_ms;	/* when recent_deaths began */
	uint32_t worker;	/* 1, 2, ... when there are several */
	uint32_t asked;		/* the generation of a reload it has not answered yet; 0: none */
	uint32_t relinks;	/* connections made again within CHILD_RELINKS_MS */
	int64_t relinks_ms;	/* when relinks began */
	bool relinks_refused;	/* which the log has */
	bool reload_failed;	/* or the start; failure says why */
	struct err failure;
	struct master_stats stats;
	char note[512];
	bool stats_asked; /* of this process, for a status; stats_fresh: it has answered */
	bool stats_fresh;
};

extern const struct child_kind child_kinds[];

/* Fills master->children from the configuration; none runs yet. */
int children_plan(struct master *master, struct err *err);
/* Forks and execs one; what goes wrong later is seen by its end. */
int child_start(struct child *child, struct err *err);
/* Sends the new configuration and files to a running child, and notes that its answer is due. */
int child_reload(struct child *child, struct err *err);
void child_halt(struct child *child, uint32_t seconds);
/* The process has ended: decides about the restart. status as of waitpid. */
void child_ended(struct child *child, int status);

/* Do the connections of this service have TLS, from the beginning or by STARTTLS? */
bool child_service_has_tls(struct span service);

struct child *children_by_pid(struct master *master, pid_t pid);

#endif
