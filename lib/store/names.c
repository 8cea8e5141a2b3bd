/*
 * The file "mailboxes": the names, so that a rebuilt index has them. The first line has the last UIDVALIDITY
 * and the last modseq that were given; then a line each: id uidvalidity use subscribed noselect name; and a
 * checksum at the end.
 */
#include "store/private.h"

#include "base/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

enum { NAMES_MAX = 16 * 1024 * 1024, NAMES_SUM = 16 };

/* More changes than an account has between two changes of its names; and what a session could not have got by changes. */
#define NAMES_MODSEQ_STEP (UINT64_C(1) << 40)
#define NAMES_MODSEQ_MAX (UINT64_C(1) << 62)

static int write_line(void *arg, const struct store_mailbox *m)
{
	buf_printf(arg, "%u %u %u %d %d %.*s\n", m->id, m->uidvalidity, m->use, m->subscribed, m->noselect, SPAN_ARG(m->name));
	return 0;
}

static int names_format(struct store_txn *txn, struct buf *text, struct err *err)
{
	unsigned char sum[NAMES_SUM];
	struct span all;
	int r;

	buf_printf(text, "mailboxes 1 %u %llu\n", txn->meta.last_uidvalidity, (unsigned long long)txn->meta.modseq);
	r = store_mailbox_each(txn, write_line, text);
	all = buf_span(text);
	crypto_generichash(sum, sizeof(sum), (const unsigned char *)all.ptr, all.len, NULL, 0);
	buf_add(text, sum, sizeof(sum));
	return r == E_CORRUPT ? err_set(err, r, "mailbox names") : r != 0 || buf_failed(text) ? err_set(err, E_NOMEM, "mailbox names") : 0;
}

int names_write(struct store_txn *txn, struct err *err)
{
	struct buf text;
	struct span all;
	int r, fd;

	buf_init(&text, NAMES_MAX);
	r = names_format(txn, &text, err);
	if (r != 0) {
		buf_fini(&text);
		return r;
	}
	all = buf_span(&text);
	fd = openat(txn->store->dir, "mailboxes.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || !write_whole(fd, all) || fsync(fd) != 0 ||
	    renameat(txn->store->dir, "mailboxes.new", txn->store->dir, "mailboxes") != 0 || fsync(txn->store->dir) != 0)
		r = err_set_errno(err, errno, "mailbox names");
	if (fd >= 0)
		close(fd);
	if (r != 0)
		unlinkat(txn->store->dir, "mailboxes.new", 0);
	buf_fini(&text);
	return r;
}

static bool is_whole(const char *bytes, ssize_t n)
{
	unsigned char sum[NAMES_SUM];

	if (n < NAMES_SUM)
		return false;
	crypto_generichash(sum, sizeof(sum), (const unsigned char *)bytes, (size_t)n - NAMES_SUM, NULL, 0);
	return memcmp(sum, bytes + n - NAMES_SUM, NAMES_SUM) == 0;
}

/* Whether they are the index's own is not asked: a change that a kill kept from its commit has written them already. */
int names_check(struct store_txn *txn, struct err *err)
{
	char *bytes = pool_alloc(txn->pool, NAMES_MAX);
	int fd = openat(txn->store->dir, "mailboxes", O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r = 0;
	ssize_t n = 0;

	if (bytes == NULL)
		r = err_set(err, E_NOMEM, "mailbox names");
	else if (fd >= 0)
		n = read(fd, bytes, NAMES_MAX);
	if (r == 0 && (fd < 0 ? errno != ENOENT && errno != ELOOP : n < 0))
		r = err_set_errno(err, errno, "mailbox names");
	if (fd >= 0)
		close(fd);
	if (r != 0)
		return r;
	return is_whole(bytes, n) ? 0 : err_set(err, E_CORRUPT, "mailboxes: the copy of the names is missing or damaged; the next change of a mailbox's name writes it anew");
}

static int restore_line(struct store_txn *txn, struct span line, struct err *err)
{
	unsigned id, uidvalidity, use;
	int subscribed, noselect, used = 0, r;
	char text[STORE_NAME_MAX + 128];
	struct store_mailbox m;

	span_copy(line, text, sizeof(text));
	/* One blank before the name: those that follow belong to it. */
	if (sscanf(text, "%u %u %u %d %d%n", &id, &uidvalidity, &use, &subscribed, &noselect, &used) != 5 || text[used++] != ' ')
		return err_set(err, E_CORRUPT, "mailbox names are damaged");
	(void)uidvalidity; /* UIDs are given anew: so is the validity, and a greater one */
	/* A session may write this file: what it could not have got by a command it does not get this way. */
	if (id == 0 || id == UINT32_MAX || store_mailbox_check_name(span_str(text + used), err) != 0)
		return 0;
	r = mailbox_new(txn, id, span_str(text + used), use, new_uidvalidity(txn), err);
	if (r == 0 && noselect) {
		r = mailbox_get(txn, id, &m, err);
		m.noselect = true;
		if (r == 0)
			r = mailbox_put(txn, &m, err);
	}
	/* As it was: without the limits and the folding of what is subscribed to now. */
	return r == 0 && subscribed ? name_subscribe(txn, span_str(text + used), true, err) : r;
}

/* The clock alone does not tell: it may be behind what it was when an index was made before. */
static void restore_numbers(struct store_txn *txn, unsigned uidvalidity, unsigned long long modseq)
{
	if (uidvalidity > txn->meta.last_uidvalidity)
		txn->meta.last_uidvalidity = uidvalidity;
	if (modseq < NAMES_MODSEQ_MAX && modseq + NAMES_MODSEQ_STEP > txn->meta.modseq)
		txn->meta.modseq = modseq + NAMES_MODSEQ_STEP;
}

int names_restore(struct store_txn *txn, struct err *err)
{
	unsigned long long modseq = 0; /* an earlier release did not write it */
	struct span text;
	char *bytes;
	ssize_t n;
	/* A rebuild has set it aside, so that it is not overwritten before it is read. */
	int fd = openat(txn->store->dir, "mailboxes.old", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	unsigned last;
	int r = 0;

	/* Only what is not there, or is damaged, may be replaced by the default names. */
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? E_NOTFOUND : err_set_errno(err, errno, "mailbox names");
	bytes = pool_alloc(txn->pool, NAMES_MAX + 1);
	n = bytes ? read(fd, bytes, NAMES_MAX) : 0;
	if (n < 0)
		r = err_set_errno(err, errno, "mailbox names");
	close(fd);
	if (bytes == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	if (r != 0)
		return r;
	if (!is_whole(bytes, n))
		return E_NOTFOUND;
	text = span_of(bytes, (size_t)n - NAMES_SUM);
	bytes[text.len] = '\0';
	if (sscanf(bytes, "mailboxes 1 %u%*1[ ]%llu", &last, &modseq) < 1)
		return E_NOTFOUND;
	restore_numbers(txn, last, modseq);
	text = span_from(text, span_find(text, '\n') + 1);
	while (text.len > 0 && r == 0) {
		size_t end = span_find(text, '\n');

		r = restore_line(txn, span_sub(text, 0, end), err);
		text = span_from(text, end + 1);
	}
	return r;
}
