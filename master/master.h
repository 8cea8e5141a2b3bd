/* The supervisor's own state, shared by the files of this folder. */
#ifndef MW_MASTER_MASTER_H
#define MW_MASTER_MASTER_H

#include "control/paths.h"
#include "master/children.h"
#include "tls/tls.h"

#include <sodium.h>
#include <sys/types.h>
#include <time.h>

enum { MASTER_LISTENERS = 64, MASTER_GRANT_KEY = 32, MASTER_CERTIFICATES = 400, MASTER_FILES = 2 * MASTER_CERTIFICATES + 128 };

struct control_reply;

/* A bound socket. It stays open over reloads and restarts of daemons, so that no connection is refused. */
struct master_socket {
	char service[16];
	char address[128];
	int fd;
	bool wanted; /* by the configuration just read */
};

/*
 * What the daemons are handed: the configuration and the files that only root may read, all
 * in sealed memory as they were when the configuration was read. A daemon that is started
 * again gets what the others have, whatever has happened to the files since.
 */
struct master_settings {
	struct conf *conf;
	int conf_fd; /* the flattened text */
	struct master_file_copy *files;
	size_t file_count;
	struct err aliases; /* why the file of aliases is not the one that holds; code 0: it does */
};

/* Which daemons are handed a file. */
enum master_file_kind { FILE_CERTIFICATE = 1, FILE_KEY = 2, FILE_AUTHORITIES = 4, FILE_RESOLVER = 8, FILE_ALIASES = 16,
	FILE_WEB_AUTHORITIES = 32, FILE_CLIENT_SECRET = 64, FILE_RELAY = 128 };

struct master_file_copy {
	enum master_file_kind kind;
	char name[300]; /* what the daemons know it by */
	char path[4096];
	int fd; /* -1: part of another one, and watched only */
	/* Of the file as it was read: by them a change is seen. */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct master_reload {
	bool running;
	bool again;		       /* asked for meanwhile */
	struct control_reply *reply;   /* NULL: nobody waits for the outcome */
	struct control_reply *next;    /* waits for the outcome of the one after this one; NULL: nobody */
	struct event *timer;	       /* for a daemon that does not answer */
	struct master_settings before; /* what comes back when a daemon refuses */
	struct err failure;
	struct event *watch;
	uint64_t seen, tried; /* changes of files: as last looked at, and as last handed out */
	int64_t restless_ms; /* since when the files are another at each look; 0: they are at rest. Monotonic, as what follows */
	int64_t span_ms, last_ms; /* since when changes are counted, and of the last one */
	unsigned changes;
};

struct master {
	struct instance instance;
	struct master_settings now;
	struct conf *started; /* the configuration of the start: what only a restart changes */
	struct event_base *base;
	struct child children[CHILDREN_MAX];
	size_t child_count;
	struct master_socket sockets[MASTER_LISTENERS];
	size_t socket_count;
	unsigned char grant_key[MASTER_GRANT_KEY];
	unsigned char program_key[MASTER_GRANT_KEY]; /* of grants for commands and files, which queue cannot make */
	struct tls_tickets tickets; /* of which each kind of daemon has its own */
	int64_t tickets_ms;	    /* when those of now were drawn; since boot */
	struct event *tickets_look;
	struct sink *sink;
	int sink_fd;	 /* where our own lines go */
	int ready_fd;	 /* told when all are ready; -1 afterwards */
	uint32_t generation;
	struct master_reload reload;
	struct event *stop_timer;
	struct control_server *control;
	bool separate_users; /* started as root */
	bool stopping;
	bool foreground;
	int64_t started_ms;
	int exit_status;
	char libexec[4096];
};

/*
 * conf.c: reads configuration and files; *out is untouched when something is wrong with them. now: those that hold, or NULL; a
 * file of aliases that cannot be used is no error: the aliases of now stay.
 */
int settings_load(const struct instance *instance, const struct master_settings *now, struct master_settings *out, struct err *err);
/* The same configuration once more, with the files as they are now. */
int settings_renew(const struct instance *instance, const struct master_settings *now, struct master_settings *out, struct err *err);
void settings_free(struct master_settings *settings);
/* Room for one more file; NULL and *err when there are too many. For aliases.c. */
struct master_file_copy *settings_new_file(struct master_settings *settings, struct err *err);
/* A sealed copy in memory. */
int settings_seal(const char *name, struct span text, int *out, struct err *err);
/* Is one of the files another than the one that was read? Then *seen, by which one change is told from the next. */
bool settings_files_changed(const struct master_settings *settings, uint64_t *seen);

/* Adds what is wrong with the file of aliases; nothing when it is right. */
void aliases_note(const struct master *master, struct buf *out);
/* aliases.c: the file of the setting aliases and its lists, as one sealed text. What is wrong with them is logged. */
int settings_read_aliases(struct master_settings *settings, const struct master_settings *now, struct err *err);

/*
 * reload.c: reads the configuration again and hands it to all daemons. What one of them refuses
 * none keeps. Answers reply, at once or when the last daemon has answered; NULL: the log says it.
 */
void master_reload(struct master *master, struct control_reply *reply);
/* Watches the files of root's: when they have changed, and are at rest, they are handed out anew. */
int reload_watch_files(struct master *master, struct err *err);
void reload_on_timer(int fd, short what, void *arg); /* of master->reload.timer; arg is the master */
/* A child has answered, or ended. */
void reload_child_changed(struct master *master, const struct child *child);
/* The suite stops: whoever waits for a reload is told. */
void reload_abandon(struct master *master);
/* Adds what stands in the configuration and holds only after a restart; nothing when there is nothing. */
void reload_pending_restart(const struct master *master, struct buf *out);

/* tickets.c: draws the first secrets of session tickets, and from then on new ones for each period, which are sent to those who have them. */
int tickets_begin(struct master *master, struct err *err);
/* Sends a child what its kind has of them. */
int tickets_send(struct child *child);

/* Opens the log's target, or another one; refuses what cannot work and keeps the old. */
int master_open_log(struct master *master, const struct conf *conf, struct err *err);
void master_stop(struct master *master);
/* A child became ready, failed or ended. */
void master_child_changed(struct master *master, struct child *child);

/* run_directory.c: makes it and locks it. E_BUSY: another supervisor has this instance. */
int run_directory_take(const struct instance *instance, struct err *err);
/* When nothing that another supervisor may have is in the way any more: an older version's has no lock there. */
int run_directory_write_pid(const struct instance *instance, struct err *err);

/* listeners.c */
int listeners_open(struct master *master, struct err *err);
void listeners_close(struct master *master);
/* run/<name>.sock: mode 0600; with the setting control-group 0660 and of that group. *fd: the caller's. */
int control_socket_open(struct master *master, const char *name, int *fd, struct err *err);

/* control.c: status, stop, reload. */
int master_control_open(struct master *master, struct err *err);
void master_control_close(struct master *master);

#endif
