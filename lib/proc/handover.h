/* What master hands to a daemon besides the configuration: files, listeners, secrets, connections to others. */
#ifndef MW_PROC_HANDOVER_H
#define MW_PROC_HANDOVER_H

#include "base/err.h"
#include "ipc/ipc.h"

enum {
	HANDED_FILES = 1024,
	HANDED_LISTENERS = 128,
	HANDED_SECRETS = 8,
	HANDED_PEERS = 64, /* that come before the loop runs: one for each other daemon there may be */
};

struct handed_listener {
	char name[32];
	char address[128];
	int fd;
};

struct handed_file {
	char *name;
	int fd;
};

struct handed_files {
	struct handed_file *all; /* as many as there are */
	size_t count;
};

struct handed_secret {
	char name[32];
	unsigned char value[64];
	size_t len;
};

struct handed_peer {
	char service[32];
	char role[32];
	bool serving;
	int fd;
};

struct handover {
	struct handed_listener listeners[HANDED_LISTENERS];
	size_t listener_count;
	struct handed_files files; /* in force */
	struct handed_files next;  /* come since; go says that they are all */
	struct handed_secret secrets[HANDED_SECRETS];
	size_t secret_count;
	struct handed_peer peers[HANDED_PEERS];
	size_t peer_count;
};

/* Keeps what m brings; owns its descriptor. A file waits among the next ones; it and a secret take the place of one of the same name. E_PROTO, E_LIMIT, E_NOFILES. */
int handover_take(struct handover *h, struct ipc_message *m);
/* The next files are in force, and those that were are the next ones: done again, all is as it was. */
void handover_swap_files(struct handover *h);
/* Closes the next files. */
void handover_drop_next(struct handover *h);

/* As daemon_listeners, daemon_file and daemon_secret (daemon.h). */
size_t handover_listeners(const struct handover *h, const char *name, int *fds, char (*addresses)[128], size_t max);
int handover_file(const struct handover *h, const char *name);
bool handover_secret(struct handover *h, const char *name, void *out, size_t size);

#endif
