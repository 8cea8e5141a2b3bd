/* What a commit record (journal.c) and delivery records (delivery.c) have in common; within lib/spool. */
#ifndef MW_SPOOL_JOURNAL_H
#define MW_SPOOL_JOURNAL_H

#include "spool/spool.h"

enum { RECORD_COMMIT = 1, RECORD_DELIVERY, RECORD_MAC = 16, RECORD_HEAD = 12, RECORD_MAX = 1024 };

/* What the mode says of a file (doc/spool.md, states). Its owner may always read and write; nobody else gets into the directory. */
enum { MODE_OPEN = 0600, MODE_RESTS = 0700, MODE_DONE = 0610 };

/* To whole slots. */
size_t journal_padded(size_t n);
void journal_head_put(unsigned char *record, unsigned kind, size_t len);
/* Of SPOOL_SLOT octets; false: no record begins with them. */
bool journal_head_get(const unsigned char *record, unsigned *kind, size_t *len);
/* A record's own checksum; envelope: of a commit record, else empty. */
void journal_mac(const unsigned char key[SPOOL_KEY], uint64_t id, uint64_t offset, const unsigned char *record,
    size_t len, struct span envelope, unsigned char out[RECORD_MAC]);

/* Where delivery records are. */
struct journal_place {
	int fd;
	uint64_t id;
	const unsigned char *key;
	uint64_t begin, end; /* behind the commit record, and the file's */
};

/* Of out the envelope is known; its records are pooled. As spool_read: E_CORRUPT, E_NOMEM, E_IO. */
int journal_read_deliveries(const struct journal_place *place, struct pool *pool, struct spool_file *out, struct err *err);

#endif
