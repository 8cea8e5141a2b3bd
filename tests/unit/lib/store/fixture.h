/* An account in a directory of its own, and short words for what every store test does with it. */
#ifndef MW_TESTS_UNIT_STORE_FIXTURE_H
#define MW_TESTS_UNIT_STORE_FIXTURE_H

#include "tests/unit/test.h"

#include "base/clock.h"
#include "store/store.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture {
	char path[64];
	int dir;
	struct store *store;
	struct store_txn *txn;
	struct pool *pool;
	struct err err;
};

/* Shows the text of an error, which an assert on the code alone would not. */
#define ok(f, call)                                                                                \
	do {                                                                                       \
		int code_ = (call);                                                                \
		if (code_ != 0)                                                                    \
			fail_msg("%s: %d %s", #call, code_, (f)->err.text);                        \
	} while (0)

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

/* Opens the account again; what was open before must be closed. */
static inline bool reopen(struct fixture *f)
{
	struct store_options options = {.create = true};
	bool rebuilt = false;

	store_close(&f->store);
	ok(f, store_open(&f->store, f->dir, &options, &rebuilt, &f->err));
	return rebuilt;
}

/* A directory that is current, as it is in every process that works on an account; no store yet. */
static inline int fixture_empty(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->path, sizeof(f->path), "/tmp/store-test-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	assert_int_equal(chdir(f->path), 0);
	f->dir = open(".", O_RDONLY | O_DIRECTORY);
	assert_true(f->dir >= 0);
	f->pool = pool_new(NULL, 0);
	*state = f;
	return 0;
}

static inline int fixture_open(void **state)
{
	fixture_empty(state);
	assert_false(reopen(*state));
	return 0;
}

static inline int fixture_close(void **state)
{
	struct fixture *f = *state;

	if (f->txn != NULL)
		store_abort(&f->txn);
	store_close(&f->store);
	close(f->dir);
	pool_free(&f->pool);
	assert_int_equal(chdir("/"), 0);
	nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static inline void begin(struct fixture *f, bool write)
{
	ok(f, store_begin(f->store, write, &f->txn, &f->err));
}

static inline void commit(struct fixture *f)
{
	ok(f, store_commit(&f->txn, &f->err));
}

/* In a transaction of its own when there is none. */
static inline struct store_mailbox box(struct fixture *f, const char *name)
{
	static struct store_mailbox m;
	bool own = f->txn == NULL;

	if (own)
		begin(f, false);
	ok(f, store_mailbox_by_name(f->txn, span_str(name), &m, &f->err));
	m.name = pool_span(f->pool, m.name);
	for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++)
		m.keywords[i] = pool_span(f->pool, m.keywords[i]);
	if (own)
		store_abort(&f->txn);
	return m;
}

static inline bool box_is(struct fixture *f, const char *name)
{
	struct store_mailbox m;
	bool own = f->txn == NULL, is;

	if (own)
		begin(f, false);
	is = store_mailbox_by_name(f->txn, span_str(name), &m, NULL) == 0;
	if (own)
		store_abort(&f->txn);
	return is;
}

static inline uint32_t box_new(struct fixture *f, const char *name)
{
	bool own = f->txn == NULL;
	uint32_t id = 0;

	if (own)
		begin(f, true);
	ok(f, store_mailbox_create(f->txn, span_str(name), 0, &id, &f->err));
	if (own)
		commit(f);
	return id;
}

static const char small_mail[] = "From: a@example.org\r\nTo: b@example.org\r\nSubject: small\r\n\r\nHello.\r\n";

static inline struct store_draft *draft_of(struct fixture *f, uint32_t mailbox, const char *text)
{
	struct store_draft *draft;

	ok(f, store_draft_new(f->store, mailbox, 1700000000, &draft, &f->err));
	ok(f, store_draft_write(draft, span_str(text), &f->err));
	ok(f, store_draft_finish(draft, &f->err));
	return draft;
}

/* Files a text in a transaction of its own. */
static inline struct store_message append(struct fixture *f, const char *mailbox, const char *text, uint32_t flags)
{
	uint32_t id = box(f, mailbox).id;
	struct store_draft *draft = draft_of(f, id, text);
	struct store_message m;

	begin(f, true);
	ok(f, store_append(f->txn, draft, id, flags, NULL, 0, NULL, &m, &f->err));
	commit(f);
	store_draft_kept(draft);
	store_draft_free(&draft);
	return m;
}

/* All of a mailbox; the list is the fixture's. */
static inline struct store_message *list(struct fixture *f, const char *mailbox, size_t *count)
{
	struct store_message *all = NULL;
	bool own = f->txn == NULL;

	if (own)
		begin(f, false);
	ok(f, store_message_list(f->txn, box(f, mailbox).id, 0, f->pool, &all, count, &f->err));
	if (own)
		store_abort(&f->txn);
	return all;
}

/* The UIDs of a mailbox as "1 2 3". */
static inline const char *uids(struct fixture *f, const char *mailbox)
{
	static char text[4096];
	size_t count, at = 0;
	struct store_message *all = list(f, mailbox, &count);

	text[0] = '\0';
	for (size_t i = 0; i < count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u", i > 0 ? " " : "", all[i].uid);
	return text;
}

static inline struct store_usage usage(struct fixture *f)
{
	struct store_usage u;
	bool own = f->txn == NULL;

	if (own)
		begin(f, false);
	ok(f, store_usage(f->txn, &u, &f->err));
	if (own)
		store_abort(&f->txn);
	return u;
}

static inline void note_fault(void *arg, const char *text)
{
	char *all = arg;

	snprintf(all + strlen(all), 4096 - strlen(all), "%s\n", text);
}

/* What store_check says; its lines are in faults[4096]. */
static inline int check(struct fixture *f, char *faults)
{
	faults[0] = '\0';
	return store_check(f->store, note_fault, faults);
}

static inline void assert_healthy(struct fixture *f)
{
	char faults[4096];

	if (check(f, faults) != 0)
		fail_msg("%s", faults);
}

#endif
