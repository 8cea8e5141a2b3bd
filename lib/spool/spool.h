/*
 * The spool: one file a message, a journal (doc/spool.md).
 *
 *   content            bytes 0..n, exactly what will be sent
 *   envelope           encoded (envelope.c), padded to SPOOL_SLOT
 *   commit record      lengths, keyed BLAKE2b of id, content and envelope, checksum of its own
 *   delivery records   appended as they happen, each with its own keyed checksum
 *
 * Pure functions on descriptors: no event loop, no threads. queue/ decides when.
 */
#ifndef MW_SPOOL_SPOOL_H
#define MW_SPOOL_SPOOL_H

#include "base/buf.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/span.h"

enum {
	SPOOL_SLOT = 64,	/* records begin on multiples of this */
	SPOOL_KEY = 32,		/* bytes of the queue's secret */
	SPOOL_ID_TEXT = 12,	/* text of an id with its NUL */
	SPOOL_ENVELOPE_MAX = 1024 * 1024,
	SPOOL_RECIPIENTS_MAX = 1000,
	SPOOL_TEXT_MAX = 512,	/* of a delivery record */
};

/* ---- ids: 55 bits, milliseconds and a sequence, 11 base32 digits, ascending with time ---- */

#define SPOOL_EPOCH_MS INT64_C(1704067200000) /* 2024 */
enum { SPOOL_ID_MS_BITS = 41 };

/* The next id: greater than *last and than any made before now_ms; updates *last. */
uint64_t spool_id_next(uint64_t *last, int64_t now_ms);
/* When it was made, milliseconds since 1970. */
int64_t spool_id_ms(uint64_t id);
void spool_id_format(uint64_t id, char out[SPOOL_ID_TEXT]);
bool spool_id_parse(struct span text, uint64_t *id);

/* ---- envelopes ---- */

enum spool_source { SPOOL_FROM_SMTP = 1, SPOOL_FROM_SUBMISSION, SPOOL_FROM_LOCAL, SPOOL_FROM_LMTP, SPOOL_FROM_BOUNCE };
enum spool_body { SPOOL_BODY_7BIT, SPOOL_BODY_8BITMIME, SPOOL_BODY_BINARYMIME };
enum spool_ret { SPOOL_RET_NONE, SPOOL_RET_FULL, SPOOL_RET_HDRS };
/* NOTIFY of RFC 3461 section 4.1; 0: not given. */
enum spool_notify { SPOOL_NOTIFY_NEVER = 1, SPOOL_NOTIFY_SUCCESS = 2, SPOOL_NOTIFY_FAILURE = 4, SPOOL_NOTIFY_DELAY = 8 };

struct spool_recipient {
	struct span address; /* as given in RCPT, without angle brackets */
	struct span orcpt;   /* "rfc822;...", its xtext decoded, or empty */
	uint32_t notify;
	/* What auth answered; all empty for a remote recipient. */
	uint64_t account; /* 0: to be expanded, or remote */
	uint64_t quota;
	struct span canonical; /* the mailbox's address */
	struct span detail;
	struct span grant;
	bool local;
};

struct spool_envelope {
	enum spool_source source;
	int64_t arrived;    /* seconds since 1970 */
	struct span sender; /* empty: the null sender */
	struct span envid;  /* its xtext decoded (RFC 3461 section 4.4), or empty */
	enum spool_ret ret;
	enum spool_body body;
	bool smtputf8;
	bool requiretls;   /* RFC 8689 section 2 */
	bool tls_optional; /* "TLS-Required: No", RFC 8689 section 5 */
	int64_t release;   /* seconds since 1970, not tried before that (RFC 4865); 0: at once */
	uint64_t submitter; /* the account that handed it in; 0: none */
	struct span client; /* its address as text */
	struct span helo;
	struct span prepend; /* header lines to put before the content, CRLF ends */
	size_t recipient_count;
	struct spool_recipient *recipients;
};

/* 0, E_TOOBIG (also: no recipient, an empty address, a text of more than 64 KiB). */
int spool_envelope_encode(const struct spool_envelope *envelope, struct buf *out);
/* Strict; of this version and of those before. Recipients pooled, spans borrow wire. E_CORRUPT, E_NOMEM. */
int spool_envelope_decode(struct span wire, struct pool *pool, struct spool_envelope *out,
    struct err *err);

/* ---- the journal ---- */

enum { SPOOL_CHECK = 16, SPOOL_JOURNAL_MAX = 128 * 1024 * 1024 /* a commit record with more behind it is not found */ };

/* What makes a file a message. */
struct spool_commit {
	uint64_t id;
	uint64_t content;     /* bytes */
	struct span envelope; /* encoded; borrowed */
	int32_t ahead;	      /* seconds: how far its `arrived`, by the machine's clock, is ahead of queue's own; INT32_MIN, INT32_MAX: that or further */
	unsigned char check[SPOOL_CHECK]; /* made: the first bytes of the checksum, the delivery key together with where a copy goes */
};

/*
 * Writes envelope and commit record behind content (bytes 0..content, already in
 * the file), cuts off what is behind them, then syncs the file. Reads the
 * content once for its checksum. Any failure is final: discard the file.
 */
int spool_commit(int fd, const unsigned char key[SPOOL_KEY], struct spool_commit *commit, struct err *err);

enum spool_status { SPOOL_PENDING, SPOOL_DELIVERED, SPOOL_DEFERRED, SPOOL_FAILED, SPOOL_EXPIRED,
	SPOOL_HOLD, SPOOL_RELEASE, SPOOL_DSN_SENT, SPOOL_WARNED,
	/* One target behind an alias has its copy, others not yet; text: doc/spool.md. */
	SPOOL_TARGET_DONE,
	/* It waits for the time its sender wished: whole, and found again as such; of the whole message. */
	SPOOL_KEPT,
	/* An administrator's: what was learnt of the recipients that are not done is forgotten; of the whole message. */
	SPOOL_REQUEUED,
	/* An administrator's: the recipient goes another way; text: doc/spool.md; empty: the usual one again. */
	SPOOL_REROUTED,
	/* Who is told of the recipient's failure or delay in place of the sender; text: the address; empty: the sender again. */
	SPOOL_OWNER, SPOOL_STATUS_LAST = SPOOL_OWNER };

struct spool_record {
	enum spool_status status;
	uint32_t recipient;   /* UINT32_MAX: the whole message */
	uint32_t attempts;
	int64_t when;	      /* seconds since 1970, by queue's own clock; and so is next */
	int64_t next;	      /* of SPOOL_DEFERRED */
	struct span text;     /* "451 4.2.0 ..." */
};

/* Its message is done with: no start takes it up again. Not synced. rested: it may have the mark on the disk. 0, E_IO. */
int spool_retire(int fd, bool *rested, struct err *err);

/*
 * Appends records in one write; sync: fdatasync before returning. A file with records has the mark of one that rests: if
 * it is not whole it is damaged.
 */
int spool_append(int fd, uint64_t id, const unsigned char key[SPOOL_KEY],
    const struct spool_record *records, size_t count, bool sync, struct err *err);

struct spool_file {
	uint64_t id;
	uint64_t content; /* bytes */
	unsigned char check[SPOOL_CHECK];
	int32_t ahead; /* as in spool_commit */
	struct spool_envelope envelope;
	struct spool_record *records; /* in order of writing; of a long journal those that count, a torn one is left out */
	size_t record_count;
	uint64_t journal; /* octets of all records */
	bool torn; /* there was a torn tail */
};

/*
 * Reads envelope (its checksum is always checked) and records. content_too: check the content's checksum as well
 * (done before every first delivery after a start, and always when the file has not the mark). E_NOTFOUND: never
 * committed, or done with (remove it); E_CORRUPT: damaged (set it aside).
 */
int spool_read(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], bool content_too,
    struct pool *pool, struct spool_file *out, struct err *err);

/* ---- clock.c: queue's own clock, as it was when it was last written down ---- */

enum {
	SPOOL_BOOT_MAX = 64,
	SPOOL_CLOCK_SIZE = 256,
	SPOOL_CLOCK_SAVE_MS = 600 * 1000, /* it is never older than that when queue ends, however it ends */
	SPOOL_CLOCK_OFF_MS = 86400 * 1000, /* a machine that was off was off for no longer, as far as queue is concerned */
	SPOOL_CLOCK_DRIFT_MS = 10 * 1000, /* of the machine's clock against its count, from one writing to the next */
};

/* Ten years before ids are at their end. */
#define SPOOL_CLOCK_LATEST_MS (SPOOL_EPOCH_MS + (INT64_C(1) << SPOOL_ID_MS_BITS) - INT64_C(3653) * 86400 * 1000)

struct spool_clock {
	int64_t queue_ms, wall_ms;   /* since 1970: its own time, and that of the machine's clock */
	int64_t since_boot_ms;	     /* of the machine, also while it slept */
	char boot[SPOOL_BOOT_MAX];   /* another at each boot of the machine: letters, digits and '-'; empty: not known */
};

/* E_SYNTAX, E_NOMEM. */
int spool_clock_encode(const struct spool_clock *clock, const unsigned char key[SPOOL_KEY], struct buf *out);
/* E_CORRUPT. */
int spool_clock_decode(struct span text, const unsigned char key[SPOOL_KEY], struct spool_clock *out, struct err *err);
/*
 * Queue's time where it begins as the machine's clock, which may be wrong: within the years that ids have, as it goes on from there for
 * good, also when the clock has been set right.
 */
int64_t spool_clock_begin(int64_t wall_ms);
/*
 * Queue's time when it is started again. While the machine has been up all the time its own count of that says it, exactly. Else only
 * the machine's clock knows, which may be wrong: it is believed from SPOOL_CLOCK_SAVE_MS to SPOOL_CLOCK_OFF_MS. now: but for queue_ms.
 * extra_ms: so much more than that clock says was counted, of a machine that was off for a moment; nobody has set its clock for that.
 */
int64_t spool_clock_resume(const struct spool_clock *saved, const struct spool_clock *now, int64_t *extra_ms);

/* ---- paused.c: destinations that are paused ---- */

enum { SPOOL_PAUSED_MAX = 1000, SPOOL_PAUSED_NAME = 640, SPOOL_PAUSED_SIZE = SPOOL_PAUSED_MAX * (SPOOL_PAUSED_NAME + 1) + 128 };

/* No control characters, and not too long. */
bool spool_paused_is_name(struct span name);
/* E_SYNTAX: one is no name; E_LIMIT, E_NOMEM. */
int spool_paused_encode(const struct span *names, size_t count, const unsigned char key[SPOOL_KEY], struct buf *out);
/* names: borrow text. E_CORRUPT. */
int spool_paused_decode(struct span text, const unsigned char key[SPOOL_KEY], struct span names[SPOOL_PAUSED_MAX], size_t *count, struct err *err);

#endif
