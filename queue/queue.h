/*
 * The queue's own state. A message is "active" while something is done with it
 * (a struct message in memory) and "deferred" while it waits: then what lists show of
 * it is kept (waiting.h), and it is read again from its file when it is due.
 */
#ifndef MW_QUEUE_QUEUE_H
#define MW_QUEUE_QUEUE_H

#include "base/pool.h"
#include "proc/daemon.h"
#include "proc/grant.h"
#include "queue/clock.h"
#include "spool/spool.h"

struct ipc_conn;
struct disk;
struct removal;

enum {
	QUEUE_CHANNELS = 256,	       /* accounts whose worker is known */
	QUEUE_CHANNEL_IN_FLIGHT = 128, /* deliveries at once into one account */
	QUEUE_CHANNEL_WAITING = 1024 * 1024, /* bytes that wait for a worker to read; then no more are sent */
	QUEUE_INLINE_MAX = 32 * 1024,  /* content that travels in deliver_message itself: its field's maximum */
	QUEUE_SPARES_MAX = 1024,      /* files that wait to be used again */
	QUEUE_ACTIVE_BUCKETS = 4096,
	QUEUE_ACTIVE_MAX = 8000,       /* messages in memory, an open file each; past it they wait in their files */
	QUEUE_HANDED_MAX = 4096,       /* files that clients are writing, or that are being committed; accept.c says who may have how many */
	QUEUE_RUNS_MAX = 16,	       /* commands of aliases at once */
	QUEUE_RUNS_EACH = 4,	       /* of one alias: slow ones leave room for others */
	QUEUE_PATH = 32,
	QUEUE_SENDERS = 4096,	       /* places that senders share by chance */
	QUEUE_DIRECTORIES = 32,	       /* one a base32 digit */
};

enum target_state { TARGET_PENDING, TARGET_IN_FLIGHT, TARGET_DONE, TARGET_DEFERRED, TARGET_FAILED,
	TARGET_PUT_OFF, /* not tried: its destination is known to be dead, or has enough */
	TARGET_AGAIN }; /* sent again at once */

/* What its message's file says of a target that is done: nothing; it is being written; that it is; it could not be written yet. */
enum target_note { NOTE_NONE, NOTE_BEGUN, NOTE_DURABLE, NOTE_FAILED };

/* Where one recipient's copy goes. An alias has several. */
struct target {
	struct target *next;
	struct target *job_next; /* of the same job for relay */
	struct message *message;
	uint32_t recipient;
	uint64_t account; /* 0: a remote address */
	uint64_t quota;
	struct span address;
	struct span detail;
	struct span sender; /* in place of the envelope's: the owner of an alias; empty: none */
	/* A command or a file of an alias (agent.def), by auth's word. */
	uint32_t kind; /* 0: neither */
	struct span name, program, grant;
	enum target_state state;
	enum target_note note;
	struct span text; /* the last answer */
};

struct recipient_state {
	enum spool_status status; /* PENDING, DELIVERED, DEFERRED, FAILED, EXPIRED */
	uint32_t attempts;
	int64_t tried; /* when it was tried last, queue's time; 0: not yet, or not known */
	bool dirty;    /* changed since the file was written */
	bool told;     /* its DSN is queued */
	bool told_noted; /* its file says so */
	bool warned;   /* so is that of its delay */
	bool incomplete; /* there was no memory for all its targets */
	bool anew;     /* requeued: where it leads is asked again */
	bool elsewhere; /* where message_is_unasked: auth has said so since the start */
	bool expanding; /* it is being asked: further targets may come */
	struct span way; /* where an administrator sends it, as in SPOOL_REROUTED; empty: where it goes by itself */
	struct span owner; /* who is told of its failure or delay, when that is not the sender */
	bool owner_new; /* the file does not say so yet */
	struct span text;
};

struct message {
	struct message *bucket_next;
	struct queue *queue;
	struct pool *pool;
	uint64_t id;
	int fd;
	struct spool_file file;
	struct recipient_state *states; /* one for each recipient */
	struct target *targets;
	unsigned busy;	/* targets and questions under way */
	bool held, warned;
	bool let_go;	      /* given up while it was held, as its file still says */
	bool warning_noted;   /* its file says that it was warned */
	bool deleted;	      /* its file is gone; what is under way ends first */
	bool writing;	      /* records are on their way into the file */
	bool retried;	      /* the schedule has read it from its file */
	bool flushed;	      /* meanwhile an administrator wants it to be tried now */
	bool lent;	      /* a worker was handed a descriptor of the file */
	uint32_t client;      /* who wrote the file, see accept.c; 0: read from the spool, or a message of our own */
	bool dsn_pending;
	int again_s;	      /* how long it waits before its records are written once more */
	bool anew; /* an administrator wants it to begin again, at once */
	uint32_t sender;      /* place in queue.senders */
	int64_t next; /* when it is tried again, by queue's time, as put_off */
	int64_t put_off; /* not before that: what was put off comes then; 0: nothing was */
};

/* Questions to auth, oldest first. */
struct expansion_list {
	struct expansion *first, **tail;
};

struct client;
struct channel;
struct run;
struct waiting_set;
struct recovery;

struct queue {
	struct daemon *daemon;
	struct queue_clock clock;
	struct disk *disk;
	struct removal *removal;
	struct ipc_conn *auth;
	struct ipc_conn *deliver;
	struct ipc_conn *relay;
	unsigned relay_mails; /* of its own, that are being written */
	struct destinations *destinations;
	struct job *jobs; /* with relay */
	struct job *new_jobs, **new_jobs_tail; /* made in this turn of the loop */
	struct event *turn, *rate; /* new jobs; destinations that have to be slow */
	int64_t rate_ms; /* when the second is due; 0: it is not armed */
	uint32_t last_job;
	struct sending *sendings; /* domains whose senders have a limit */
	struct event *sending_turn;
	struct control_server *control;
	struct client *clients;
	struct channel *channels;
	unsigned channel_count;
	struct ipc_conn *agent;
	struct run *runs, *runs_waiting, **runs_tail; /* the agent has them; they wait, oldest first */
	unsigned run_count;
	uint32_t last_run;
	struct message *active[QUEUE_ACTIVE_BUCKETS];
	unsigned active_count, active_max;
	unsigned retried_count; /* of the active ones */
	uint16_t senders[QUEUE_SENDERS + 1]; /* how many active messages each has */
	unsigned handed_count, handed_max;
	unsigned spare_count, spare_max; /* the three maxima leave descriptors for everything else */
	struct waiting_set *waiting;
	struct event *timer;	/* of the first that is due */
	struct event *watch;	/* for workers that hang */
	struct recovery *recovery; /* while files of before the start are read */
	uint64_t last_id;
	uint32_t last_question;
	uint32_t last_change; /* of many messages at once */
	uint32_t last_client;
	struct explanation *explanations; /* for administrators, under way */
	struct expansion_list expansions, expansions_waiting; /* auth has them, and answers in this order; what had no room in the channel */
	unsigned char key[SPOOL_KEY];
	unsigned char grant_key[GRANT_KEY];
	uint64_t accepted, delivered;
	char note[64]; /* for `mailwain status` */
	bool halting;
};

/* The time, by queue's own clock: what is decided is decided by this one. */
static inline int64_t queue_now(const struct queue *queue)
{
	return queue_clock_ms(&queue->clock) / 1000;
}

/* ---- main.c ---- */
/* After halt: done when nothing is on its way to the disk or to a worker. What waits is safe in its file. */
void queue_try_finish(struct queue *queue);

/* ---- files.c ---- */
void queue_path(uint64_t id, char out[QUEUE_PATH]);
/* The i-th of QUEUE_DIRECTORIES. */
void queue_directory(unsigned i, char out[QUEUE_PATH]);
unsigned queue_directory_of(uint64_t id);
int queue_sync_directory(const char *path, struct err *err);
int queue_open_file(uint64_t id, int flags, int *fd, struct err *err);
int queue_make_directories(struct err *err);
int queue_load_key(struct queue *queue, struct err *err);
void queue_set_aside(struct queue *queue, uint64_t id, const char *why);
/* A small file beside the messages: whole, under another name first; durable when it returns. Only one thread a name. */
int queue_write_file(const char *name, const char *new_name, struct span text, struct err *err);
/* Appends at most size octets. E_CORRUPT: no plain file. */
int queue_read_file(const char *name, size_t size, struct buf *out, struct err *err);
void queue_set_file_aside(struct queue *queue, const char *name, const char *to, const struct err *why);

/* ---- disk.c: threads that write and sync, so that the loop never waits ---- */
enum disk_kind { DISK_COMMIT, DISK_APPEND, DISK_WORK };

struct disk_job {
	struct disk_job *next;
	enum disk_kind kind;
	uint64_t id;
	int fd;
	struct spool_commit commit; /* of DISK_COMMIT */
	struct buf envelope;	    /* the octets of its envelope */
	struct spool_record *records; /* owned */
	size_t record_count;
	int code;
	struct err err;
	void (*work)(struct disk_job *job); /* of DISK_WORK: by the thread, with what no other thread and not the loop has */
	void (*done)(struct disk_job *job); /* on the loop; frees arg's part, the job is freed after it */
	void *arg;
};

int disk_new(struct queue *queue, unsigned threads, bool strict, struct disk **out, struct err *err);
void disk_submit(struct disk *disk, struct disk_job *job);
/* Waits until everything submitted is on the disk; `done` comes later, on the loop. Until then no thread touches a file. */
void disk_settle(struct disk *disk);
unsigned disk_waiting(const struct disk *disk);
/* DISK_WORK of its own, on a message's file, or 0; false: no memory. */
bool disk_work(struct disk *disk, uint64_t id, void (*work)(struct disk_job *job), void (*done)(struct disk_job *job), void *arg);

/* ---- removal.c: files that are done with ---- */
int removal_new(struct queue *queue, struct err *err);
/* The file of id is unlinked, by a disk thread; a failure is tried again. durable: then removal_sync_soon. */
void removal_unlink(struct queue *queue, uint64_t id, bool durable);
/* A tenth of a second later the last such removal is synced, and with it, on ext4 and xfs, all before it. */
void removal_sync_soon(struct queue *queue, uint64_t id);
/* What is due of that, at once: queue ends. */
void removal_sync_now(struct queue *queue);
/* Unlinks job->id; also for change.c, which syncs by itself. E_NOTFOUND: it had gone. */
void removal_job(struct disk_job *job);

/* ---- accept.c: files handed out, commits ---- */
void client_new(struct queue *queue, struct span role, int fd);
/* A message is done with: its file serves its client again (fd is taken), or is removed. durable: then removal_sync_soon. */
void accept_retire(struct message *message, bool durable);
/* A message of our own (a DSN, a report of relay's). content and envelope are copied. done(arg, code) on the loop. */
int accept_own(struct queue *queue, struct span content, const struct spool_envelope *envelope,
    void (*done)(void *arg, int code), void *arg);

/* ---- message.c ---- */
/*
 * May one more of this sender (a place in queue.senders) be active? Nobody has more than half of all places, and the last quarter is for
 * those who have few: who sends a hundred thousand at once does not keep others' mail waiting.
 */
uint32_t message_sender(const struct queue *queue, const struct spool_envelope *envelope);
bool message_has_room(const struct queue *queue, uint32_t sender);
struct message *message_find(struct queue *queue, uint64_t id);
/* From a file already read or just committed; owns fd and pool. */
struct message *message_new(struct queue *queue, int fd, struct pool *pool, const struct spool_file *file);
/* E_CORRUPT: set aside already. */
int message_load(struct queue *queue, uint64_t id, bool content_too, struct message **out, struct err *err);
void message_free(struct message *message);
/* Does whatever can be done now. */
void message_run(struct message *message);
/* Somebody or a thread has it: what is changed of it counts when that ends. */
static inline bool message_is_under_way(const struct message *m)
{
	return m->busy > 0 || m->dsn_pending || m->writing;
}
static inline bool message_is_open(const struct recipient_state *state)
{
	return state->status == SPOOL_PENDING || state->status == SPOOL_DEFERRED;
}
/* Who handed it in has not asked auth about its recipients: notifications, reports, and letters of this machine, which are taken while auth is away. */
static inline bool message_is_unasked(const struct message *message)
{
	return message->file.envelope.source == SPOOL_FROM_BOUNCE || message->file.envelope.source == SPOOL_FROM_LOCAL;
}
/* Which recipient stands for it in lists: the first that is open; of a message that has none the first. */
size_t message_shown(const struct message *message);
/* Its memory is freed, and it waits in its file for its next turn; or it is done with. */
void message_rest(struct message *message);
void message_remove(struct message *message);
/* An administrator gives it up: its sender is told. Not while something is under way. */
void message_bounce(struct message *message);
/* Something under way has ended. */
void message_step(struct message *message);
void target_result(struct target *target, int code, struct span text);
/* The same with a whole reply, "450 4.2.0 ..." */
void target_reply(struct target *target, int code, struct span line);
/* Not tried, and not before `until` (queue's time). why: as in target_reply, for the first time and when it is time to tell the sender. */
void target_put_off(struct target *target, int64_t until, struct span why, bool tells);
/*
 * The content for another process: into buffer (`size` octets), when it is small; else *fd is a new descriptor, read only, the
 * caller's. A fault of this machine is temporary.
 */
int message_content(struct message *message, char *buffer, size_t size, struct span *small, int *fd);
/* A descriptor of its file, read only; the file is not used again. */
int message_lend(struct message *message, int *fd);
struct target *message_add_target(struct message *message, uint32_t recipient, uint64_t account, uint64_t quota,
    struct span address, struct span detail);
/* Who is the sender of this copy. The null sender stays: nothing answers a notification. */
struct span target_sender(const struct target *target);
/* One that takes messages by the agent; what it is stands in body. */
struct target *message_add_program(struct message *message, uint32_t recipient, const struct auth_target *body);

/* ---- agent.c: commands and files of aliases ---- */
void agent_target(struct target *target);
void agent_service(struct queue *queue, int fd);
void agent_forget(struct message *message);
bool agent_flying(const struct queue *queue);
/* What waits for an agent that does not come is put off. */
void agent_look(struct queue *queue);

/* ---- reroute.c: requeue and reroute ---- */
/* What an administrator says of waiting recipients. */
struct reroute {
	struct span destination; /* those that go there now; empty: all */
	char way[SPOOL_TEXT_MAX]; /* as in SPOOL_REROUTED */
};
/* --to: a pattern of the configuration, HOST or HOST:PORT, or "-". E_SYNTAX. */
int reroute_parse(const struct conf *conf, struct span to, struct reroute *out, struct err *err);
/* Does it concern anybody who waits? */
bool reroute_concerns(const struct message *message, const struct reroute *reroute);
/* Both count when they stand in the file. Not while a thread writes into it. */
int reroute_message(struct message *message, const struct reroute *reroute, struct err *err);
int requeue_message(struct message *message, struct err *err);
/* What these two have written, as it is read again. */
void requeue_apply(struct message *message);

/* ---- done.c ---- */
/* Only our record keeps it from having the message twice. */
bool target_is_noted(const struct target *target);
/* Of those behind an alias: has it had the message at an earlier attempt? And the text of the record that says so. */
bool target_was_done(struct target *target);
/* All there is for its recipient: when it has its copy, the recipient has. */
bool target_is_all(const struct target *target);
struct span target_done_text(const struct target *target);

/* ---- record.c: all of these write by a thread; the first two end in message_rest ---- */
/* Too early for it (RFC 4865). */
void record_keep(struct message *message);
/* What changed about its recipients. */
void record_rest(struct message *message);
/* Something has become of it that its file does not say yet. */
bool record_is_owed(const struct message *message);
/* Those that have their copy, and of whom only our record knows, while others are under way. */
void record_done(struct message *message);

/* ---- deliver.c ---- */
void deliver_target(struct target *target);
void deliver_service(struct queue *queue, int fd);
int deliver_watch(struct queue *queue, struct err *err);
void deliver_forget(struct message *message);
bool deliver_flying(const struct queue *queue);

/* ---- expand.c ---- */
void expand_recipient(struct message *message, uint32_t recipient);
/* Asks what has not been asked: auth was away, or its channel full. */
void expand_go_on(struct queue *queue);
void auth_service(struct queue *queue, int fd);
void expand_forget(struct message *message);

/* ---- explain.c: where would a message go? ---- */
struct control_reply;
struct ipc_message;
/* Rows and the end of the reply come later. sender: empty, or an address. */
void explain_begin(struct queue *queue, struct control_reply *reply, struct span address, struct span sender);
/* An answer of auth to none of its expansions; false: nor to this. */
bool explain_auth(struct queue *queue, const struct ipc_message *m);
void explain_relay(struct queue *queue, const struct ipc_message *m);
/* What they were asked will not be answered. */
void explain_lost(struct queue *queue, bool relay);

/* ---- schedule.c ---- */
void schedule_add(struct queue *queue, uint64_t id, int64_t next, bool held);
/* As its file says: held, at its sender's wish (RFC 4865), or when it is tried again. */
void schedule_message(const struct message *message);
/* The sender's wish is for a later time. */
bool schedule_is_early(const struct message *message);
/* When it came, by queue's time. */
int64_t schedule_came(const struct message *message);
/* Seconds that it has been in the queue, but for those its sender wished: by them it is warned of and given up. */
int64_t schedule_age(const struct message *message);
/* When its life in the queue begins, by the clock of the machine when it came. */
static inline int64_t schedule_begin(const struct spool_envelope *envelope)
{
	return envelope->release > envelope->arrived ? envelope->release : envelope->arrived;
}
bool schedule_remove(struct queue *queue, uint64_t id);
struct waiting;
/* The machine's clock was set: a wish that it has come to is due. */
void schedule_wish(struct queue *queue, struct waiting *waiting);
/* It is tried now; false: it is held, or its sender wished a later time. */
bool schedule_now(struct queue *queue, struct waiting *waiting);
void schedule_start(struct queue *queue);
/* Seconds until attempt number `attempts` + 1: doubling, with jitter. */
int64_t schedule_backoff(const struct conf *conf, uint32_t attempts);

/* ---- dsn.c ---- */
enum dsn_kind { DSN_FAILURE, DSN_DELAY, DSN_SUCCESS };
/* Which recipients have to be reported now; 0 when none. */
size_t dsn_due(struct message *message, enum dsn_kind kind, uint32_t *recipients);
/* Somebody is still to be warned of its delay, when it has lasted long enough. */
bool dsn_warns(const struct message *message);
int dsn_send(struct message *message, enum dsn_kind kind, const uint32_t *recipients, size_t count);

/* ---- dsn_report.c ---- */
struct buf;
enum { DSN_MAX = 16 * 1024 * 1024 };
/* The notification, a whole message. to: an address; empty: postmaster here. utf8: it needs SMTPUTF8. E_NOMEM. */
int dsn_report(const struct message *message, enum dsn_kind kind, const uint32_t *recipients, size_t count, struct span to, struct buf *out, bool *utf8);

/* ---- recover.c, list.c, control.c ---- */
int recover_start(struct queue *queue, struct err *err);
/* Files of before the start that are not known yet. */
size_t recover_left(const struct queue *queue);
/* It was deleted: what may just have been read of it counts no more. */
void recover_forget(struct queue *queue, uint64_t id);
const char *queue_status_name(enum spool_status status);
void queue_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input,
    struct span secret);

#endif
