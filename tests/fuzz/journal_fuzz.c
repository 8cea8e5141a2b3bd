/*
 * Spool files. What is read from a file, whatever was done to it since, is what
 * was committed and recorded, or nothing: content, envelope and records have checksums.
 *
 * Input: a byte; 'r': the rest is the file as it is. Else what is written and how
 * it is damaged: content and envelope's texts up to line ends; then one
 * line each: "+N text" a record of status N, "*" so many that put off that not all are kept (once), "xO B" octet O changed by B, "-N" N
 * octets cut off.
 */
#include "tests/fuzz/fuzz.h"

#include "spool/spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORDS = 16, MANY = 4200 };

static const unsigned char key[SPOOL_KEY] = "a key that nobody else has.....";
static const uint64_t id = 12345;

struct written {
	struct span content, envelope;
	struct spool_record records[RECORDS];
	size_t count;
	unsigned char check[SPOOL_CHECK];
	bool damaged, many;
};

static int new_file(void)
{
	int fd = memfd_create("spool", MFD_CLOEXEC);

	fuzz_assert(fd >= 0 && fchmod(fd, 0600) == 0);
	return fd;
}

static void put(int fd, struct span s, uint64_t offset)
{
	fuzz_assert(pwrite(fd, s.ptr, s.len, (off_t)offset) == (ssize_t)s.len);
}

static uint64_t number(struct span text)
{
	uint64_t n;

	return span_u64(text, UINT32_MAX, &n) ? n : 0;
}

static void damage(int fd, char what, struct span args, struct written *w)
{
	uint64_t n = number(fuzz_until(&args, ' '));
	struct stat st;
	unsigned char c;

	fuzz_assert(fstat(fd, &st) == 0);
	if (what == '-') {
		n = n < (uint64_t)st.st_size ? n : (uint64_t)st.st_size;
		fuzz_assert(ftruncate(fd, st.st_size - (off_t)n) == 0);
		w->damaged |= n > 0;
	} else if (n < (uint64_t)st.st_size && pread(fd, &c, 1, (off_t)n) == 1) {
		unsigned char change = (unsigned char)number(args);

		c ^= change;
		w->damaged |= change != 0;
		put(fd, span_of(&c, 1), n);
	}
}

/* None of them is a record that counts when another of recipient 0 comes, nor is one of written. */
static void make_long(int fd, struct written *w)
{
	static struct spool_record many[MANY];
	struct err err;

	for (size_t i = 0; i < MANY; i++)
		many[i] = (struct spool_record){.status = SPOOL_DEFERRED, .attempts = 1};
	fuzz_assert(spool_append(fd, id, key, many, MANY, false, &err) == 0);
	w->many = true;
}

static void run_line(int fd, struct span line, struct written *w)
{
	char what = line.len > 0 ? line.ptr[0] : ' ';
	struct err err;

	line = span_from(line, 1);
	if (what == '+' && w->count < RECORDS) {
		struct spool_record *r = &w->records[w->count++];

		*r = (struct spool_record){.status = (enum spool_status)(number(fuzz_until(&line, ' ')) % (SPOOL_STATUS_LAST + 1)),
		    .attempts = 1 + (uint32_t)w->count, .when = 3, .next = 4, .text = span_sub(line, 0, SPOOL_TEXT_MAX)};
		fuzz_assert(spool_append(fd, id, key, r, 1, false, &err) == 0);
	} else if (what == '*' && !w->many) {
		make_long(fd, w);
	} else if (what == '-' || what == 'x') {
		damage(fd, what, line, w);
	}
}

static bool same_record(const struct spool_record *a, const struct spool_record *b)
{
	return a->status == b->status && a->recipient == b->recipient && a->attempts == b->attempts && a->when == b->when &&
	       a->next == b->next && span_eq(a->text, b->text);
}

static bool is_of_status(const struct spool_record *r)
{
	return r->status <= SPOOL_EXPIRED;
}

/* What became of the only recipient. */
static const struct spool_record *last_status(const struct spool_record *records, size_t count)
{
	while (count > 0 && !is_of_status(&records[count - 1]))
		count--;
	return count > 0 ? &records[count - 1] : NULL;
}

/* In the order of writing; damage may have taken some. Of many not all are kept. */
static void look_at_records(const struct spool_file *file, const struct written *w)
{
	const struct spool_record *last = last_status(file->records, file->record_count), *wrote = last_status(w->records, w->count);
	size_t at = 0, own = 0;

	for (size_t i = 0; i < file->record_count; i++) {
		if (w->many && file->records[i].attempts == 1)
			continue;
		while (at < w->count && !same_record(&file->records[i], &w->records[at]))
			at++;
		fuzz_assert(at++ < w->count);
		own++;
	}
	if (w->damaged)
		return;
	fuzz_assert(!file->torn && (w->many || own == w->count));
	fuzz_assert(wrote == NULL || last != NULL);
	fuzz_assert(wrote == NULL || last->attempts == 1 || same_record(last, wrote));
}

static void look(int fd, const struct written *w)
{
	struct pool *pool = pool_new(NULL, 0);
	struct spool_file file;
	struct buf wire;
	struct err err;
	int r = spool_read(fd, id, key, true, pool, &file, &err);

	fuzz_assert(r == 0 || (w->damaged && (r == E_CORRUPT || r == E_NOTFOUND)));
	if (r == 0) {
		fuzz_assert(file.content == w->content.len && memcmp(file.check, w->check, sizeof(w->check)) == 0);
		buf_init(&wire, SPOOL_ENVELOPE_MAX);
		fuzz_assert(spool_envelope_encode(&file.envelope, &wire) == 0);
		fuzz_assert_same(buf_span(&wire), w->envelope);
		buf_fini(&wire);
		look_at_records(&file, w);
	}
	/* Without the content's checksum it is the same, but for the content. */
	if (r == 0 || r == E_NOTFOUND)
		fuzz_assert(spool_read(fd, id, key, false, pool, &file, &err) == r);
	/* Another file's name, another queue's key. */
	fuzz_assert(spool_read(fd, id + 1, key, false, pool, &file, &err) != 0);
	fuzz_assert(spool_read(fd, id, (const unsigned char *)"another key....................", false, pool, &file, &err) != 0);
	pool_free(&pool);
}

static void write_and_damage(struct span input)
{
	struct written w = {.content = fuzz_until(&input, '\n')};
	struct span sender = fuzz_until(&input, '\n'), address = fuzz_until(&input, '\n');
	struct spool_recipient to = {.address = address.len > 0 ? address : SPAN_LIT("a@b"), .local = true};
	struct spool_envelope envelope = {.source = SPOOL_FROM_SMTP, .sender = sender, .recipient_count = 1, .recipients = &to};
	struct spool_commit commit;
	struct buf wire;
	struct err err;
	int fd = new_file();

	buf_init(&wire, SPOOL_ENVELOPE_MAX);
	if (spool_envelope_encode(&envelope, &wire) == 0) {
		w.envelope = buf_span(&wire);
		put(fd, w.content, 0);
		commit = (struct spool_commit){.id = id, .content = w.content.len, .envelope = w.envelope};
		fuzz_assert(spool_commit(fd, key, &commit, &err) == 0);
		memcpy(w.check, commit.check, sizeof(w.check));
		fuzz_assert(fchmod(fd, 0700) == 0);
		while (input.len > 0)
			run_line(fd, fuzz_until(&input, '\n'), &w);
		look(fd, &w);
	}
	buf_fini(&wire);
	close(fd);
}

static void read_raw(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	struct spool_file file;
	struct err err;
	int fd = new_file(), r;

	put(fd, input, 0);
	r = spool_read(fd, id, key, true, pool, &file, &err);
	fuzz_assert(r == E_NOTFOUND);
	fuzz_assert(fchmod(fd, 0700) == 0);
	fuzz_assert(spool_read(fd, id, key, true, pool, &file, &err) == E_CORRUPT);
	pool_free(&pool);
	close(fd);
}

void fuzz_one(struct span input)
{
	if (fuzz_byte(&input) == 'r')
		read_raw(input);
	else
		write_and_damage(input);
}
