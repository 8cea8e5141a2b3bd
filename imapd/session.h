/*
 * An IMAP session after login: one process, confined to one account, that goes
 * straight through its commands. What it holds of the selected mailbox is the
 * list of UIDs; everything else is read from the index when it is asked for.
 */
#ifndef MW_IMAPD_SESSION_H
#define MW_IMAPD_SESSION_H

#include "base/buf.h"
#include "base/log.h"
#include "base/pool.h"
#include "imap/lex.h"
#include "imap/reader.h"
#include "imap/set.h"
#include "store/store.h"

enum {
	SESSION_INPUT_MAX = IMAP_LINE_MAX + IMAP_LITERALS_MAX + 64 * 1024,
	SESSION_OUTPUT_MAX = 8 * 1024 * 1024, /* one answer with its largest texts */
	SESSION_OUTPUT_FLUSH = 32 * 1024,     /* sent when this much has gathered */
	SESSION_POOL_MAX = 64 * 1024 * 1024,  /* of one command */
	SESSION_MESSAGE_MAX = 16 * 1024 * 1024, /* of one message within it */
	SESSION_BAD_MAX = 10,		      /* malformed commands in a row before the session ends */
	SESSION_WRITE_MS = 5 * 60 * 1000,     /* a client must take its answers within this */
	SESSION_END_MS = 3 * 1000,	      /* all that is left of them, when the session is to end */
};

/* The view comes from a session that hibernated, and was not yet held against the index. */
#define VIEW_RESUMED UINT64_MAX

/* The selected mailbox as this client knows it. */
struct view {
	uint32_t mailbox; /* id; 0: none is selected */
	bool read_only;
	uint32_t uidvalidity;
	uint32_t *uids; /* sequence number n is uids[n - 1] */
	size_t count, room;
	uint64_t modseq;       /* of the mailbox, up to which the client was told */
	uint64_t generation;   /* of the store then, or VIEW_RESUMED */
	uint32_t recent_from;  /* UIDs from here on are \Recent in this session */
	uint32_t recent_saved; /* what the store knows as taken */
	uint32_t keywords;     /* names in the mailbox's table when FLAGS was last sent */
};

/* What the client was not told yet. */
struct view_changes {
	struct pool *pool; /* of all that follows; NULL: nothing has changed */
	struct store_mailbox mailbox;
	struct store_message *messages; /* changed ones, and behind them new ones */
	size_t count, new_count;
	uint32_t *gone; /* UIDs */
	size_t gone_count;
};

struct session {
	int fd;	  /* the client; plain bytes */
	int wake; /* the spawner */
	struct store *store;
	struct pool *pool; /* of the running command */
	struct pool *message_pool; /* of the message it is at */
	uint64_t verified;	   /* number of the large message whose checksum was looked at last */
	struct buf in, out;
	struct imap_reader reader;
	struct view view;
	struct log_ctx log;
	char tag[IMAP_TAG_MAX + 1];
	const struct command *command; /* the running one */
	size_t command_len;	       /* of its bytes in front of `in` */
	bool uid;		       /* in its UID form */
	bool closing;		       /* nothing more is read */
	bool kicked;		       /* it is to end, not the suite */
	bool changed;		       /* the spawner has told of a change since session_watch() */
	int64_t end_ms;		       /* the spawner wants an end: by then (monotonic) all must have been taken; or 0 */
	bool hibernates;	       /* its spawner has taken it over: nothing more is said or written */
	int broken; /* 0, or the E_ that ended the connection */
	unsigned bad;
	int64_t timeout_ms;
	int64_t hibernate_ms; /* in IDLE, without anything to do; 0: never */
	uint64_t message_size; /* APPENDLIMIT */
	uint64_t commands;
	const char *user, *remote;
	unsigned undo_days;
};

enum { COMMAND_SELECTED = 1, COMMAND_NO_EXPUNGE = 2, COMMAND_UID = 4, COMMAND_NO_SYNC = 8 };

/*
 * One command. run: reads its arguments, does it and answers with
 * one of session_ok, session_no, session_fail, session_bad.
 */
struct command {
	struct span name;
	unsigned flags;
	void (*run)(struct session *s, struct imap_lex *lex);
};

struct session_start_options {
	int fd, wake, dir;
	uint64_t quota, message_size;
	int64_t timeout_ms, hibernate_ms;
	unsigned undo_days;
	const char *user, *remote, *tag;
	struct span input; /* bytes that came behind the login */
	struct span state; /* of one that hibernates: goes on with its IDLE, instead of greeting the client */
	int64_t left_ms; /* of its timeout */
};

enum { SESSION_EXIT_HIBERNATES = 10 };

/* The whole life of a session; returns the process's exit status. */
int session_main(const struct session_start_options *options);

/* ---- session.c: answers. All but bad tell the client what has changed first. ---- */

void session_ok(struct session *s, const char *text);
/* code: "READ-ONLY" or the like, may be empty. */
void session_ok_code(struct session *s, struct span code, const char *text);
void session_no(struct session *s, const char *code, const char *text);
/* The NO for an error of the suite's. */
void session_fail(struct session *s, int code, const struct err *err);
/* Malformed: text from the lexer. */
void session_bad(struct session *s, const char *text);
void session_bye(struct session *s, const char *text);
/* Because the spawner wants an end: E_UNAVAILABLE of session_fill(). */
void session_bye_wanted(struct session *s);
/* Something was expunged: of what is kept for undo no more stays than the quota allows. */
void session_bound_kept(struct session *s);
/* The tag at lex becomes the session's; "*" when there is none. */
void session_read_tag(struct session *s, struct imap_lex *lex);

/* ---- session_io.c ---- */

/* Waits for input, at most ms. 0, E_CLOSED, E_TIMEOUT; E_UNAVAILABLE: the suite stops, or the session is to end. watch: E_AGAIN when the account was written to. */
int session_fill(struct session *s, int64_t ms, bool watch);
/* True: the spawner wants an end. The client is told by session_bye_wanted(), at the end of what is being said. */
bool session_ends(struct session *s);
/* Asked now and then by what takes long. False: the client has gone, or the suite stops; s->broken or s->closing says so. */
bool session_goes_on(struct session *s);
/* Sends all that has gathered; sets broken when it cannot. */
void session_flush(struct session *s);
/* Sends what it can when much has gathered. True: the client does not take it all: end the read transaction, then session_flush. */
bool session_would_wait(struct session *s);
/* Asks the spawner to tell of changes, or to stop that. */
void session_watch(struct session *s, bool on);

/* ---- hibernate.c ---- */

/* Hands client and state to the spawner; s->hibernates then. False: it stays. */
bool session_hibernate(struct session *s, int64_t left_ms);
/* Takes up what session_hibernate sent. False: it was malformed, or there is no memory. */
bool session_resume(struct session *s, struct span state);

/* ---- view.c ---- */

/* recent: the first UID that was taken as \Recent, or UINT32_MAX. */
int view_open(struct session *s, const struct store_mailbox *mailbox, struct store_txn *txn, bool read_only, uint32_t recent,
    struct err *err);
void view_close(struct session *s);
/* Of a mailbox that is gone; writes nothing, and may be called within a transaction, which view_close may not. */
void view_forget(struct session *s);
/* Room for so many UIDs in all. */
bool view_reserve(struct view *view, size_t count);
/* view_close will have to write. */
bool view_is_unsaved(const struct view *view);
/* Tells the client what has changed: flags and new messages always, expunges when allowed. BYE when its mailbox is gone or was made anew. False: it could not look. */
bool view_sync(struct session *s, bool expunges);
/*
 * The same in two steps, for who has a transaction: what is found is told when that has ended, as a client may be slow to
 * take it. E_CLOSED after BYE; on errors nothing is to be told or freed. *changes: to be told, or freed.
 */
int view_look(struct session *s, struct store_txn *txn, bool expunges, struct view_changes *changes, struct err *err);
void view_tell(struct session *s, struct view_changes *changes);
/*
 * The same, of what was looked up before a change of one's own, whose modseq is given: that one need not be told. When others had changed flags
 * it is: one message may have both.
 */
void view_tell_before(struct session *s, struct view_changes *changes, uint64_t modseq);
void view_changes_free(struct view_changes *changes);
/* 1 and more, or 0. */
uint32_t view_sequence(const struct view *view, uint32_t uid);
/* The UIDs a set names, ascending, pooled. False and the command was answered when the set is malformed. */
bool view_resolve(struct session *s, struct span set, uint32_t **uids, size_t *count);
/* The flags of these messages as they are now, UIDs ascending. */
int view_tell_flags(struct session *s, const uint32_t *uids, size_t count, struct err *err);
/* "(\Seen work)" */
void view_put_flags(struct session *s, const struct store_mailbox *mailbox, const struct store_message *message);

/* ---- the commands ---- */

#define COMMAND_DECLARE(name) void command_##name(struct session *s, struct imap_lex *lex)
COMMAND_DECLARE(select);
COMMAND_DECLARE(examine);
COMMAND_DECLARE(close);
COMMAND_DECLARE(unselect);
COMMAND_DECLARE(expunge);
COMMAND_DECLARE(create);
COMMAND_DECLARE(delete);
COMMAND_DECLARE(rename);
COMMAND_DECLARE(subscribe);
COMMAND_DECLARE(unsubscribe);
COMMAND_DECLARE(list);
COMMAND_DECLARE(lsub);
COMMAND_DECLARE(status);
COMMAND_DECLARE(namespace);
COMMAND_DECLARE(append);
COMMAND_DECLARE(fetch);
COMMAND_DECLARE(store);
COMMAND_DECLARE(copy);
COMMAND_DECLARE(move);
COMMAND_DECLARE(search);
COMMAND_DECLARE(idle);

/* APPEND up to its message, which has not been taken from the connection: `line` ends in the literal. */
void append_literal(struct session *s, struct span line);
/* Waits in an IDLE that has begun: its last part, in another process. left_ms: until it has waited for too long. */
void idle_resume(struct session *s, int64_t left_ms);
/* True when line is an APPEND whose message is the literal at its end. */
bool append_is_next(struct session *s, struct span line);

#endif
