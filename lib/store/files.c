/* Message files: mail/<period>/<number>.<mailbox>.<date>.<checksum>, all in hex; never changed once written. */
#include "store/private.h"

#include "base/clock.h"
#include "base/checksum.h"
#include "base/whole.h"
#include "imap/facts.h"
#include "store/draft.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NUMBER_COUNT_BITS = 22, NUMBER_PERIOD_BITS = 52, PERIOD_NAME = 4 };
#define NUMBER_EPOCH_MS INT64_C(1704067200000)

/*
 * 42 bits of milliseconds, a clear one and 21 random ones. Within a millisecond the next is one more, so that those of one
 * process differ, however many it takes. Two processes with one account may draw the same; draft_own_number sees it.
 */
uint64_t file_new_number(uint64_t last)
{
	int64_t wall = clock_wall_ms() - NUMBER_EPOCH_MS;
	uint64_t ms = wall > 0 ? (uint64_t)wall : 0;
	uint32_t random = 0;

	if (last != 0 && ms == last >> NUMBER_COUNT_BITS)
		return last + 1;
	if (getrandom(&random, sizeof(random), 0) < 0)
		random = (uint32_t)clock_monotonic_ms();
	return ms << NUMBER_COUNT_BITS | random >> (33 - NUMBER_COUNT_BITS);
}

/* What comes at the same time lies side by side: a batch of deliveries touches one directory, not many. 2^30 ms are 12 days. */
static unsigned file_period(uint64_t number)
{
	return (unsigned)(number >> NUMBER_PERIOD_BITS);
}

bool file_is_old(uint64_t number, int64_t ms)
{
	return clock_wall_ms() - NUMBER_EPOCH_MS - (int64_t)(number >> NUMBER_COUNT_BITS) > ms;
}

void file_name(const struct file_name *f, char out[STORE_FILE_NAME])
{
	int n = snprintf(out, STORE_FILE_NAME, "mail/%03x/%016" PRIx64 ".%" PRIx32 ".%" PRIx64, file_period(f->number), f->number, f->mailbox,
	    (uint64_t)f->arrived);

	if (f->sum != 0)
		snprintf(out + n, STORE_FILE_NAME - (size_t)n, ".%016" PRIx64, f->sum);
}

void message_file_name(const struct store_message *m, char out[STORE_FILE_NAME])
{
	file_name(&(struct file_name){m->number, m->origin, m->arrived, m->sum}, out);
}

/* Digits as printf writes them: `width` of them, or, when that is 0, as few as do, up to `most`. */
static bool take_hex(const char **p, size_t width, size_t most, uint64_t *out)
{
	static const char digits[] = "0123456789abcdef";
	const char *start = *p, *digit;

	for (*out = 0; **p != '\0' && (digit = strchr(digits, **p)) != NULL && (size_t)(*p - start) < most; ++*p)
		*out = *out << 4 | (uint64_t)(digit - digits);
	return width > 0 ? (size_t)(*p - start) == width : *p > start && (start[0] != '0' || *p == start + 1);
}

static bool take_dot(const char **p)
{
	if (**p != '.')
		return false;
	++*p;
	return true;
}

bool file_parse(const char *name, struct file_name *out)
{
	uint64_t mailbox, date;

	*out = (struct file_name){0};
	if (!take_hex(&name, 16, 16, &out->number) || !take_dot(&name) || !take_hex(&name, 0, 8, &mailbox) || !take_dot(&name) ||
	    !take_hex(&name, 0, 16, &date))
		return false;
	out->mailbox = (uint32_t)mailbox;
	out->arrived = (int64_t)date;
	if (take_dot(&name) && (!take_hex(&name, 16, 16, &out->sum) || out->sum == 0))
		return false;
	return *name == '\0';
}

uint64_t file_sum(struct span content)
{
	uint64_t sum = checksum(content.ptr, content.len, 0);

	return sum != 0 ? sum : 1;
}

/* 0 and NULL when there is none. */
static int directory_open(int dir, const char *path, DIR **out)
{
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), r = 0;

	*out = fd < 0 ? NULL : fdopendir(fd);
	if (*out == NULL && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		r = err_from_errno(errno);
	if (*out == NULL && fd >= 0)
		close(fd);
	return r;
}

/* False at the end, and when the directory cannot be read: then *r says why. What is left out here would be lost to a rebuild. */
static bool next_entry(DIR *d, struct dirent **entry, int *r)
{
	if (d == NULL || *r != 0)
		return false;
	errno = 0;
	*entry = readdir(d);
	if (*entry == NULL && errno != 0)
		*r = err_from_errno(errno);
	return *entry != NULL;
}

typedef int entry_visit(void *arg, const char *path, const char *name);

static int period_each(int dir, const char *period, entry_visit *fn, void *arg)
{
	char path[STORE_FILE_NAME + 256];
	struct dirent *entry;
	DIR *d;
	int r;

	snprintf(path, sizeof(path), "mail/%.*s", PERIOD_NAME, period);
	r = directory_open(dir, path, &d);
	while (next_entry(d, &entry, &r)) {
		snprintf(path, sizeof(path), "mail/%.*s/%s", PERIOD_NAME, period, entry->d_name);
		r = fn(arg, path, entry->d_name);
	}
	if (d != NULL)
		closedir(d);
	return r;
}

/* Whatever lies in mail/<period>/. */
static int entries_each(int dir, entry_visit *fn, void *arg)
{
	DIR *d;
	struct dirent *entry;
	int r = directory_open(dir, "mail", &d);

	while (next_entry(d, &entry, &r))
		if (strlen(entry->d_name) == PERIOD_NAME - 1)
			r = period_each(dir, entry->d_name, fn, arg);
	if (d != NULL)
		closedir(d);
	return r;
}

struct visit {
	file_visit *fn;
	void *arg;
};

static int visit_file(void *arg, const char *path, const char *entry)
{
	struct visit *v = arg;
	char period[STORE_FILE_NAME];
	struct file_name name;

	if (!file_parse(entry, &name))
		return 0;
	snprintf(period, sizeof(period), "mail/%03x/", file_period(name.number));
	return strncmp(path, period, strlen(period)) == 0 ? v->fn(v->arg, path, &name) : 0;
}

int files_each(int dir, file_visit *fn, void *arg)
{
	return entries_each(dir, visit_file, &(struct visit){fn, arg});
}

/* What a draft is called until its checksum is known; no message file is called so. */
static void draft_name(uint64_t number, char out[STORE_FILE_NAME])
{
	snprintf(out, STORE_FILE_NAME, "mail/%03x/%016" PRIx64 ".new", file_period(number), number);
}

static int visit_draft(void *arg, const char *path, const char *entry)
{
	struct visit *v = arg;
	char expected[STORE_FILE_NAME];
	struct file_name name = {0};

	if (sscanf(entry, "%16" SCNx64 ".new", &name.number) != 1)
		return 0;
	draft_name(name.number, expected);
	return strcmp(path, expected) == 0 ? v->fn(v->arg, path, &name) : 0;
}

int drafts_each(int dir, file_visit *fn, void *arg)
{
	return entries_each(dir, visit_draft, &(struct visit){fn, arg});
}

/* ---- drafts ---- */

enum { DRAFT_GATHER = 64 * 1024, DRAFT_POOL = 8 * 1024 * 1024, DRAFT_TRIES = 8 };

/* mail/<period>, made and synced: its name must not be lost while its files are kept. */
static int period_make(int dir, uint64_t number, struct err *err)
{
	char period[16];
	int parent, r = 0;

	snprintf(period, sizeof(period), "mail/%03x", file_period(number));
	if (mkdirat(dir, period, 0700) != 0 && errno != EEXIST)
		return err_set_errno(err, errno, "mkdir %s", period);
	parent = openat(dir, "mail", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 || fsync(parent) != 0)
		r = err_set_errno(err, errno, "sync of mail/");
	if (parent >= 0)
		close(parent);
	return r;
}

/* sum: of the content, 0 when it is not known yet. */
static int draft_create(struct store_draft *d, uint64_t sum, struct err *err)
{
	int r = 0;

	for (int i = 0; i < DRAFT_TRIES && r == 0; i++) {
		d->number = d->store->last_number = file_new_number(d->store->last_number);
		if (sum != 0)
			file_name(&(struct file_name){d->number, d->mailbox, d->arrived, sum}, d->name);
		else
			draft_name(d->number, d->name);
		for (bool again = true; r == 0;) {
			d->fd = openat(d->store->dir, d->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
			d->made = d->fd >= 0;
			if (d->made)
				return 0;
			if (errno == EEXIST)
				break;
			if (errno != ENOENT || !again)
				return err_set_errno(err, errno, "message file %s", d->name);
			r = period_make(d->store->dir, d->number, err);
			again = false;
		}
	}
	return r != 0 ? r : err_set(err, E_IO, "no free name for a message file");
}

int store_draft_new(struct store *store, uint32_t mailbox, int64_t arrived, struct store_draft **out, struct err *err)
{
	struct pool *pool = pool_new(NULL, DRAFT_POOL);
	struct store_draft *d = pool ? pool_new_object(pool, struct store_draft) : NULL;

	*out = NULL;
	if (d == NULL) {
		pool_free(&pool);
		return err_set(err, E_NOMEM, "no memory for a message");
	}
	d->pool = pool;
	d->store = store;
	d->mailbox = mailbox;
	d->arrived = arrived;
	d->fd = -1;
	buf_init(&d->pending, DRAFT_GATHER);
	*out = d;
	return 0;
}

static int write_out(struct store_draft *d, struct span bytes, struct err *err)
{
	struct span before = buf_span(&d->pending);
	struct iovec iov[2] = {{(void *)(uintptr_t)before.ptr, before.len}, {(void *)(uintptr_t)bytes.ptr, bytes.len}};

	if (!writev_whole(d->fd, iov, 2))
		return err_set_errno(err, errno, "writing a message file");
	buf_clear(&d->pending);
	return 0;
}

int store_draft_write(struct store_draft *d, struct span bytes, struct err *err)
{
	d->size += bytes.len;
	if (d->size > UINT32_MAX)
		return err_set(err, E_TOOBIG, "the message is too large");
	if (buf_len(&d->pending) + bytes.len > DRAFT_GATHER) {
		int r = d->made ? 0 : draft_create(d, 0, err);

		return r == 0 ? write_out(d, bytes, err) : r;
	}
	buf_add_span(&d->pending, bytes);
	return buf_failed(&d->pending) ? err_set(err, E_NOMEM, "out of memory") : 0;
}

int store_facts_find(struct span message, int64_t arrived, struct pool *pool, struct store_facts *out, struct err *err)
{
	struct imap_facts facts;
	int r = imap_facts_find(message, pool, &facts, err);

	if (r != 0)
		return r;
	*out = (struct store_facts){.header_size = facts.header_size,
	    .header_sum = file_sum(span_sub(message, 0, facts.header_size)),
	    .sent = facts.sent == INT64_MIN ? arrived : facts.sent,
	    .envelope = facts.envelope,
	    .body = facts.body,
	    .bodystructure = facts.bodystructure,
	    .parts = facts.parts};
	return 0;
}

/* Of a larger one the name changes before its sync, which makes the new one durable. */
static int draft_rename(struct store_draft *d)
{
	char name[STORE_FILE_NAME];

	file_name(&(struct file_name){d->number, d->mailbox, d->arrived, d->sum}, name);
	if (renameat(d->store->dir, d->name, d->store->dir, name) != 0)
		return err_set_errno(&d->err, errno, "message file %s", name);
	memcpy(d->name, name, sizeof(d->name));
	return 0;
}

static int look_at(struct store_draft *d, struct span all)
{
	d->sum = file_sum(all);
	return store_facts_find(all, d->arrived, d->pool, &d->facts, &d->err);
}

/* A small message is still in memory: it is looked into there, and its file has its name from the beginning. */
static int look_and_write(struct store_draft *d)
{
	struct span all = buf_span(&d->pending);
	void *map;
	int r;

	if (!d->made) {
		r = look_at(d, all);
		if (r == 0)
			r = draft_create(d, d->sum, &d->err);
		return r == 0 ? write_out(d, span_str(""), &d->err) : r;
	}
	r = write_out(d, span_str(""), &d->err);
	if (r != 0)
		return r;
	map = mmap(NULL, d->size, PROT_READ, MAP_PRIVATE, d->fd, 0);
	if (map == MAP_FAILED)
		return err_set_errno(&d->err, errno, "message file");
	r = look_at(d, span_of(map, d->size));
	munmap(map, d->size);
	return r == 0 ? draft_rename(d) : r;
}

void store_drafts_finish(struct store_draft **drafts, int *codes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		codes[i] = look_and_write(drafts[i]);
		/* All are on their way before the first is waited for. */
		if (codes[i] == 0 && count > 1)
			sync_file_range(drafts[i]->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	for (size_t i = 0; i < count; i++) {
		if (codes[i] == 0 && fsync(drafts[i]->fd) != 0)
			codes[i] = err_set_errno(&drafts[i]->err, errno, "fsync of a message file");
		drafts[i]->finished = codes[i] == 0;
		if (drafts[i]->fd >= 0)
			close(drafts[i]->fd);
		drafts[i]->fd = -1;
		buf_fini(&drafts[i]->pending);
	}
}

int store_draft_finish(struct store_draft *draft, struct err *err)
{
	int code;

	store_drafts_finish(&draft, &code, 1);
	if (code != 0 && err != NULL)
		*err = draft->err;
	return code;
}

uint64_t store_draft_size(const struct store_draft *draft)
{
	return draft->size;
}

void store_draft_free(struct store_draft **dp)
{
	struct store_draft *d = *dp;
	struct pool *pool = d ? d->pool : NULL;

	if (d == NULL)
		return;
	*dp = NULL;
	if (d->fd >= 0)
		close(d->fd);
	if (d->made && !d->filed)
		unlinkat(d->store->dir, d->name, 0);
	buf_fini(&d->pending);
	pool_free(&pool);
}

/* For hours only after hours of writing. */
bool draft_is_there(const struct store_draft *d)
{
	return !file_is_old(d->number, STORE_DRAFT_MS / 2) || faccessat(d->store->dir, d->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The file is synced, and closed: its new name is durable when it was synced again. */
static int draft_renumber(struct store_draft *d, uint64_t number)
{
	int r;

	d->number = number;
	r = draft_rename(d);
	if (r != 0)
		return r;
	d->fd = openat(d->store->dir, d->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (d->fd < 0 || fsync(d->fd) != 0)
		r = err_set_errno(&d->err, errno, "message file %s", d->name);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	return r;
}

/* The next free one, not one of now: in a rebuild an old message stays in its directory and in its place. */
int draft_own_number(struct store_txn *txn, struct store_draft *d, struct err *err)
{
	uint64_t number = d->number;
	int r = facts_taken(txn, number, err);

	while (r == 0)
		r = facts_taken(txn, ++number, err);
	if (r != E_NOTFOUND)
		return r;
	r = number != d->number ? draft_renumber(d, number) : 0;
	if (r != 0)
		*err = d->err;
	return r;
}

void store_draft_kept(struct store_draft *draft)
{
	draft->filed = true;
}

int store_file_open(struct store *store, const struct store_message *m, int *fd, struct err *err)
{
	char name[STORE_FILE_NAME];
	struct stat st;
	int r;

	message_file_name(m, name);
	*fd = openat(store->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (*fd < 0)
		return errno == ENOENT ? err_set(err, E_CORRUPT, "message file %s is missing", name) : err_set_errno(err, errno, "%s", name);
	if (fstat(*fd, &st) != 0)
		r = err_set_errno(err, errno, "%s", name);
	else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == m->size)
		return 0;
	else
		r = err_set(err, E_CORRUPT, "message file %s has %lld octets in place of %u", name, (long long)st.st_size, m->size);
	close(*fd);
	*fd = -1;
	return r;
}

static int wrong_content(const struct store_message *m, struct err *err)
{
	char name[STORE_FILE_NAME];

	message_file_name(m, name);
	return err_set(err, E_CORRUPT, "message file %s: its content does not fit its checksum", name);
}

int store_file_verify(const struct store_message *m, struct span content, struct err *err)
{
	return m->sum == 0 || file_sum(content) == m->sum ? 0 : wrong_content(m, err);
}

int store_header_verify(const struct store_message *m, const struct store_facts *facts, struct span content, struct err *err)
{
	return facts->header_size <= content.len && file_sum(span_sub(content, 0, facts->header_size)) == facts->header_sum ? 0 : wrong_content(m, err);
}
