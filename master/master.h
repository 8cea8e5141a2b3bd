/* The supervisor's own state, shared by the files of this folder. */
#ifndef MW_MASTER_MASTER_H
#define MW_MASTER_MASTER_H

#include "control/paths.h"
#include "master/children.h"

#include <sodium.h>

enum { MASTER_LISTENERS = 64, MASTER_GRANT_KEY = 32 };

/* A bound socket. It stays open over reloads and restarts of daemons, so that no connection is refused. */
struct master_socket {
	char service[16];
	char address[128];
	int fd;
	bool wanted; /* by the configuration just read */
};

struct master {
	struct instance instance;
	struct conf *conf;
	struct event_base *base;
	struct child children[CHILDREN_MAX];
	size_t child_count;
	struct master_socket sockets[MASTER_LISTENERS];
	size_t socket_count;
	unsigned char grant_key[MASTER_GRANT_KEY];
	struct sink *sink;
	int sink_fd;	 /* the end that children write to */
	int conf_fd;	 /* sealed memory with the flattened configuration */
	int ready_fd;	 /* told when all are ready; -1 afterwards */
	uint32_t generation;
	struct event *stop_timer;
	struct control_server *control;
	bool separate_users; /* started as root */
	bool stopping;
	bool foreground;
	int64_t started_ms;
	int exit_status;
	char libexec[4096];
};

/* conf.c: the configuration, flattened into sealed memory. Refuses a bad one and keeps the old. */
int master_load_conf(struct master *master, struct err *err);
/* Hands the configuration to all children; the first refusal is in *err. */
int master_reload(struct master *master, struct err *err);
void master_stop(struct master *master);
/* A child became ready, failed or ended. */
void master_child_changed(struct master *master, struct child *child);

/* listeners.c */
int listeners_open(struct master *master, struct err *err);
void listeners_close(struct master *master);
/* run/<name>.sock: mode 0600; with the setting control-group 0660 and of that group. *fd: the caller's. */
int control_socket_open(struct master *master, const char *name, int *fd, struct err *err);

/* control.c: status, stop, reload. */
int master_control_open(struct master *master, struct err *err);
void master_control_close(struct master *master);

#endif
