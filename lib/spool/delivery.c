/*
 * Delivery records: what became of recipients, appended behind the commit record.
 *
 * A message that is put off for days gets one for each recipient and try. So a long journal is read twice: first it is noted where the
 * records are that no later one has overridden, then those are taken. They do as much as all, and need memory for recipients, not for tries.
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
	DELIVERY_PIECE = 4096,	       /* read at once */
	DELIVERY_FIELDS = 27,	       /* before the text */
	DELIVERY_APPEND_MAX = 100000,  /* records at once */
	DELIVERY_LONG = 256 * 1024,    /* a journal up to here is read once, and all of it kept */
	DELIVERY_TARGETS_MAX = 32768,  /* targets that are done while others behind their alias are not; more than fit into queue's memory of one message */
};

/* ---- writing ---- */

static size_t encode(const struct spool_record *r, unsigned char out[RECORD_MAX])
{
	struct span text = span_sub(r->text, 0, SPOOL_TEXT_MAX);
	size_t len = journal_padded(RECORD_HEAD + DELIVERY_FIELDS + text.len + RECORD_MAC);
	unsigned char *p = out + RECORD_HEAD;

	memset(out, 0, len);
	journal_head_put(out, RECORD_DELIVERY, len);
	p[0] = (unsigned char)r->status;
	put_le(p + 1, r->recipient, 4);
	put_le(p + 5, r->attempts, 4);
	put_le(p + 9, (uint64_t)r->when, 8);
	put_le(p + 17, (uint64_t)r->next, 8);
	put_le(p + 25, text.len, 2);
	if (text.len > 0)
		memcpy(p + DELIVERY_FIELDS, text.ptr, text.len);
	return len;
}

int spool_append(int fd, uint64_t id, const unsigned char key[SPOOL_KEY], const struct spool_record *records,
    size_t count, bool sync, struct err *err)
{
	struct stat st;
	uint64_t offset;
	unsigned char *all;
	struct iovec iov;
	size_t len = 0;
	int r = 0;

	if (fstat(fd, &st) != 0)
		return err_set_errno(err, errno, "spool file");
	all = count <= DELIVERY_APPEND_MAX ? malloc(count * RECORD_MAX + 1) : NULL;
	if (all == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	offset = journal_padded((size_t)st.st_size); /* past a torn tail */
	for (size_t i = 0; i < count; i++) {
		size_t one = encode(&records[i], all + len);

		journal_mac(key, id, offset + len, all + len, one, (struct span){0}, all + len + one - RECORD_MAC);
		len += one;
	}
	iov = (struct iovec){all, len};
	if (len > 0 && !pwritev_whole(fd, &iov, 1, offset))
		r = err_set_errno(err, errno, "writing a spool file");
	free(all);
	/* Behind the commit's sync, never before it: a file with the mark was whole once, and is damaged if it is not. */
	if (r == 0 && (st.st_mode & S_IXUSR) == 0 && fchmod(fd, MODE_RESTS) != 0)
		r = err_set_errno(err, errno, "fchmod of a spool file");
	if (r == 0 && sync && fdatasync(fd) != 0)
		r = err_set_errno(err, errno, "fdatasync of a spool file");
	return r;
}

/* ---- one record ---- */

struct reader {
	const struct journal_place *place;
	struct err *err;
	uint64_t begin; /* of what is in piece */
	size_t have;
	unsigned char piece[DELIVERY_PIECE];
};

/* 0, E_IO. out: borrowed until the next call. */
static int octets(struct reader *r, uint64_t offset, size_t len, const unsigned char **out)
{
	uint64_t left = r->place->end - offset;
	ssize_t n;

	if (offset < r->begin || offset + len > r->begin + r->have) {
		n = pread(r->place->fd, r->piece, left < sizeof(r->piece) ? (size_t)left : sizeof(r->piece), (off_t)offset);
		r->begin = offset;
		r->have = n > 0 ? (size_t)n : 0;
		if (n < 0)
			return err_set_errno(r->err, errno, "reading a spool file");
		if (r->have < len)
			return err_set(r->err, E_IO, "a spool file became shorter while it was read");
	}
	*out = r->piece + (offset - r->begin);
	return 0;
}

/* 1: a whole record that queue has written; 0: torn, or not ours; negative: E_IO. record: borrowed, as of octets. */
static int get(struct reader *r, uint64_t offset, const unsigned char **record, size_t *len)
{
	const struct journal_place *place = r->place;
	unsigned char mac[RECORD_MAC];
	unsigned kind;
	int code = octets(r, offset, SPOOL_SLOT, record);

	if (code != 0)
		return code;
	if (!journal_head_get(*record, &kind, len) || *len > place->end - offset)
		return 0;
	code = octets(r, offset, *len, record);
	if (code != 0)
		return code;
	journal_mac(place->key, place->id, offset, *record, *len, (struct span){0}, mac);
	return sodium_memcmp(mac, *record + *len - RECORD_MAC, RECORD_MAC) == 0;
}

/* text: borrowed from the record. False: it says what this version does not know. */
static bool decode(const unsigned char *p, size_t len, struct spool_record *out)
{
	size_t text;

	if (p[4] != RECORD_DELIVERY || len < RECORD_HEAD + DELIVERY_FIELDS + RECORD_MAC)
		return false;
	p += RECORD_HEAD;
	out->status = (enum spool_status)p[0];
	out->recipient = (uint32_t)get_le(p + 1, 4);
	out->attempts = (uint32_t)get_le(p + 5, 4);
	out->when = (int64_t)get_le(p + 9, 8);
	out->next = (int64_t)get_le(p + 17, 8);
	text = (size_t)get_le(p + 25, 2);
	out->text = span_of(p + DELIVERY_FIELDS, text);
	return text <= len - RECORD_HEAD - DELIVERY_FIELDS - RECORD_MAC && p[0] <= SPOOL_STATUS_LAST;
}

/* ---- all of them, in order ---- */

typedef int take_record(void *arg, uint64_t offset, const struct spool_record *record);

/* 0, what take says, E_IO, E_CORRUPT. */
static int each_record(struct reader *r, take_record *take, void *arg, bool *torn)
{
	uint64_t offset = r->place->begin;

	while (r->place->end - offset >= SPOOL_SLOT) {
		const unsigned char *bytes;
		struct spool_record record;
		size_t len;
		int code = get(r, offset, &bytes, &len);

		if (code < 0)
			return code;
		if (code == 0) {
			*torn = true; /* one slot is stepped over: what was appended behind it counts */
			offset += SPOOL_SLOT;
			continue;
		}
		/* Left out, a recipient who has the message would get it again. */
		if (!decode(bytes, len, &record))
			return err_set(r->err, E_CORRUPT, "a delivery record says what this version does not know");
		code = take(arg, offset, &record);
		if (code != 0)
			return code;
		offset += len;
	}
	*torn |= offset < r->place->end;
	return 0;
}

struct kept {
	struct pool *pool;
	struct spool_file *file;
	struct err *err;
};

/* There is room for it in the array. */
static int keep(void *arg, uint64_t offset, const struct spool_record *record)
{
	struct kept *k = arg;
	struct spool_record *r = &k->file->records[k->file->record_count];

	(void)offset;
	*r = *record;
	r->text = pool_span(k->pool, record->text);
	if (r->text.ptr == NULL)
		return err_set(k->err, E_NOMEM, "out of memory");
	k->file->record_count++;
	return 0;
}

static int make_array(struct kept *k, size_t count)
{
	k->file->records = pool_array(k->pool, count + 1, sizeof(*k->file->records));
	return k->file->records != NULL ? 0 : err_set(k->err, E_NOMEM, "out of memory");
}

/* ---- a long journal: those that are not overridden ---- */

/* Of what there is only the last counts: of the whole message, and of each recipient. */
enum { LAST_HELD, LAST_WARNED, LAST_KEPT, LAST_REQUEUED, LAST_PUT_OFF, LAST_OF_MESSAGE };
enum { LAST_STATUS, LAST_TOLD, LAST_WAY, LAST_OWNER, LAST_OF_RECIPIENT };

struct fold {
	uint64_t *offsets; /* LAST_OF_MESSAGE, LAST_OF_RECIPIENT for each, then those of targets that are done; 0: there is none */
	size_t recipients, count, size;
	struct err *err;
};

/* Each is another one, and all are needed. */
static int note_target(struct fold *f, uint64_t offset)
{
	if (f->count == f->size) {
		size_t size = 2 * f->size;
		uint64_t *offsets = reallocarray(f->offsets, size, sizeof(*offsets));

		if (offsets == NULL)
			return err_set(f->err, E_NOMEM, "out of memory");
		f->offsets = offsets;
		f->size = size;
	}
	if (f->count == LAST_OF_MESSAGE + f->recipients * LAST_OF_RECIPIENT + DELIVERY_TARGETS_MAX)
		return err_set(f->err, E_CORRUPT, "more than %d records of targets that are done", DELIVERY_TARGETS_MAX);
	f->offsets[f->count++] = offset;
	return 0;
}

static int note_of_recipient(struct fold *f, uint64_t offset, const struct spool_record *record)
{
	uint64_t *last = f->offsets + LAST_OF_MESSAGE + (size_t)record->recipient * LAST_OF_RECIPIENT;

	switch (record->status) {
	case SPOOL_TARGET_DONE:
		return note_target(f, offset);
	case SPOOL_DSN_SENT:
		last[LAST_TOLD] = offset;
		return 0;
	case SPOOL_REROUTED:
		last[LAST_WAY] = offset;
		return 0;
	case SPOOL_OWNER:
		last[LAST_OWNER] = offset;
		return 0;
	default:
		last[LAST_STATUS] = offset;
		return 0;
	}
}

/*
 * What is left out changes nothing, wherever the last requeuing stands: it concerns the recipients that are not done there, who is done stays
 * so, and who is not has later records or has none. When a message is tried next says the last that was put off, even of a recipient that is done since.
 */
static int note(void *arg, uint64_t offset, const struct spool_record *record)
{
	struct fold *f = arg;

	switch (record->status) {
	case SPOOL_HOLD:
	case SPOOL_RELEASE:
		f->offsets[LAST_HELD] = offset;
		return 0;
	case SPOOL_WARNED:
		f->offsets[LAST_WARNED] = offset;
		return 0;
	case SPOOL_KEPT:
		f->offsets[LAST_KEPT] = offset;
		return 0;
	case SPOOL_REQUEUED:
		f->offsets[LAST_REQUEUED] = offset;
		return 0;
	default:
		if (record->recipient >= f->recipients)
			return 0; /* there is nobody whom it could say something of */
		if (record->status == SPOOL_DEFERRED)
			f->offsets[LAST_PUT_OFF] = offset;
		return note_of_recipient(f, offset, record);
	}
}

static int compare_offsets(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int keep_noted(struct reader *r, struct fold *f, struct kept *k)
{
	int code = make_array(k, f->count);

	qsort(f->offsets, f->count, sizeof(*f->offsets), compare_offsets);
	for (size_t i = 0; i < f->count && code == 0; i++) {
		const unsigned char *bytes;
		struct spool_record record;
		size_t len;

		if (f->offsets[i] == (i > 0 ? f->offsets[i - 1] : 0))
			continue;
		code = get(r, f->offsets[i], &bytes, &len);
		if (code < 0)
			return code;
		if (code == 0 || !decode(bytes, len, &record))
			return err_set(r->err, E_IO, "a spool file changed while it was read");
		code = keep(k, f->offsets[i], &record);
	}
	return code;
}

static int read_long(struct reader *r, struct kept *k)
{
	struct fold f = {.recipients = k->file->envelope.recipient_count, .err = k->err};
	int code;

	f.count = f.size = LAST_OF_MESSAGE + f.recipients * LAST_OF_RECIPIENT;
	f.offsets = calloc(f.size, sizeof(*f.offsets));
	if (f.offsets == NULL)
		return err_set(k->err, E_NOMEM, "out of memory");
	code = each_record(r, note, &f, &k->file->torn);
	if (code == 0)
		code = keep_noted(r, &f, k);
	free(f.offsets);
	return code;
}

int journal_read_deliveries(const struct journal_place *place, struct pool *pool, struct spool_file *out, struct err *err)
{
	struct kept k = {.pool = pool, .file = out, .err = err};
	struct reader r = {.place = place, .err = err};
	int code;

	out->journal = place->end - place->begin;
	if (out->journal > DELIVERY_LONG)
		return read_long(&r, &k);
	code = make_array(&k, (size_t)out->journal / SPOOL_SLOT);
	return code == 0 ? each_record(&r, keep, &k, &out->torn) : code;
}
