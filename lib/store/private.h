/*
 * The index of an account: one LMDB environment. doc/store.md tells the whole.
 *
 *   catalog    "M" meta · "m" id mailbox · "c" id its groups · "c" id, group what is in 32 chunks · "n" name -> id · "s" name subscription · "T" when it was tidied
 *   messages   mailbox, uid / 32 -> up to 32 records, in UID order
 *   facts      number -> what was found at delivery
 *   refs       number -> in how many mailboxes, when more than one
 *   log        modseq, n -> change
 *   expunged   when, n -> mailbox and record, for undo
 *   delivered  delivery key -> when
 */
#ifndef MW_STORE_PRIVATE_H
#define MW_STORE_PRIVATE_H

#include "store/pages.h"
#include "store/store.h"

#include <lmdb.h>

enum {
	CHUNK = 32,
	STORE_VERSION = 3,
	STORE_TXN_POOL = 64 * 1024 * 1024,
	STORE_FILE_NAME = 96,
	DELIVERED_KEEP_DAYS = 30, /* longer than any queue tries a message again */
	LOG_KEEP_DAYS = 90,
	LOG_RECORDS_MAX = 100000, /* flags set and taken in turns must not fill the index, in which then nothing can be removed */
};

/* An index while it is made; renamed to "index" when it is whole. */
#define STORE_INDEX_NEW "index.new"

/* So long a message file may be there before it is filed. */
#define STORE_DRAFT_MS (INT64_C(24) * 60 * 60 * 1000)

/* There while the index is made again: an opening that finds it begins that anew. */
#define STORE_REBUILDING "rebuilding"
/* There when somebody met damage in the index, or died of it: the next opening looks at all of it. */
#define STORE_SUSPECT "suspect"

/* Where a rebuild leaves message files whose content is not what it was. */
#define STORE_DAMAGED "damaged"

enum store_db { DB_CATALOG, DB_MESSAGES, DB_FACTS, DB_REFS, DB_LOG, DB_EXPUNGED, DB_DELIVERED, DB_COUNT };

/* Records of which none may be missing: their checksums are added up in the meta record. One for each further database. */
enum store_set { SET_MAILBOXES, SET_SUBSCRIPTIONS, SET_OTHER, SET_COUNT = SET_OTHER + DB_COUNT };

enum { RECORD_SUM = 8 }; /* bytes of a record's checksum, at its end */

struct meta {
	uint32_t version;
	uint32_t next_mailbox;
	uint32_t last_uidvalidity;
	uint32_t reserved;
	uint64_t modseq; /* the last one given */
	uint64_t bytes, kept_bytes;
	uint32_t messages, reserved2;
	uint64_t txn; /* LMDB's number of the transaction that wrote this: an old one that came back is not taken for the newest */
	uint64_t sums[SET_COUNT];
};

struct store {
	MDB_env *env;
	MDB_dbi db[DB_COUNT];
	int dir;     /* of the account; a duplicate */
	int lock_fd; /* shared lock while open */
	uint64_t quota;
	uint64_t last_number; /* of a message file made here; 0: none yet */
	bool in_txn;
};

/* Record of something expunged: when, modseq, n -> mailbox, message. */
struct expunged {
	uint32_t mailbox, reserved;
	struct store_message message;
};

struct store_txn {
	struct store *store;
	MDB_txn *mdb;
	struct pool *pool;
	struct meta meta;
	bool write, dirty, names_dirty;
	bool numbered; /* has its modseq */
	uint32_t changes; /* log records of this transaction */
	uint32_t removed; /* expunged records of this transaction */
};

/*
 * What is in GROUP_CHUNKS neighbouring chunks, in a few bytes: SELECT, and the look for what has changed, need no more
 * of a large mailbox than this.
 */
enum { GROUP_CHUNKS = 32 };
struct group {
	uint64_t sum;	 /* the checksums of its chunks, added without carry */
	uint64_t modseq; /* no message in it has a higher one */
	uint32_t there[GROUP_CHUNKS];  /* a bit for each UID of a chunk, from the lowest up */
	uint32_t unseen[GROUP_CHUNKS]; /* those of them without \Seen */
};

/* Fixed front of a mailbox's record; keywords (u8 length each, STORE_KEYWORDS_MAX of them) and name follow. */
struct mailbox_record {
	uint32_t id, uidvalidity, uidnext, recent_uid, exists, unseen, use, noselect;
	uint64_t size, modseq;
};

int store_db_error(struct err *err, int r, const char *what);

/* record.c: values without their checksums. Borrowed from the transaction. E_NOTFOUND, E_CORRUPT. */
int record_get(struct store_txn *txn, enum store_db db, struct span key, struct span *value, struct err *err);
int record_put(struct store_txn *txn, enum store_db db, struct span key, struct span value, struct err *err);
/* A value put together of parts. */
int record_put_parts(struct store_txn *txn, enum store_db db, struct span key, const struct span *parts, size_t count, struct err *err);
/* 0 also when there is none. */
int record_del(struct store_txn *txn, enum store_db db, struct span key, struct err *err);
/* What a cursor found: its value without the checksum, which fits or not. */
bool record_check(enum store_db db, MDB_val key, MDB_val value, struct span *out);
int record_del_at(struct store_txn *txn, enum store_db db, MDB_cursor *cursor, MDB_val key, MDB_val value, struct err *err);
/* What somebody walked through adds up to what the meta record says. */
bool records_complete(const struct store_txn *txn, enum store_set set, uint64_t sum);
uint64_t record_sum_of(MDB_val value);
/* All records of a database, and that none is missing. */
int records_verify(struct store_txn *txn, enum store_db db, struct err *err);
/* E_CORRUPT, and the index is suspect from now on. */
int record_damaged(struct store_txn *txn, enum store_db db, struct err *err);
/* The same when LMDB itself says so; else what it says. */
int record_error(struct store_txn *txn, enum store_db db, int r, struct err *err);

/* The next opening looks at the whole index. */
void store_suspect(struct store *store);

/* crash.c: when this process dies of what it reads, the next opening of the account whose directory this is knows. -1: none. */
void crash_watch(int dir);
void store_key64(uint64_t n, unsigned char out[8]);
uint64_t store_get64(const unsigned char *p);
void store_key32(uint32_t n, unsigned char *out);
uint32_t store_get32(const unsigned char *p);

/* open.c: for a rebuild, which holds the lock alone and files what is there. */
int store_open_anew(struct store **out, int dir, struct err *err);

/* record.c: pages_guard and pages_check of the index, and that no commit was taken back. */
int index_guard(int dir, uint64_t map_max, struct err *err);
int index_pages_check(struct store *s, bool whole, struct err *err);

/* catalog.c: records as they are; what a change brings with it is mailbox.c's. */
int meta_get(struct store_txn *txn, struct err *err);
int meta_put(struct store_txn *txn, struct err *err);
/* Gives this transaction its modseq, once. */
uint64_t txn_modseq(struct store_txn *txn);
int mailbox_get(struct store_txn *txn, uint32_t id, struct store_mailbox *out, struct err *err);
int mailbox_put(struct store_txn *txn, const struct store_mailbox *mailbox, struct err *err);
int mailbox_del(struct store_txn *txn, uint32_t id);
int mailbox_count(struct store_txn *txn, size_t *count, struct err *err);
int subscription_count(struct store_txn *txn, size_t *count, struct err *err);
/* INBOX in any case is one mailbox (RFC 3501 section 5.1), also as the first level of others' names. Pooled; empty: no memory. */
struct span mailbox_name(struct store_txn *txn, struct span name);
/* There is a mailbox of just this name. */
bool mailbox_has_name(struct store_txn *txn, struct span name);
int name_put(struct store_txn *txn, struct span name, uint32_t id, struct err *err);
int name_del(struct store_txn *txn, struct span name);
int name_subscribe(struct store_txn *txn, struct span name, bool on, struct err *err);
bool name_subscribed(struct store_txn *txn, struct span name);

/* mailbox.c */
int mailbox_new(struct store_txn *txn, uint32_t id, struct span name, uint32_t use, uint32_t uidvalidity, struct err *err);
int catalog_create_defaults(struct store_txn *txn, struct err *err);
/* Greater than all this account has had. */
uint32_t new_uidvalidity(struct store_txn *txn);

/* names.c: the file "mailboxes". */
int names_write(struct store_txn *txn, struct err *err);
int names_restore(struct store_txn *txn, struct err *err);
/* E_CORRUPT when the file is missing, or not as names_write has written it. */
int names_check(struct store_txn *txn, struct err *err);

/* groups.c: chunk now holds `list`, and the sums of the chunks have changed by `by`. */
int group_change(struct store_txn *txn, uint32_t mailbox, uint32_t chunk, const struct store_message *list, size_t count, uint64_t by,
    struct err *err);
/* All groups of a mailbox that are not empty, and that none is missing; what fn returns other than 0 ends it. */
typedef int group_visit(void *arg, uint32_t number, const struct group *group);
int groups_each(struct store_txn *txn, uint32_t mailbox, group_visit *fn, void *arg, struct err *err);

/* messages.c */
int message_put(struct store_txn *txn, uint32_t mailbox, const struct store_message *m, struct err *err);
/* Walks the chunks that hold `uids` (ascending); fn may change the record, and says what becomes of it. */
enum message_action { MESSAGE_KEEP, MESSAGE_CHANGED, MESSAGE_REMOVE };
typedef enum message_action message_visit(void *arg, struct store_message *m);
int messages_visit(struct store_txn *txn, uint32_t mailbox, const uint32_t *uids, size_t count, message_visit *fn, void *arg,
    struct err *err);
/* message: its size. Facts out of proportion are not kept; who misses them finds them again. */
int facts_put(struct store_txn *txn, uint64_t number, uint32_t message, const struct store_facts *facts, struct err *err);
int refs_change(struct store_txn *txn, uint64_t number, int by, uint32_t *left, struct err *err);

int facts_del(struct store_txn *txn, uint64_t number, struct err *err);
/* 0: there is a message with this number. E_NOTFOUND: there is none. */
int facts_taken(struct store_txn *txn, uint64_t number, struct err *err);
int expunged_decode(struct store_txn *txn, MDB_val key, MDB_val value, struct expunged *out, struct err *err);

/* care.c: no fault of what is looked at: it cannot be looked at now. A file that the disk does not give back is a fault. */
bool store_is_passing(int code);
/* An index that was tidied then needs it no more for a day; wall clock, seconds. */
int tidied_put(struct store_txn *txn, int64_t when, struct err *err);
/* One line to whoever wants it. */
void store_say(store_report *report, void *arg, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* check.c: the index alone. E_CORRUPT when anything but facts is damaged. */
int index_check(struct store *store, struct err *err);

/* known.c: all message files in the index, sorted by number. known: empty before. All of them, or an error. */
struct known_file {
	uint64_t number, name; /* name: a hash of the name's other parts */
};
struct known {
	struct known_file *files;
	size_t count, size;
	uint64_t twice; /* a number that two files have, which an older version could draw; 0: none */
};
int known_all(struct store_txn *txn, struct known *known, struct err *err);
bool known_has(const struct known *known, uint64_t number);
void known_free(struct known *known);

/* orphans.c: removes what writers left that were cut short a day ago. */
int orphans_remove(struct store *store, struct err *err);

/* log.c */
int log_add(struct store_txn *txn, enum store_change_type type, uint32_t mailbox, uint32_t first, uint32_t last,
    struct span name, struct err *err);
/* At the end of a transaction: the oldest beyond LOG_RECORDS_MAX go. */
int log_bound(struct store_txn *txn, struct err *err);
/* One record for each run of neighbours. */
int log_add_uids(struct store_txn *txn, enum store_change_type type, uint32_t mailbox, const uint32_t *uids, size_t count,
    struct err *err);

/* files.c */

/* What a message file's name says. */
struct file_name {
	uint64_t number;
	uint32_t mailbox;
	int64_t arrived;
	uint64_t sum; /* of its content; 0: not known, and not in the name */
};

void file_name(const struct file_name *parts, char out[STORE_FILE_NAME]);
void message_file_name(const struct store_message *m, char out[STORE_FILE_NAME]);
bool file_parse(const char *name, struct file_name *out);
/* Made more than ms milliseconds ago. */
bool file_is_old(uint64_t number, int64_t ms);
typedef int file_visit(void *arg, const char *path, const struct file_name *name);
/* 0, what fn returned first that is not 0, or why a directory cannot be read. */
int files_each(int dir, file_visit *fn, void *arg);
/* The same for drafts that have no checksum yet; only the number is known. */
int drafts_each(int dir, file_visit *fn, void *arg);
/* Never 0. */
uint64_t file_sum(struct span content);
/* last: the one before, of the same store. */
uint64_t file_new_number(uint64_t last);

#endif
