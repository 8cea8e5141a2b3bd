/*
 * The journal of one message. Records begin on multiples of SPOOL_SLOT:
 *
 *   magic u32 | kind u8 | zero 3 | length u32 (of all, padded) | payload | checksum 16 at the end
 *
 * The commit record's payload: lengths of content and envelope (u64 each), the
 * check, a keyed BLAKE2b of id, lengths, content and envelope, and how far the machine's clock was ahead of queue's. Every record's own
 * checksum covers the id, the offset and its bytes, so that none can be moved or
 * replayed; the commit record's covers the envelope as well. Readers find the commit
 * record from the end of the file: look-alikes in the content do not have the key.
 */
#include "spool/journal.h"

#include "base/bytes.h"
#include "base/whole.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	COMMIT_SIZE = 64,
	HASH_PIECE = 64 * 1024,
	COMMIT_CHECK = RECORD_HEAD + 16,
	COMMIT_AHEAD = COMMIT_CHECK + SPOOL_CHECK,
	TAIL_PIECE = 16 * 1024, /* read at once on the way back to the commit record */
	LOOKALIKES_MAX = 8,	/* commit records that fit but lack the key */
};

/* What is hashed begins with its purpose: no checksum can stand in for another. */
enum hash_purpose { HASH_MESSAGE = 1, HASH_COMMIT, HASH_RECORD };

#define RECORD_MAGIC UINT32_C(0x4d57524a)

size_t journal_padded(size_t n)
{
	return (n + SPOOL_SLOT - 1) / SPOOL_SLOT * SPOOL_SLOT;
}

static int hash_file(int fd, uint64_t offset, uint64_t len, crypto_generichash_state *state, struct err *err)
{
	unsigned char piece[HASH_PIECE];

	while (len > 0) {
		size_t want = len < sizeof(piece) ? (size_t)len : sizeof(piece);
		ssize_t n = pread(fd, piece, want, (off_t)offset);

		if (n < 0)
			return err_set_errno(err, errno, "reading a spool file");
		if (n == 0)
			return err_set(err, E_CORRUPT, "spool file is shorter than its content");
		crypto_generichash_update(state, piece, (unsigned long long)n);
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static void hash_begin(crypto_generichash_state *state, const unsigned char key[SPOOL_KEY], enum hash_purpose purpose,
    uint64_t id, uint64_t a, uint64_t b)
{
	unsigned char numbers[32];

	put_le(numbers, purpose, 8);
	put_le(numbers + 8, id, 8);
	put_le(numbers + 16, a, 8);
	put_le(numbers + 24, b, 8);
	crypto_generichash_init(state, key, SPOOL_KEY, RECORD_MAC);
	crypto_generichash_update(state, numbers, sizeof(numbers));
}

static void hash_span(crypto_generichash_state *state, struct span s)
{
	crypto_generichash_update(state, (const unsigned char *)s.ptr, s.len);
}

/* The check: what is to be delivered, and to whom. */
static int hash_message(int fd, const unsigned char key[SPOOL_KEY], struct spool_commit *c, struct err *err)
{
	crypto_generichash_state state;
	int r;

	hash_begin(&state, key, HASH_MESSAGE, c->id, c->content, c->envelope.len);
	r = hash_file(fd, 0, c->content, &state, err);
	if (r != 0)
		return r;
	hash_span(&state, c->envelope);
	crypto_generichash_final(&state, c->check, sizeof(c->check));
	return 0;
}

void journal_mac(const unsigned char key[SPOOL_KEY], uint64_t id, uint64_t offset, const unsigned char *record,
    size_t len, struct span envelope, unsigned char out[RECORD_MAC])
{
	crypto_generichash_state state;

	hash_begin(&state, key, envelope.len ? HASH_COMMIT : HASH_RECORD, id, offset, len);
	crypto_generichash_update(&state, record, len - RECORD_MAC);
	hash_span(&state, envelope);
	crypto_generichash_final(&state, out, RECORD_MAC);
}

void journal_head_put(unsigned char *record, unsigned kind, size_t len)
{
	put_le(record, RECORD_MAGIC, 4);
	record[4] = (unsigned char)kind;
	put_le(record + 8, len, 4);
}

static int write_all(int fd, struct iovec *iov, int count, uint64_t offset, struct err *err)
{
	return pwritev_whole(fd, iov, count, offset) ? 0 : err_set_errno(err, errno, "writing a spool file");
}

/*
 * What a client wrote behind its content, or an earlier message left there, must not look like a journal; and a file
 * that serves again is no longer done with.
 */
static int make_plain(int fd, uint64_t end, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || ((uint64_t)st.st_size > end && ftruncate(fd, (off_t)end) != 0) ||
	    ((st.st_mode & S_IXGRP) != 0 && fchmod(fd, MODE_OPEN) != 0))
		return err_set_errno(err, errno, "spool file");
	return 0;
}

static void commit_encode(const unsigned char key[SPOOL_KEY], const struct spool_commit *c, unsigned char record[COMMIT_SIZE])
{
	journal_head_put(record, RECORD_COMMIT, COMMIT_SIZE);
	put_le(record + RECORD_HEAD, c->content, 8);
	put_le(record + RECORD_HEAD + 8, c->envelope.len, 8);
	memcpy(record + COMMIT_CHECK, c->check, sizeof(c->check));
	put_le(record + COMMIT_AHEAD, (uint32_t)c->ahead, 4);
	journal_mac(key, c->id, journal_padded((size_t)c->content + c->envelope.len), record, COMMIT_SIZE, c->envelope,
	    record + COMMIT_SIZE - RECORD_MAC);
}

int spool_commit(int fd, const unsigned char key[SPOOL_KEY], struct spool_commit *c, struct err *err)
{
	static const unsigned char zeros[SPOOL_SLOT];
	unsigned char record[COMMIT_SIZE] = {0};
	size_t end = (size_t)c->content + c->envelope.len;
	struct iovec iov[3] = {{(void *)(uintptr_t)c->envelope.ptr, c->envelope.len},
	    {(void *)(uintptr_t)zeros, journal_padded(end) - end}, {record, sizeof(record)}};
	int r = hash_message(fd, key, c, err);

	if (r != 0)
		return r;
	commit_encode(key, c, record);
	r = write_all(fd, iov, 3, c->content, err);
	if (r == 0)
		r = make_plain(fd, journal_padded(end) + sizeof(record), err);
	/* The one sync. Its failure is final: the kernel reports it once and forgets. */
	if (r == 0 && fsync(fd) != 0)
		r = err_set_errno(err, errno, "fsync of a spool file");
	return r;
}

int spool_retire(int fd, bool *rested, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || fchmod(fd, MODE_DONE) != 0)
		return err_set_errno(err, errno, "fchmod of a spool file");
	*rested = (st.st_mode & S_IXUSR) != 0;
	return 0;
}

/* ---- reading ---- */

bool journal_head_get(const unsigned char *record, unsigned *kind, size_t *len)
{
	*kind = record[4];
	*len = (size_t)get_le(record + 8, 4);
	return get_le(record, 4) == RECORD_MAGIC && *len >= SPOOL_SLOT && *len <= RECORD_MAX && *len % SPOOL_SLOT == 0;
}

struct commit {
	uint64_t offset, content, envelope;
	unsigned char check[SPOOL_CHECK];
	int32_t ahead;
	struct span wire; /* the envelope, in room */
	char *room;	  /* pooled */
	size_t room_size;
};

/* Do the lengths of what stands at offset fit a commit record? Its checksum is looked at afterwards. */
static bool commit_fits(const unsigned char *record, uint64_t offset, struct commit *out)
{
	unsigned kind;
	size_t len;

	if (!journal_head_get(record, &kind, &len) || kind != RECORD_COMMIT || len != COMMIT_SIZE)
		return false;
	out->offset = offset;
	out->content = get_le(record + RECORD_HEAD, 8);
	out->envelope = get_le(record + RECORD_HEAD + 8, 8);
	memcpy(out->check, record + COMMIT_CHECK, SPOOL_CHECK);
	out->ahead = (int32_t)(uint32_t)get_le(record + COMMIT_AHEAD, 4);
	return out->content <= offset && out->envelope > 0 && out->envelope <= SPOOL_ENVELOPE_MAX &&
	       out->envelope <= offset - out->content && journal_padded((size_t)(out->content + out->envelope)) == offset;
}

/* Look-alikes share one, however many: they must not take the memory that the message needs. */
static bool make_room(struct commit *commit, struct pool *pool)
{
	if (commit->envelope <= commit->room_size)
		return true;
	commit->room_size = commit->room_size == 0 ? (size_t)commit->envelope : SPOOL_ENVELOPE_MAX;
	commit->room = pool_alloc(pool, commit->room_size);
	return commit->room != NULL;
}

/* 1: ours, 0: a look-alike; negative: E_NOMEM, E_IO. */
static int commit_verify(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], const unsigned char *record,
    struct pool *pool, struct commit *commit, struct err *err)
{
	unsigned char mac[RECORD_MAC];
	ssize_t n;

	if (!make_room(commit, pool))
		return err_set(err, E_NOMEM, "out of memory");
	n = pread(fd, commit->room, (size_t)commit->envelope, (off_t)commit->content);
	if (n < 0)
		return err_set_errno(err, errno, "reading a spool file");
	if ((size_t)n != commit->envelope)
		return 0;
	commit->wire = span_of(commit->room, (size_t)n);
	journal_mac(key, id, commit->offset, record, COMMIT_SIZE, commit->wire, mac);
	return sodium_memcmp(mac, record + COMMIT_SIZE - RECORD_MAC, RECORD_MAC) == 0;
}

/* From the end backwards: 1 when the commit record was found, 0 when there is none; negative: E_NOMEM, E_IO. */
static int find_commit(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], uint64_t size, struct pool *pool,
    struct commit *commit, struct err *err)
{
	unsigned char piece[TAIL_PIECE];
	uint64_t at = size / SPOOL_SLOT * SPOOL_SLOT, lowest = at > SPOOL_JOURNAL_MAX ? at - SPOOL_JOURNAL_MAX : 0;
	unsigned lookalikes = 0;

	while (at > lowest) {
		size_t len = at < sizeof(piece) ? (size_t)at : sizeof(piece);
		ssize_t n = pread(fd, piece, len, (off_t)(at - len));

		if (n < 0)
			return err_set_errno(err, errno, "reading a spool file");
		if ((size_t)n != len)
			return 0;
		at -= len;
		while (len > 0) {
			int r;

			len -= SPOOL_SLOT;
			if (!commit_fits(piece + len, at + len, commit))
				continue;
			r = commit_verify(fd, id, key, piece + len, pool, commit, err);
			if (r != 0)
				return r;
			if (++lookalikes > LOOKALIKES_MAX)
				return 0;
		}
	}
	return 0;
}

static int read_message(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], bool content_too, struct pool *pool,
    const struct stat *st, struct spool_file *out, struct err *err)
{
	struct commit commit = {0};
	struct spool_commit found;
	int r = find_commit(fd, id, key, (uint64_t)st->st_size, pool, &commit, err);

	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, E_CORRUPT, "the commit record or the envelope is damaged or missing");
	out->content = commit.content;
	memcpy(out->check, commit.check, SPOOL_CHECK);
	out->ahead = commit.ahead;
	r = spool_envelope_decode(commit.wire, pool, &out->envelope, err);
	found = (struct spool_commit){.id = id, .content = commit.content, .envelope = commit.wire};
	if (r == 0 && content_too)
		r = hash_message(fd, key, &found, err);
	if (r != 0)
		return r;
	if (content_too && sodium_memcmp(found.check, commit.check, SPOOL_CHECK) != 0)
		return err_set(err, E_CORRUPT, "the checksum does not fit: the content was changed");
	return journal_read_deliveries(&(struct journal_place){.fd = fd, .id = id, .key = key, .begin = commit.offset + COMMIT_SIZE, .end = (uint64_t)st->st_size},
	    pool, out, err);
}

int spool_read(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], bool content_too, struct pool *pool,
    struct spool_file *out, struct err *err)
{
	struct stat st;
	bool rests;
	int r;

	*out = (struct spool_file){.id = id};
	if (fstat(fd, &st) != 0)
		return err_set_errno(err, errno, "spool file");
	if ((st.st_mode & S_IXGRP) != 0)
		return err_set(err, E_NOTFOUND, "done with");
	rests = (st.st_mode & S_IXUSR) != 0;
	r = read_message(fd, id, key, content_too || !rests, pool, &st, out, err);
	/* Without the mark any part of it may be missing: its commit was cut short, and nobody was told 250. */
	return r == E_CORRUPT && !rests ? err_set(err, E_NOTFOUND, "never committed") : r;
}
