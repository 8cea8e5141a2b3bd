/*
 * The mail store of one account: mailboxes, messages, one change log.
 *
 * Everything is a transaction on an opened account. LMDB and files stay behind
 * this header; another backend can stand behind it. One process may open one
 * account once; any number of processes may have it open.
 * Legal states on disk and who repairs what: doc/store.md.
 */
#ifndef MW_STORE_STORE_H
#define MW_STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/span.h"

enum {
	STORE_NAME_MAX = 1000,	  /* bytes of a mailbox name, UTF-8, '/' between levels */
	STORE_DEPTH_MAX = 32,	  /* levels of a mailbox name */
	STORE_MAILBOXES_MAX = 5000, /* that can be made; names that only hold others count */
	STORE_SUBSCRIPTIONS_MAX = 10000,
	STORE_KEYWORDS_MAX = 64,  /* keywords of one mailbox */
	STORE_KEYWORD_MAX = 128,  /* bytes of a keyword */
	STORE_KEY = 16,		  /* bytes of a delivery key */
};

struct store;	  /* an opened account */
struct store_txn; /* a read or write transaction */

/* System flags (RFC 3501 section 2.3.2). \Recent is not a flag of the message: see mailbox.recent_uid. */
enum store_flag {
	STORE_SEEN = 1,
	STORE_ANSWERED = 2,
	STORE_FLAGGED = 4,
	STORE_DELETED = 8,
	STORE_DRAFT = 16,
};

/* Special uses (RFC 6154), one bit each. */
enum store_use {
	STORE_USE_ARCHIVE = 1,
	STORE_USE_DRAFTS = 2,
	STORE_USE_JUNK = 4,
	STORE_USE_SENT = 8,
	STORE_USE_TRASH = 16,
};

struct store_mailbox {
	uint32_t id; /* never reused within the account */
	struct span name;
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint32_t recent_uid; /* UIDs from here on are \Recent for the next session that takes them */
	uint32_t exists;
	uint32_t unseen;
	uint64_t size;	 /* sum of message sizes */
	uint64_t modseq; /* highest of any change in it */
	uint32_t use;	 /* enum store_use bits */
	bool subscribed;
	bool noselect; /* only there to hold children; has no messages */
	struct span keywords[STORE_KEYWORDS_MAX]; /* bit i of a message's keywords; empty: free */
};

/* One message in one mailbox: fixed size, so that a mailbox is scanned quickly. */
struct store_message {
	uint32_t uid;
	uint32_t flags;	   /* enum store_flag bits */
	uint64_t keywords; /* bits of the mailbox's table */
	uint64_t modseq;
	uint64_t number;  /* of the message file and its facts */
	int64_t arrived;  /* INTERNALDATE, seconds since 1970 */
	uint32_t size;	  /* octets, CRLF line ends */
	uint32_t origin; /* mailbox in the file's name: where it was filed first */
	uint64_t sum;	 /* checksum of the file's content, wyhash; 0: not known */
};

/*
 * What was found out once, at delivery, about a message file. The texts are
 * exactly what IMAP sends (RFC 3501 section 7.4.2).
 */
struct store_facts {
	uint32_t header_size; /* with the empty line */
	uint64_t header_sum;  /* checksum of the header */
	int64_t sent;	      /* what the clock of the Date header showed, as if that were UTC, seconds since 1970; arrival when there is none */
	struct span envelope;	   /* "(date subject ...)" */
	struct span body;	   /* BODY */
	struct span bodystructure; /* BODYSTRUCTURE */
	struct span parts;	   /* lib/mime/structure.h: where every part lies, encoded */
};

struct store_options {
	bool create;	  /* make the account with INBOX and the special-use mailboxes when it is not there */
	uint64_t quota;	  /* bytes, 0 for none */
};

/*
 * dir: descriptor of the account's directory (stays the caller's). Repairs what
 * a crash left; rebuilds a lost or damaged index from the message files and
 * says so in *rebuilt (may be NULL). 0, E_NOTFOUND, E_CORRUPT, E_IO, ...
 */
int store_open(struct store **out, int dir, const struct store_options *options, bool *rebuilt,
    struct err *err);
void store_close(struct store **store);
/* The quota of appends and copies from here on; bytes, 0 for none. */
void store_set_quota(struct store *store, uint64_t quota);

/* Changes with every commit by whatever process: cheap to ask, compare for equality. */
uint64_t store_generation(struct store *store);

/* Read transactions see one moment; keep them short. Only one transaction at a time per store. */
int store_begin(struct store *store, bool write, struct store_txn **out, struct err *err);
/* A read transaction that sees at least what store_generation() told. */
int store_begin_after(struct store *store, uint64_t generation, struct store_txn **out, struct err *err);
/* Durable when it returns 0. On failure nothing was changed. *txn ends either way. */
int store_commit(struct store_txn **txn, struct err *err);
void store_abort(struct store_txn **txn);

/* ---- mailboxes ---- */

/* Names in byte order. Spans in *mailbox are borrowed during the call. Return other than 0 from fn to stop. */
int store_mailbox_each(struct store_txn *txn,
    int (*fn)(void *arg, const struct store_mailbox *mailbox), void *arg);
int store_mailbox_by_name(struct store_txn *txn, struct span name, struct store_mailbox *out,
    struct err *err);
int store_mailbox_by_id(struct store_txn *txn, uint32_t id, struct store_mailbox *out,
    struct err *err);

/* UTF-8, no controls, no empty level, no '*' '%', at most STORE_NAME_MAX and _DEPTH_MAX. INBOX in any case, as a whole name or its first level. */
int store_mailbox_check_name(struct span name, struct err *err);

/* Makes missing parents too. E_EXISTS, E_CANNOT (name), E_LIMIT. */
int store_mailbox_create(struct store_txn *txn, struct span name, uint32_t use, uint32_t *id,
    struct err *err);
/* Children stay (the mailbox then becomes noselect); E_CANNOT for INBOX. */
int store_mailbox_delete(struct store_txn *txn, uint32_t id, struct err *err);
/* Children move along; INBOX: its messages move and INBOX stays (RFC 3501 section 6.3.5). */
int store_mailbox_rename(struct store_txn *txn, uint32_t id, struct span name, struct err *err);
/* E_CANNOT (name), E_LIMIT. */
int store_mailbox_subscribe(struct store_txn *txn, struct span name, bool on, struct err *err);
/* Names that are subscribed, whether or not the mailbox exists. */
int store_subscription_each(struct store_txn *txn, int (*fn)(void *arg, struct span name), void *arg);

/* ---- messages ---- */

/*
 * All messages of a mailbox in UID order, some at a time: borrowed during the call. What fn returns other than 0
 * ends it and is returned; it should be an E_.
 */
typedef int store_message_visit(void *arg, const struct store_message *messages, size_t count);
int store_message_each(struct store_txn *txn, uint32_t mailbox, store_message_visit *fn, void *arg, struct err *err);

/* Only the UIDs, and which of them are without \Seen: much less to read. In UID order; fn as above. */
typedef int store_uid_visit(void *arg, uint32_t uid, bool unseen);
int store_uid_each(struct store_txn *txn, uint32_t mailbox, store_uid_visit *fn, void *arg, struct err *err);

/*
 * All messages of a mailbox in UID order, into an array from pool. modseq: only
 * those changed after it (0: all).
 */
int store_message_list(struct store_txn *txn, uint32_t mailbox, uint64_t modseq, struct pool *pool,
    struct store_message **out, size_t *count, struct err *err);
int store_message_get(struct store_txn *txn, uint32_t mailbox, uint32_t uid,
    struct store_message *out, struct err *err);
/* Spans borrow the transaction. E_NOTFOUND when they have to be made again. */
int store_facts_get(struct store_txn *txn, uint64_t number, struct store_facts *out, struct err *err);
/* The same from the whole message; arrived: its INTERNALDATE. Texts are pooled. E_NOMEM. */
int store_facts_find(struct span message, int64_t arrived, struct pool *pool, struct store_facts *out, struct err *err);
/* The file, read only; the caller closes it. E_CORRUPT when it is missing or its size is not what the index says. */
int store_file_open(struct store *store, const struct store_message *message, int *fd, struct err *err);
/* The whole content of its file; E_CORRUPT when the checksum does not fit. What was not looked at must not be shown. */
int store_file_verify(const struct store_message *message, struct span content, struct err *err);
/* The same for what needs the header alone. */
int store_header_verify(const struct store_message *message, const struct store_facts *facts, struct span content, struct err *err);

/* ---- adding ---- */

/* A message file being written; durable with store_append's commit, gone without it. */
struct store_draft;

/* mailbox and arrived (INTERNALDATE, seconds since 1970) are written into the file's name. E_IO, E_NOSPACE, E_NOMEM. */
int store_draft_new(struct store *store, uint32_t mailbox, int64_t arrived, struct store_draft **out,
    struct err *err);
int store_draft_write(struct store_draft *draft, struct span bytes, struct err *err);
/* Syncs the files and finds their facts; several together cost less. A draft that fails has its code in codes[i]. */
void store_drafts_finish(struct store_draft **drafts, int *codes, size_t count);
int store_draft_finish(struct store_draft *draft, struct err *err);
uint64_t store_draft_size(const struct store_draft *draft);
/* Its transaction was committed: the file stays. */
void store_draft_kept(struct store_draft *draft);
/* Removes the file unless it was kept. */
void store_draft_free(struct store_draft **draft);

/*
 * Files a finished draft. key: NULL, or STORE_KEY bytes: E_EXISTS when a delivery with this key
 * was filed before. E_OVERQUOTA. keywords: names. The new message is in *out.
 */
int store_append(struct store_txn *txn, struct store_draft *draft, uint32_t mailbox, uint32_t flags,
    const struct span *keywords, size_t keyword_count, const unsigned char *key,
    struct store_message *out, struct err *err);
/* True when a delivery with this key is in the store. */
bool store_delivered(struct store_txn *txn, const unsigned char key[STORE_KEY]);

/* ---- changing ---- */

enum store_how { STORE_FLAGS_SET, STORE_FLAGS_ADD, STORE_FLAGS_REMOVE };

/*
 * Flags of many messages, UIDs ascending. Unknown keywords are entered into the
 * mailbox's table (E_LIMIT when it is full). UIDs that are not there are skipped.
 */
int store_change_flags(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count,
    enum store_how how, uint32_t flags, const struct span *keywords, size_t keyword_count,
    struct err *err);

/* Pairs of UIDs from copying, in order. Pooled. */
struct store_copied {
	uint32_t *from;
	uint32_t *to;
	size_t count;
};

/* Copies (or moves: one step, nothing ever in neither box) to another mailbox. E_OVERQUOTA on copy. Keywords for which the other mailbox has no place are left out. */
int store_copy(struct store_txn *txn, uint32_t from, uint32_t to, const uint32_t *uids, size_t count,
    bool move, struct pool *pool, struct store_copied *out, struct err *err);

/* Removes from the mailbox; records and files stay for store_undo until store_purge. UIDs that are not there are skipped. */
int store_expunge(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count,
    struct err *err);

/* Takes over all \Recent of a mailbox: returns the first recent UID and sets recent_uid to uidnext. */
int store_take_recent(struct store_txn *txn, uint32_t mailbox, uint32_t *first, struct err *err);

/* ---- the change log ---- */

enum store_change_type {
	STORE_CHANGE_APPEND = 1,
	STORE_CHANGE_FLAGS,
	STORE_CHANGE_EXPUNGE,
	STORE_CHANGE_MAILBOX_CREATE,
	STORE_CHANGE_MAILBOX_DELETE,
	STORE_CHANGE_MAILBOX_RENAME,
	STORE_CHANGE_SUBSCRIBE,
};

struct store_change {
	uint64_t modseq;
	enum store_change_type type;
	int64_t when; /* seconds since 1970 */
	uint32_t mailbox;
	uint32_t first_uid, last_uid; /* a run of UIDs with the same change */
	struct span name;	      /* of mailbox changes */
};

/* Every change after modseq, oldest first, as far back as the log goes: 90 days, and 100,000 records. */
int store_change_each(struct store_txn *txn, uint64_t modseq,
    int (*fn)(void *arg, const struct store_change *change), void *arg);
uint64_t store_modseq(struct store_txn *txn);

/* Brings back what was expunged since `since` (seconds since 1970), under new UIDs. *count: messages. */
int store_undo(struct store_txn *txn, int64_t since, uint32_t *count, struct err *err);
/*
 * Ends the time of what was expunged before `before`: records go, then files. Of what was expunged later the oldest go
 * too, as long as more is kept than the quota allows to be there: else what is removed would cost nobody anything.
 */
int store_purge(struct store *store, int64_t before, uint32_t *count, struct err *err);
/* store_purge until the quota is kept; after something was expunged. */
int store_purge_surplus(struct store *store, struct err *err);
/*
 * Once a day, for a process that has nothing more to do: what was expunged more than undo_days ago goes, and delivery
 * keys and changes that nobody asks for any more, and message files that nobody has filed. stop: NULL, or true when it has to end soon.
 */
int store_tidy(struct store *store, unsigned undo_days, bool (*stop)(void), struct err *err);

struct store_usage {
	uint64_t bytes; /* counted against the quota */
	uint32_t messages;
	uint64_t kept_bytes; /* expunged, still there for undo */
};
int store_usage(struct store_txn *txn, struct store_usage *out, struct err *err);

/* ---- care ---- */

/* Called for every fault found; text is one line. */
typedef void store_report(void *arg, const char *text);

/* Reads everything: index against files, counts, file sizes. Returns the number of faults or an E_. */
int store_check(struct store *store, store_report *report, void *arg);
/* Throws the index away and makes it again from the files, keeping what can be kept. Account must not be open. */
int store_rebuild(int dir, store_report *report, void *arg, struct err *err);

#endif
