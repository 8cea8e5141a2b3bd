/*
 * pickup: mail from programs of this machine, by sendmail(1). A letter comes over the socket run/sendmail.sock, or lies in the
 * drop when the suite was down; either way it becomes a job: content copied into a spool file, made a message on the way,
 * and committed by queue.
 */
#ifndef MW_SUBMISSION_PICKUP_H
#define MW_SUBMISSION_PICKUP_H

#include "base/clock.h"
#include "intake/mend.h"
#include "local/complete.h"
#include "local/letter.h"
#include "local/lines.h"
#include "proc/daemon.h"
#include "smtp/address.h"
#include "smtp/tls_required.h"
#include "spool/spool.h"

#include <sys/types.h>

struct event;
struct ipc_conn;
struct listener;

enum {
	PICKUP_CLIENTS = 1000,
	PICKUP_CLIENTS_ROOT = 100,	/* of them kept for root */
	PICKUP_CLIENTS_USER = 50,	/* of one user, who is not root: past it the client uses the drop */
	PICKUP_CLIENT_MS = 60000,	/* from connecting to a whole letter */
	PICKUP_FILE_MS = 4000,		/* a letter waits so long for queue */
	PICKUP_SLICE = 256 * 1024,	/* of content, then others have their turn */
	PICKUP_COMPLETE_MAX = 8 * PICKUP_SLICE, /* a slice whose addresses have got their domains */
	PICKUP_REMEMBERED = 4096,	/* letters that came lately */
	PICKUP_DROP_JOBS = 32,		/* letters of the drop at once */
	PICKUP_DROP_USER = 16,		/* of one user, who is not root */
	PICKUP_DROP_LETTERS = 1000,	/* of one user, who is not root: past it, and past so many */
	PICKUP_DROP_OCTETS = 256 * 1024 * 1024, /* octets, sendmail(1) is told not to use the drop */
	PICKUP_DROP_OWNERS = 64,	/* users whose letters are counted, those who came first */
	PICKUP_DROP_TURN = 256,		/* names looked at in one turn of the loop */
	PICKUP_DROP_SOON_MS = 20,	/* others wait for their place */
	PICKUP_DROP_RETRY_MS = 2000,	/* queue could not take one */
	PICKUP_DROP_WRITING_S = 86400,	/* an unfinished file is that old: its writer is gone */
};

struct pickup;

/* What a message's header section may not be (tests/README.md, hostile input 8). */
struct header_watch {
	bool over;
	char line[TLS_REQUIRED_HEAD];
	size_t line_len;
	struct tls_required tls_required;
	uint64_t len;
	unsigned received;
};

enum job_state { JOB_WAITS_FILE, JOB_COPIES, JOB_COMMITS };

typedef void job_done(void *arg, int code, const char *qid, const char *text);

struct job {
	struct job *next, **link;
	struct pickup *pickup;
	enum job_state state;
	struct pool *pool;
	struct letter letter; /* pooled */
	uid_t uid;
	int fd; /* the content is in begin..end of it */
	uint64_t begin, at, end;
	struct event *timer; /* the next slice, or the end of waiting */
	/* The message to be. */
	int file; /* -1: none yet */
	uint64_t id, written;
	char qid[SPOOL_ID_TEXT], sender[SMTP_PATH_MAX + 1], date[CLOCK_RFC5322_MAX], message_id[160];
	struct buf from, out;
	struct lines lines;
	struct complete complete;
	struct mend mend;
	struct header_watch watch;
	bool eight_bit;
	job_done *done;
	void *arg;
};

struct remembered {
	uid_t uid;
	unsigned char handover[LETTER_HANDOVER];
	char qid[SPOOL_ID_TEXT];
};

struct pickup {
	struct daemon *daemon;
	struct ipc_conn *queue;
	struct listener *listener;
	struct client *clients;
	unsigned client_count;
	struct job *jobs;
	unsigned job_count;
	struct remembered remembered[PICKUP_REMEMBERED];
	size_t remembered_next;
	struct drop *drop;
	uint64_t total;
	bool halting;
};

/* ---- pickup.c ---- */
/* The domain of names without one. */
struct span pickup_domain(const struct pickup *pickup);
/* After halt: done when nothing is on its way. */
void pickup_try_finish(struct pickup *pickup);

/* ---- pickup_job.c ---- */
/* fd, pool (which holds the letter) are the job's from now on, whatever comes of it; done is called once, at once or later. */
void job_start(struct pickup *pickup, const struct letter *letter, struct pool *pool, uid_t uid, int fd, uint64_t begin, uint64_t end, job_done *done, void *arg);
/* Is this letter under way? */
bool job_runs(const struct pickup *pickup, uid_t uid, const unsigned char handover[LETTER_HANDOVER]);
/* What queue says. fd: owned, or -1 when there was no descriptor free for it. */
void job_file(struct pickup *pickup, uint64_t id, int fd);
void job_no_file(struct pickup *pickup, int code);
void job_committed(struct pickup *pickup, uint64_t id, int code, struct span text);
void jobs_queue_lost(struct pickup *pickup);
void jobs_queue_found(struct pickup *pickup);

/* ---- pickup_message.c: what becomes of the content ---- */
int message_begin(struct job *job, struct err *err);
/* One slice; *more: there is more of it. */
int message_copy(struct job *job, bool *more, struct err *err);
int message_encode_envelope(struct job *job, struct buf *out);

/* ---- pickup_client.c ---- */
void client_accept(struct pickup *pickup, int fd);
void clients_close(struct pickup *pickup);

/* ---- pickup_drop.c ---- */
/* The current directory is the drop. */
int drop_open(struct pickup *pickup, struct err *err);
void drop_close(struct pickup *pickup);
/* As much of this user's waits there as may. */
bool drop_is_full(const struct pickup *pickup, uid_t uid);

#endif
