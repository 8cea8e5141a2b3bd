/* Engines with files: the spool's, an account's store, the directory. */
#include "tests/fault/memory/memory.h"

#include "auth/directory.h"
#include "base/clock.h"
#include "spool/spool.h"
#include "store/store.h"
#include "tests/fuzz/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const unsigned char key[SPOOL_KEY] = "the queue's secret, 32 bytes....";
static const char mail[] = "From: a@example.org\r\nSubject: x\r\n\r\nHello.\r\n";
enum { MAIL = sizeof(mail) - 1 };

/* ---- the spool ---- */

struct spool_state {
	char path[32];
	int fd;
};

static void *spool_begin(void)
{
	struct spool_state *s = calloc(1, sizeof(*s));

	strcpy(s->path, "/tmp/spool-memory-XXXXXX");
	s->fd = mkstemp(s->path);
	memory_must(s->fd >= 0 && write(s->fd, mail, MAIL) == MAIL);
	return s;
}

static void spool_end(void *state)
{
	struct spool_state *s = state;

	close(s->fd);
	unlink(s->path);
	free(s);
}

static int spool_run(void *state)
{
	struct spool_state *s = state;
	struct spool_recipient to = {.address = SPAN_LIT("b@example.org"), .canonical = SPAN_LIT("b@example.org")};
	struct spool_envelope e = {.source = SPOOL_FROM_SMTP, .sender = SPAN_LIT("a@example.org"), .recipient_count = 1, .recipients = &to};
	struct spool_record record = {.status = SPOOL_DEFERRED, .text = SPAN_LIT("451 4.2.0 later")};
	struct pool *pool = pool_new(NULL, 0);
	struct spool_file file;
	struct spool_commit commit;
	struct buf wire;
	struct err err = {0};
	int r = pool ? 0 : E_NOMEM;

	buf_init(&wire, SPOOL_ENVELOPE_MAX);
	if (r == 0)
		r = spool_envelope_encode(&e, &wire);
	commit = (struct spool_commit){.id = 7, .content = MAIL, .envelope = buf_span(&wire)};
	if (r == 0)
		r = spool_commit(s->fd, key, &commit, &err);
	if (r == 0)
		r = spool_append(s->fd, 7, key, &record, 1, false, &err);
	if (r == 0)
		r = spool_read(s->fd, 7, key, true, pool, &file, &err);
	if (r == 0)
		memory_must(file.content == MAIL && file.record_count == 1);
	buf_fini(&wire);
	pool_free(&pool);
	return r;
}

/* ---- an account's store ---- */

struct store_state {
	char path[64];
	int dir;
	struct store *store;
};

static int store_open_here(struct store_state *s, struct err *err)
{
	struct store_options options = {.create = true};
	bool rebuilt = false;
	int r = store_open(&s->store, s->dir, &options, &rebuilt, err);

	memory_must(!rebuilt); /* nothing was damaged */
	return r;
}

static void *store_empty(void)
{
	struct store_state *s = calloc(1, sizeof(*s));

	memory_must(scratch_make(s->path) == 0 && chdir(s->path) == 0);
	s->dir = open(".", O_RDONLY | O_DIRECTORY);
	return s;
}

static int append(struct store *store, const char *mailbox, struct err *err)
{
	struct store_mailbox box;
	struct store_draft *draft = NULL;
	struct store_message m;
	struct store_txn *txn;
	int r = store_begin(store, false, &txn, err);

	if (r != 0)
		return r;
	r = store_mailbox_by_name(txn, span_str(mailbox), &box, err);
	store_abort(&txn);
	if (r == 0)
		r = store_draft_new(store, box.id, 1700000000, &draft, err);
	if (r == 0)
		r = store_draft_write(draft, span_str(mail), err);
	if (r == 0)
		r = store_draft_finish(draft, err);
	if (r == 0)
		r = store_begin(store, true, &txn, err);
	if (r == 0) {
		r = store_append(txn, draft, box.id, 0, NULL, 0, NULL, &m, err);
		if (r == 0)
			r = store_commit(&txn, err);
		else
			store_abort(&txn);
	}
	if (r == 0)
		store_draft_kept(draft);
	store_draft_free(&draft);
	return r;
}

static void *store_begin_full(void)
{
	struct store_state *s = store_empty();
	struct err err;

	memory_must(store_open_here(s, &err) == 0);
	for (int i = 0; i < 3; i++)
		memory_must(append(s->store, "INBOX", &err) == 0);
	return s;
}

static void no_fault(void *arg, const char *text)
{
	(void)arg;
	memory_wrong(text);
}

static int count_files(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	static int count;

	(void)ftw, (void)st;
	if (path == NULL) {
		int n = count;

		count = 0;
		return n;
	}
	count += type == FTW_F && strncmp(path, "mail/", 5) == 0;
	return 0;
}

/* Whatever failed: the store has no fault. */
static void store_end(void *state)
{
	struct store_state *s = state;

	if (s->store != NULL) {
		memory_must(store_check(s->store, no_fault, NULL) == 0);
		store_close(&s->store);
	}
	close(s->dir);
	memory_must(chdir("/") == 0);
	scratch_remove(s->path);
	free(s);
}

static int run_open(void *state)
{
	struct store_state *s = state;
	struct err err = {0};
	int r;

	store_close(&s->store);
	r = store_open_here(s, &err);
	return r;
}

static int files_there(void)
{
	nftw("mail", count_files, 16, FTW_PHYS);
	return count_files(NULL, NULL, 0, NULL);
}

static int run_append(void *state)
{
	struct store_state *s = state;
	struct err err = {0};
	int before = files_there(), r = append(s->store, "INBOX", &err);

	memory_must(files_there() == before + (r == 0));
	return r;
}

/* In one transaction: all of it or nothing. */
static int in_transaction(struct store_state *s, int (*work)(struct store_txn *txn, uint32_t inbox, struct err *err))
{
	struct store_mailbox inbox;
	struct store_txn *txn;
	struct err err = {0};
	int r = store_begin(s->store, true, &txn, &err);

	if (r != 0)
		return r;
	r = store_mailbox_by_name(txn, SPAN_LIT("INBOX"), &inbox, &err);
	if (r == 0)
		r = work(txn, inbox.id, &err);
	if (r == 0)
		return store_commit(&txn, &err);
	store_abort(&txn);
	return r;
}

static int work_copy(struct store_txn *txn, uint32_t inbox, struct err *err)
{
	static const uint32_t uids[] = {1, 2};
	struct store_mailbox to;
	struct store_copied copied = {0};
	struct pool *pool = pool_new(NULL, 0);
	int r = pool ? store_mailbox_by_name(txn, SPAN_LIT("Archive"), &to, err) : E_NOMEM;

	if (r == 0)
		r = store_copy(txn, inbox, to.id, uids, 2, false, pool, &copied, err);
	pool_free(&pool);
	return r;
}

static int run_copy(void *state)
{
	return in_transaction(state, work_copy);
}

static int work_names(struct store_txn *txn, uint32_t inbox, struct err *err)
{
	uint32_t id = 0;
	int r = store_mailbox_create(txn, SPAN_LIT("one/two"), 0, &id, err);

	(void)inbox;
	if (r == 0)
		r = store_mailbox_subscribe(txn, SPAN_LIT("one/two"), true, err);
	if (r == 0)
		r = store_mailbox_rename(txn, id, SPAN_LIT("three/four"), err);
	if (r == 0)
		r = store_mailbox_delete(txn, id, err);
	return r;
}

static int run_names(void *state)
{
	return in_transaction(state, work_names);
}

static int work_expunge(struct store_txn *txn, uint32_t inbox, struct err *err)
{
	static const uint32_t uid = 3;
	uint32_t count = 0;
	int r = store_expunge(txn, inbox, &uid, 1, err);

	return r == 0 ? store_undo(txn, 0, &count, err) : r;
}

static int run_expunge(void *state)
{
	return in_transaction(state, work_expunge);
}

static int run_list(void *state)
{
	struct store_state *s = state;
	struct store_mailbox inbox;
	struct store_message *all;
	struct store_txn *txn;
	struct pool *pool = pool_new(NULL, 0);
	struct err err = {0};
	size_t count;
	int r = pool ? store_begin(s->store, false, &txn, &err) : E_NOMEM;

	if (r == 0) {
		r = store_mailbox_by_name(txn, SPAN_LIT("INBOX"), &inbox, &err);
		if (r == 0)
			r = store_message_list(txn, inbox.id, 0, pool, &all, &count, &err);
		store_abort(&txn);
	}
	if (r == 0)
		memory_must(count == 3);
	pool_free(&pool);
	return r;
}

static int run_rebuild(void *state)
{
	struct store_state *s = state;
	struct err err = {0};
	int r;

	store_close(&s->store);
	r = store_rebuild(s->dir, NULL, NULL, &err);
	memory_rest();
	/* Interrupted, it is done at the next opening. */
	memory_must(store_open(&s->store, s->dir, &(struct store_options){.create = true}, NULL, &err) == 0);
	memory_must(run_list(s) == 0);
	return r;
}

/* ---- the directory ---- */

struct directory_state {
	char path[64];
	struct directory *directory;
};

static void *directory_begin_(void)
{
	struct directory_state *s = calloc(1, sizeof(*s));
	struct err err;

	memory_must(scratch_make(s->path) == 0 && directory_open(s->path, &s->directory, &err) == 0);
	return s;
}

static void directory_end(void *state)
{
	struct directory_state *s = state;

	directory_close(&s->directory);
	scratch_remove(s->path);
	free(s);
}

static int run_directory(void *state)
{
	struct directory_state *s = state;
	struct account account = {.quota = 5}, found;
	struct app_password app = {.label = "phone", .protocols = 1}, app_found;
	struct place place = {7, 1}, places[DIRECTORY_PLACES];
	struct err err = {0};
	int r;

	directory_close(&s->directory);
	r = directory_open(s->path, &s->directory, &err);
	if (r != 0) {
		memory_rest();
		memory_must(directory_open(s->path, &s->directory, &err) == 0);
		return r;
	}
	strcpy(account.address, "a@example.org");
	strcpy(account.credentials.hash, "$hash");
	r = directory_begin(s->directory, &err);
	if (r == 0)
		r = directory_account_add(s->directory, &account, &err);
	if (r == 0)
		r = directory_alias_put(s->directory, SPAN_LIT("b@example.org"), SPAN_LIT("a@example.org\0"), true, &err);
	if (r == 0)
		r = directory_account_get(s->directory, SPAN_LIT("a@example.org"), &found);
	if (r == 0)
		r = directory_app_put(s->directory, account.id, &app, false, &err);
	if (r == 0)
		r = directory_app_get(s->directory, account.id, SPAN_LIT("phone"), &app_found);
	if (r == 0)
		r = directory_place_put(s->directory, account.id, &place, &err);
	if (r == 0) {
		directory_places_get(s->directory, account.id, places);
		memory_must(app_found.protocols == 1 && places[0].hash == 7 && places[1].hash == 0);
	}
	if (r == 0)
		memory_must(found.quota == 5 && strcmp(found.credentials.hash, "$hash") == 0);
	if (r == 0)
		r = directory_account_remove(s->directory, SPAN_LIT("a@example.org"), &err);
	if (r == 0)
		return directory_commit(s->directory, &err);
	directory_abort(s->directory);
	return r;
}

const struct scenario disk_scenarios[] = {
    {.name = "spool file", .begin = spool_begin, .run = spool_run, .end = spool_end},
    {.name = "store, a new account", .begin = store_empty, .run = run_open, .end = store_end},
    {.name = "store, opened", .begin = store_begin_full, .run = run_open, .end = store_end},
    {.name = "store, append", .begin = store_begin_full, .run = run_append, .end = store_end},
    {.name = "store, copy", .begin = store_begin_full, .run = run_copy, .end = store_end},
    {.name = "store, mailboxes", .begin = store_begin_full, .run = run_names, .end = store_end},
    {.name = "store, expunge and undo", .begin = store_begin_full, .run = run_expunge, .end = store_end},
    {.name = "store, list", .begin = store_begin_full, .run = run_list, .end = store_end},
    {.name = "store, index made again", .begin = store_begin_full, .run = run_rebuild, .end = store_end},
    {.name = "directory", .begin = directory_begin_, .run = run_directory, .end = directory_end},
    {0},
};
