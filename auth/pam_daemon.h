/*
 * auth-pam: asks PAM and NSS on behalf of auth. Both run code of others, which may hang, leak or crash: so each question has a
 * process of its own and a deadline, and the daemon itself never calls either.
 */
#ifndef MW_AUTH_PAM_DAEMON_H
#define MW_AUTH_PAM_DAEMON_H

#include "base/secret.h"
#include "proc/daemon.h"

struct ipc_conn;
struct pam_tasks;

enum {
	PAM_USER_MAX = 64,
	PAM_STAMP = 16,
	PAM_TEXT_MAX = 256,
	PAM_LOGINS_MAX = 32,		/* conversations at once */
	PAM_LOGINS_WAITING_MAX = 256,
	PAM_FINDS_MAX = 8,		/* questions for users, whom no login that hangs may hold up */
	PAM_FINDS_WAITING_MAX = 4096,	/* an alias asks for all users that it leads to at once */
	PAM_DEADLINE_MS = 20 * 1000,	/* from the question to the answer */
};

/* One question. */
struct pam_question {
	bool find; /* a user; else a login */
	bool proved;
	char user[PAM_USER_MAX + 1];
	char service[17];
	char remote[65];
	struct secret password;
};

/* What the process that was at it says, in one write to a pipe. */
struct pam_result {
	int32_t code;
	uint32_t uid;
	uint64_t spent_us;
	unsigned char stamp[PAM_STAMP];
	char name[PAM_TEXT_MAX + 1];
	char text[PAM_TEXT_MAX + 1];
};

/* What a process needs to know of the settings. */
struct pam_settings {
	const char *service; /* of PAM */
	uint64_t first_uid;
	const unsigned char *stamp_key; /* PAM_STAMP octets */
};

/* pam_child.c: in the process of the question alone. It may never return. */
void pam_answer(const struct pam_question *question, const struct pam_settings *settings, struct pam_result *out);

/* pam_tasks.c: the questions that wait and those that have a process. deadline_ms: of each, PAM_DEADLINE_MS. NULL when out of memory. */
struct pam_tasks *pam_tasks_new(struct daemon *daemon, int64_t deadline_ms);
/* Answers on conn under id, now or later. question: copied, with its password. */
void pam_tasks_add(struct pam_tasks *tasks, struct ipc_conn *conn, uint32_t id, const struct pam_question *question);
/* The connection is gone, or the daemon ends: nobody is left to be answered. */
void pam_tasks_drop(struct pam_tasks *tasks);
void pam_tasks_stats(const struct pam_tasks *tasks, struct master_stats *stats);

#endif
