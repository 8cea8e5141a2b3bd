/*
 * The agent: gives messages to the commands and files of aliases. The daemon (agent.c) forks a supervisor for each message;
 * that (agent_run.c) writes the message down as they expect it, forks the one that becomes the user, and watches it.
 */
#ifndef MW_LMTP_AGENT_H
#define MW_LMTP_AGENT_H

#include "base/err.h"
#include "ipc/ipc.h"

#include <sys/types.h>

enum {
	AGENT_RUNS_MAX = 32,	     /* at once; queue asks for fewer */
	AGENT_TEXT_MAX = 256,	     /* of an answer */
	AGENT_PROGRAM_MAX = 1024,    /* of a command or a path: the field's maximum */
	AGENT_OUTPUT_MAX = 4096,     /* kept of what a command says; the rest is read and thrown away */
	AGENT_LOCK_S = 30,	     /* how long a file may be locked by others */
	AGENT_FILES = 1024,	     /* descriptors of a command */
};

enum agent_kind { AGENT_PIPE = 1, AGENT_FILE = 2 };

/* What a run needs of the configuration. */
struct agent_rules {
	const char *fallback; /* the user of names that are none */
	const char *prefix;   /* of the suite's own users, who run nothing */
	int64_t timeout_ms;
};

/* Whose rights a run has. */
struct agent_user {
	uid_t uid;
	gid_t gid;
	char name[64];
	char home[4096];
	bool ours; /* this process is that user already, and can be no other */
};

/* agent_user.c: E_DENIED: root, or one of the suite's own; E_UNAVAILABLE: there is no such user, or it cannot be had. */
int agent_user_find(struct span name, const struct agent_rules *rules, struct agent_user *out, struct err *err);
/* For good: groups, user, directory. Fails closed. */
int agent_user_become(const struct agent_user *user, struct err *err);

/*
 * agent_run.c, in the supervisor: does all of it and says how it ended. content: the message. ask: borrowed. text:
 * AGENT_TEXT_MAX bytes. 0 or an E_ code.
 */
int agent_run(const struct agent_run *ask, int content, const struct agent_rules *rules, char *text);

/* agent_file.c, as the user: appends standard input to the file. Returns an exit status of sysexits(3), having said why on standard output. */
int agent_file_append(const char *path);

#endif
