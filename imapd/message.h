/* What a session reads of one message: its record, its facts, its bytes. */
#ifndef MW_IMAPD_MESSAGE_H
#define MW_IMAPD_MESSAGE_H

#include "imap/fetch.h"
#include "imapd/session.h"

enum { MESSAGE_READ_MAX = 256 * 1024 }; /* larger ones are mapped, not read */

/* The bytes of one message file; reused from message to message. */
struct message_bytes {
	struct span bytes;
	char *buffer; /* MESSAGE_READ_MAX bytes */
	void *map;
	size_t map_size;
};

/* 0; E_CORRUPT and others were logged: what does not fit its checksum is not shown. Valid until the next open or close. */
int message_bytes_open(struct session *s, const struct store_message *message, struct message_bytes *out, struct err *err);
/* The same for who wants the header of a large message: the rest is not looked at, and must not be used. */
int message_header_open(struct session *s, const struct store_message *message, const struct store_facts *facts, struct message_bytes *out,
    struct err *err);
void message_bytes_close(struct message_bytes *bytes);
/* Memory too. */
void message_bytes_free(struct message_bytes *bytes);

/* Records of the UIDs that are still there in the selected mailbox, pooled, ascending. */
int messages_load(struct session *s, struct store_txn *txn, const uint32_t *uids, size_t count, struct pool *pool,
    struct store_message **out, size_t *found, struct err *err);

/*
 * Facts from the index, or made again from the file. Borrow the transaction or s->message_pool, which is
 * emptied first. Opens `bytes` when it has to.
 */
int message_facts(struct session *s, struct store_txn *txn, const struct store_message *message, struct message_bytes *bytes,
    struct store_facts *out, struct err *err);

/*
 * The octets of a section. False: there is no such section (NIL). fields: HEADER.FIELDS are gathered
 * here; the result borrows it or `bytes`.
 */
bool section_find(const struct imap_section *section, struct span bytes, struct span parts, struct buf *fields, struct span *out);

#endif
