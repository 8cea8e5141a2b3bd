/*
 * The journal of one message. Records begin on multiples of SPOOL_SLOT:
 *
 *   magic u32 | kind u8 | zero 3 | length u32 (of all, padded) | payload | checksum 16 at the end
 *
 * The commit record's payload: content u64, envelope u64; its checksum is a
 * keyed BLAKE2b of id, both lengths, content and envelope. A delivery record's
 * covers id, its offset and its bytes, so that none can be moved or replayed.
 * Readers find the commit record from the end of the file: look-alikes in the
 * content do not have the key.
 */
#include "spool/spool.h"

#include <errno.h>
#include <sodium.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	RECORD_COMMIT = 1,
	RECORD_DELIVERY = 2,
	RECORD_MAC = 16,
	RECORD_HEAD = 12,
	RECORD_MAX = 1024,
	COMMIT_SIZE = 64,
	HASH_PIECE = 64 * 1024,
	RECORDS_MAX = 100000, /* of one message */
};
#define RECORD_MAGIC UINT32_C(0x4d57524a)

static size_t padded(size_t n)
{
	return (n + SPOOL_SLOT - 1) / SPOOL_SLOT * SPOOL_SLOT;
}

static void put_le(unsigned char *out, uint64_t n, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++, n >>= 8)
		out[i] = (unsigned char)n;
}

static uint64_t get_le(const unsigned char *in, size_t bytes)
{
	uint64_t n = 0;

	for (size_t i = bytes; i > 0; i--)
		n = n << 8 | in[i - 1];
	return n;
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

static void hash_begin(crypto_generichash_state *state, const unsigned char key[SPOOL_KEY], uint64_t id,
    uint64_t content, uint64_t envelope)
{
	unsigned char numbers[24];

	put_le(numbers, id, 8);
	put_le(numbers + 8, content, 8);
	put_le(numbers + 16, envelope, 8);
	crypto_generichash_init(state, key, SPOOL_KEY, RECORD_MAC);
	crypto_generichash_update(state, numbers, sizeof(numbers));
}

static void head_put(unsigned char *record, unsigned kind, size_t len)
{
	put_le(record, RECORD_MAGIC, 4);
	record[4] = (unsigned char)kind;
	put_le(record + 8, len, 4);
}

static int write_all(int fd, struct iovec *iov, int count, uint64_t offset, struct err *err)
{
	while (count > 0) {
		ssize_t n = pwritev(fd, iov, count, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, errno, "writing a spool file");
		offset += (uint64_t)n;
		while (count > 0 && (size_t)n >= iov->iov_len) {
			n -= (ssize_t)iov->iov_len;
			iov++;
			count--;
		}
		if (count > 0) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

int spool_commit(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], uint64_t content, struct span envelope,
    unsigned char check[16], struct err *err)
{
	static const unsigned char zeros[SPOOL_SLOT];
	unsigned char record[COMMIT_SIZE] = {0};
	crypto_generichash_state state;
	size_t end = (size_t)content + envelope.len;
	struct iovec iov[3] = {{(void *)(uintptr_t)envelope.ptr, envelope.len},
	    {(void *)(uintptr_t)zeros, padded(end) - end}, {record, sizeof(record)}};
	struct stat st;
	int r;

	if (fstat(fd, &st) != 0)
		return err_set_errno(err, errno, "spool file");
	if ((uint64_t)st.st_size < content)
		return err_set(err, E_CORRUPT, "spool file is shorter than its content");
	if ((uint64_t)st.st_size > content && ftruncate(fd, (off_t)content) != 0)
		return err_set_errno(err, errno, "spool file");
	hash_begin(&state, key, id, content, envelope.len);
	r = hash_file(fd, 0, content, &state, err);
	if (r != 0)
		return r;
	crypto_generichash_update(&state, (const unsigned char *)envelope.ptr, envelope.len);
	head_put(record, RECORD_COMMIT, sizeof(record));
	put_le(record + RECORD_HEAD, content, 8);
	put_le(record + RECORD_HEAD + 8, envelope.len, 8);
	crypto_generichash_final(&state, check, RECORD_MAC);
	memcpy(record + COMMIT_SIZE - RECORD_MAC, check, RECORD_MAC);
	r = write_all(fd, iov, 3, content, err);
	/* The mark that tells a damaged file from one that was never committed. */
	if (r == 0 && fchmod(fd, 0700) != 0)
		r = err_set_errno(err, errno, "fchmod of a spool file");
	/* The one sync. Its failure is final: the kernel reports it once and forgets. */
	if (r == 0 && fsync(fd) != 0)
		r = err_set_errno(err, errno, "fsync of a spool file");
	return r;
}

/* ---- delivery records ---- */

static void record_mac(const unsigned char key[SPOOL_KEY], uint64_t id, uint64_t offset, const unsigned char *record,
    size_t len, unsigned char out[RECORD_MAC])
{
	crypto_generichash_state state;

	hash_begin(&state, key, id, offset, len);
	crypto_generichash_update(&state, record, len - RECORD_MAC);
	crypto_generichash_final(&state, out, RECORD_MAC);
}

static size_t record_encode(const struct spool_record *r, unsigned char out[RECORD_MAX])
{
	struct span text = span_sub(r->text, 0, SPOOL_TEXT_MAX);
	size_t len = padded(RECORD_HEAD + 27 + text.len + RECORD_MAC);
	unsigned char *p = out + RECORD_HEAD;

	memset(out, 0, len);
	head_put(out, RECORD_DELIVERY, len);
	p[0] = (unsigned char)r->status;
	put_le(p + 1, r->recipient, 4);
	put_le(p + 5, r->attempts, 4);
	put_le(p + 9, (uint64_t)r->when, 8);
	put_le(p + 17, (uint64_t)r->next, 8);
	put_le(p + 25, text.len, 2);
	if (text.len > 0)
		memcpy(p + 27, text.ptr, text.len);
	return len;
}

int spool_append(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], const struct spool_record *records,
    size_t count, bool sync, struct err *err)
{
	struct stat st;
	uint64_t offset;

	if (fstat(fd, &st) != 0)
		return err_set_errno(err, errno, "spool file");
	offset = padded((size_t)st.st_size); /* past a torn tail */
	for (size_t i = 0; i < count; i++) {
		unsigned char record[RECORD_MAX];
		size_t len = record_encode(&records[i], record);
		struct iovec iov = {record, len};
		int r;

		record_mac(key, id, offset, record, len, record + len - RECORD_MAC);
		r = write_all(fd, &iov, 1, offset, err);
		if (r != 0)
			return r;
		offset += len;
	}
	if (sync && fdatasync(fd) != 0)
		return err_set_errno(err, errno, "fdatasync of a spool file");
	return 0;
}

static int record_decode(const unsigned char *p, size_t len, struct pool *pool, struct spool_record *out)
{
	size_t text;

	if (len < RECORD_HEAD + 27 + RECORD_MAC)
		return E_CORRUPT;
	p += RECORD_HEAD;
	out->status = (enum spool_status)p[0];
	out->recipient = (uint32_t)get_le(p + 1, 4);
	out->attempts = (uint32_t)get_le(p + 5, 4);
	out->when = (int64_t)get_le(p + 9, 8);
	out->next = (int64_t)get_le(p + 17, 8);
	text = (size_t)get_le(p + 25, 2);
	if (text > len - RECORD_HEAD - 27 - RECORD_MAC || p[0] > SPOOL_WARNED)
		return E_CORRUPT;
	out->text = pool_span(pool, span_of(p + 27, text));
	return out->text.ptr ? 0 : E_NOMEM;
}

/* ---- reading ---- */

static bool head_get(const unsigned char *record, unsigned *kind, size_t *len)
{
	*kind = record[4];
	*len = (size_t)get_le(record + 8, 4);
	return get_le(record, 4) == RECORD_MAGIC && *len >= SPOOL_SLOT && *len <= RECORD_MAX && *len % SPOOL_SLOT == 0;
}

/* Does a commit record whose lengths fit stand at offset? Its checksum is looked at by the caller. */
static bool commit_at(int fd, uint64_t offset, uint64_t *content, uint64_t *envelope, unsigned char mac[RECORD_MAC])
{
	unsigned char record[COMMIT_SIZE];
	unsigned kind;
	size_t len;

	if (pread(fd, record, sizeof(record), (off_t)offset) != (ssize_t)sizeof(record) || !head_get(record, &kind, &len) ||
	    kind != RECORD_COMMIT)
		return false;
	*content = get_le(record + RECORD_HEAD, 8);
	*envelope = get_le(record + RECORD_HEAD + 8, 8);
	memcpy(mac, record + COMMIT_SIZE - RECORD_MAC, RECORD_MAC);
	return *content <= offset && *envelope <= SPOOL_ENVELOPE_MAX && *envelope <= offset - *content &&
	       padded((size_t)(*content + *envelope)) == offset;
}

static int read_envelope(int fd, uint64_t content, uint64_t len, struct pool *pool, struct spool_file *out, struct span *wire,
    struct err *err)
{
	char *bytes = pool_alloc(pool, (size_t)len + 1);

	if (bytes == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	if (pread(fd, bytes, (size_t)len, (off_t)content) != (ssize_t)len)
		return err_set(err, E_CORRUPT, "the envelope cannot be read");
	*wire = span_of(bytes, (size_t)len);
	return spool_envelope_decode(*wire, pool, &out->envelope, err);
}

static int read_records(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], uint64_t offset, uint64_t size,
    struct pool *pool, struct spool_file *out)
{
	size_t room = (size_t)((size - offset) / SPOOL_SLOT);

	if (room > RECORDS_MAX)
		room = RECORDS_MAX;
	out->records = pool_array(pool, room + 1, sizeof(*out->records));
	if (out->records == NULL)
		return E_NOMEM;
	while (offset + SPOOL_SLOT <= size && out->record_count < room) {
		unsigned char record[RECORD_MAX], mac[RECORD_MAC];
		unsigned kind;
		size_t len;
		bool good = pread(fd, record, SPOOL_SLOT, (off_t)offset) == SPOOL_SLOT && head_get(record, &kind, &len) &&
			    kind == RECORD_DELIVERY && offset + len <= size &&
			    pread(fd, record, len, (off_t)offset) == (ssize_t)len;

		if (good) {
			record_mac(key, id, offset, record, len, mac);
			good = sodium_memcmp(mac, record + len - RECORD_MAC, RECORD_MAC) == 0 &&
			       record_decode(record, len, pool, &out->records[out->record_count]) == 0;
		}
		if (good)
			out->record_count++;
		else
			out->torn = true; /* one slot is stepped over: what was appended behind it counts */
		offset += good ? len : SPOOL_SLOT;
	}
	if (offset < size)
		out->torn = true;
	return 0;
}

/* The newest offset at which a commit record with fitting lengths stands. */
static bool find_commit(int fd, uint64_t size, uint64_t *offset, uint64_t *content, uint64_t *envelope, unsigned char *mac)
{
	uint64_t at = size / SPOOL_SLOT * SPOOL_SLOT;

	for (size_t steps = 0; at >= SPOOL_SLOT && steps < RECORDS_MAX; steps++) {
		at -= SPOOL_SLOT;
		if (at + COMMIT_SIZE <= size && commit_at(fd, at, content, envelope, mac)) {
			*offset = at;
			return true;
		}
	}
	return false;
}

int spool_read(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], bool content_too, struct pool *pool,
    struct spool_file *out, struct err *err)
{
	unsigned char stored[RECORD_MAC], mac[RECORD_MAC];
	uint64_t offset = 0, content, envelope;
	crypto_generichash_state state;
	struct span wire;
	struct stat st;
	int r;

	*out = (struct spool_file){.id = id};
	if (fstat(fd, &st) != 0)
		return err_set_errno(err, errno, "spool file");
	if (!find_commit(fd, (uint64_t)st.st_size, &offset, &content, &envelope, stored))
		return st.st_mode & S_IXUSR ? err_set(err, E_CORRUPT, "the commit record is damaged or missing")
					    : err_set(err, E_NOTFOUND, "never committed");
	out->content = content;
	memcpy(out->check, stored, RECORD_MAC);
	r = read_envelope(fd, content, envelope, pool, out, &wire, err);
	if (r != 0)
		return r;
	if (content_too) {
		hash_begin(&state, key, id, content, envelope);
		r = hash_file(fd, 0, content, &state, err);
		if (r != 0)
			return r;
		crypto_generichash_update(&state, (const unsigned char *)wire.ptr, wire.len);
		crypto_generichash_final(&state, mac, RECORD_MAC);
		if (sodium_memcmp(mac, stored, RECORD_MAC) != 0)
			return err_set(err, E_CORRUPT, "the checksum does not fit: content or envelope was changed");
	}
	r = read_records(fd, id, key, offset + COMMIT_SIZE, (uint64_t)st.st_size, pool, out);
	return r == 0 ? 0 : err_set(err, r, "out of memory");
}
