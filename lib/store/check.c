/* Everything there is to be found: pages, records, counts, message files. */
#include "store/private.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct check {
	struct store *store;
	struct store_txn *txn;
	store_report *report;
	void *arg;
	struct err *err; /* what ends the check */
	int faults;
	uint64_t bytes;
	uint32_t messages;
	bool unread; /* a mailbox's messages could not be read: nothing is known of the sums */
	struct known known;
};

static void fault(struct check *c, struct span mailbox, uint32_t uid, const char *what)
{
	c->faults++;
	store_say(c->report, c->arg, "mailbox %.*s UID %u: %s", SPAN_ARG(mailbox), uid, what);
}

static int check_file(struct check *c, const struct store_message *m, struct err *err)
{
	void *map = NULL;
	int fd, r = store_file_open(c->store, m, &fd, err);

	if (r != 0)
		return r;
	if (m->size > 0)
		map = mmap(NULL, m->size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return err_set(err, E_IO, "its file cannot be read");
	r = store_file_verify(m, span_of(map, m->size), err);
	if (map != NULL)
		munmap(map, m->size);
	return r;
}

static int check_message(struct check *c, const struct store_mailbox *box, const struct store_message *m)
{
	struct store_facts facts;
	struct err err = {0};
	int r = check_file(c, m, &err);

	if (store_is_passing(r))
		return err_set(c->err, r, "mailbox %.*s UID %u: %s", SPAN_ARG(box->name), m->uid, err.text);
	if (r != 0)
		fault(c, box->name, m->uid, err.text);
	r = store_facts_get(c->txn, m->number, &facts, &err);
	if (store_is_passing(r))
		return r;
	if (r != 0 && r != E_NOTFOUND) /* they may have been too large to be kept */
		fault(c, box->name, m->uid, err.text);
	return 0;
}

/* The messages of a mailbox beside what its groups say of them. */
struct beside {
	const struct store_message *list;
	size_t count, at;
	bool fits;
};

static int stand_beside(void *arg, uint32_t uid, bool unseen)
{
	struct beside *b = arg;
	const struct store_message *m = &b->list[b->at];

	b->fits &= b->at < b->count && m->uid == uid && unseen == !(m->flags & STORE_SEEN);
	b->at++;
	return 0;
}

static int check_groups(struct check *c, const struct store_mailbox *box, const struct store_message *list, size_t count)
{
	struct beside b = {list, count, 0, true};
	struct err err = {0};
	int r = store_uid_each(c->txn, box->id, stand_beside, &b, &err);

	if (r == 0 && (!b.fits || b.at != count))
		fault(c, box->name, 0, "the list of UIDs does not fit the messages");
	return r;
}

static int check_mailbox(void *arg, const struct store_mailbox *box)
{
	struct check *c = arg;
	struct store_message *list;
	struct err err = {0};
	size_t count;
	uint64_t size = 0;
	uint32_t last = 0, unseen = 0;
	int r = store_message_list(c->txn, box->id, 0, c->txn->pool, &list, &count, &err);

	if (store_is_passing(r))
		return r;
	if (r != 0) {
		fault(c, box->name, 0, err.text);
		c->unread = true;
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (list[i].uid <= last || list[i].uid >= box->uidnext)
			fault(c, box->name, list[i].uid, "UID out of order");
		last = list[i].uid;
		r = check_message(c, box, &list[i]);
		if (r != 0)
			return r;
		size += list[i].size;
		unseen += !(list[i].flags & STORE_SEEN);
	}
	if (unseen != box->unseen)
		fault(c, box->name, 0, "count of unseen does not fit the messages");
	if (count != box->exists || size != box->size)
		fault(c, box->name, 0, "counts do not fit the messages");
	c->bytes += size;
	c->messages += (uint32_t)count;
	return check_groups(c, box, list, count);
}

/* ---- what is not seen by way of the mailboxes ---- */

static int check_records(struct check *c)
{
	struct err err = {0};

	for (enum store_db db = 0; db < DB_COUNT; db++) {
		int r = records_verify(c->txn, db, &err);

		if (r != 0 && r != E_CORRUPT)
			return r;
		/* Those two are named with their messages; what is missing there is not. */
		if (r == E_CORRUPT && (c->faults == 0 || (db != DB_FACTS && db != DB_MESSAGES))) {
			c->faults++;
			store_say(c->report, c->arg, "%s", err.text);
		}
	}
	return 0;
}

static int check_expunged(struct check *c)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	struct err err = {0};
	int r = mdb_cursor_open(c->txn->mdb, c->store->db[DB_EXPUNGED], &cursor), found;

	if (r != 0)
		return record_error(c->txn, DB_EXPUNGED, r, &err);
	for (found = mdb_cursor_get(cursor, &k, &v, MDB_FIRST); found == 0 && r == 0; found = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		struct expunged record;

		if (expunged_decode(c->txn, k, v, &record, &err) != 0)
			continue;
		r = check_file(c, &record.message, &err);
		if (store_is_passing(r))
			continue;
		if (r != 0) {
			r = 0;
			c->faults++;
			store_say(c->report, c->arg, "expunged: %s", err.text);
		}
	}
	mdb_cursor_close(cursor);
	return r;
}

enum { ORPHAN_SECONDS = 3600 }; /* what was written since may be about to be filed */

static int check_orphan(void *arg, const char *path, const struct file_name *name)
{
	struct check *c = arg;
	struct stat st;

	if (known_has(&c->known, name->number))
		return 0;
	if (fstatat(c->store->dir, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : err_set_errno(c->err, errno, "%s", path);
	if (st.st_mtime > clock_wall() - ORPHAN_SECONDS)
		return 0;
	c->faults++;
	store_say(c->report, c->arg, "%s: is not in the index; a crash left it, or the index is an old one", path);
	return 0;
}

/* When something of the index cannot be read, nobody knows what should be in it. */
static int check_orphans(struct check *c)
{
	struct err err = {0};
	int r = c->faults > 0 ? 0 : known_all(c->txn, &c->known, &err);

	if (c->faults > 0 || r != 0)
		return r;
	if (c->known.twice != 0) {
		c->faults++;
		store_say(c->report, c->arg, "two message files have the number %016" PRIx64 ", and one may be shown as the other; rebuild-index gives one another", c->known.twice);
	}
	r = files_each(c->store->dir, check_orphan, c);
	return r == 0 || c->err->code != 0 ? r : err_set(c->err, r, "the message files cannot be listed: %s", err_text(r));
}

/* What a rebuild has set aside. */
static int check_set_aside(struct check *c, struct err *err)
{
	int fd = openat(c->store->dir, STORE_DAMAGED, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (d == NULL) {
		r = errno == ENOENT ? 0 : err_set_errno(err, errno, STORE_DAMAGED);
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (errno = 0, (entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		c->faults++;
		store_say(c->report, c->arg, STORE_DAMAGED "/%s: was damaged when the index was made again, and is not in it", entry->d_name);
	}
	if (errno != 0)
		r = err_set_errno(err, errno, STORE_DAMAGED);
	closedir(d);
	return r;
}

static void check_usage(struct check *c)
{
	if (c->unread)
		return;
	if (c->bytes == c->txn->meta.bytes && c->messages == c->txn->meta.messages)
		return;
	c->faults++;
	store_say(c->report, c->arg, "usage says %u messages, %" PRIu64 " octets; there are %u, %" PRIu64, c->txn->meta.messages,
	    c->txn->meta.bytes, c->messages, c->bytes);
}

int store_check(struct store *store, store_report *report, void *arg)
{
	struct err err = {0};
	struct check c = {.store = store, .report = report, .arg = arg, .err = &err};
	int r = index_pages_check(store, true, &err);

	if (r == E_CORRUPT) { /* no use in going further, and no safe way */
		store_suspect(store);
		store_say(report, arg, "%s", err.text);
		return 1;
	}
	if (r == 0)
		r = store_begin(store, false, &c.txn, &err);
	if (r == 0)
		r = store_mailbox_each(c.txn, check_mailbox, &c);
	if (r == 0)
		check_usage(&c);
	if (r == 0 || r == E_CORRUPT)
		r = check_records(&c);
	if (r == 0)
		r = check_expunged(&c);
	if (r == 0)
		r = check_orphans(&c);
	if (r == 0)
		r = check_set_aside(&c, &err);
	if (r == 0) {
		r = names_check(c.txn, &err);
		if (r == E_CORRUPT) {
			c.faults++;
			store_say(report, arg, "%s", err.text);
			r = 0;
		}
	}
	store_abort(&c.txn);
	known_free(&c.known);
	if (r != 0)
		store_say(report, arg, "%s", err.text[0] != '\0' ? err.text : err_text(r));
	return r != 0 ? r : c.faults;
}

static int ignore_uid(void *arg, uint32_t uid, bool unseen)
{
	(void)arg, (void)uid, (void)unseen;
	return 0;
}

/* Whoever lists this mailbox is refused when its groups do not add up: then the index has to be made again. */
static int check_listing(void *arg, const struct store_mailbox *box)
{
	return store_uid_each(arg, box->id, ignore_uid, NULL, NULL);
}

int index_check(struct store *store, struct err *err)
{
	struct store_txn *txn;
	int r = index_pages_check(store, true, err);

	if (r == 0)
		r = store_begin(store, false, &txn, err);
	if (r != 0)
		return r;
	for (enum store_db db = 0; db < DB_COUNT && r == 0; db++)
		if (db != DB_FACTS)
			r = records_verify(txn, db, err);
	if (r == 0 && store_mailbox_each(txn, check_listing, txn) != 0)
		r = err_set(err, E_CORRUPT, "index: a mailbox has more or fewer messages than it says");
	store_abort(&txn);
	return r;
}
