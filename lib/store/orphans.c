/*
 * What a writer left that was cut short before its commit (F5 of doc/store.md): a draft, or a message file whose content does
 * not fit its name. A whole message that nothing in the index knows stays: perhaps the index is an old one. store_check
 * names it, a rebuild files it.
 */
#include "store/draft.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ORPHANS_BATCH = 1000 }; /* removed at once; what is left is found the next day */

/* false also when that cannot be found out. */
static bool is_cut_short(int dir, const char *path, const struct file_name *name)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	void *map = NULL;
	bool cut = false;

	if (fd < 0)
		return false;
	if (name->sum != 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		if (st.st_size > 0)
			map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		cut = map != MAP_FAILED && file_sum(span_of(map, (size_t)st.st_size)) != name->sum;
		if (map != NULL && map != MAP_FAILED)
			munmap(map, (size_t)st.st_size);
	}
	close(fd);
	return cut;
}

struct search {
	int dir;
	struct known known;
	struct file_name orphans[ORPHANS_BATCH];
	size_t count;
};

static int look_at_file(void *arg, const char *path, const struct file_name *name)
{
	struct search *s = arg;

	if (!file_is_old(name->number, STORE_DRAFT_MS) || known_has(&s->known, name->number) || !is_cut_short(s->dir, path, name))
		return 0;
	s->orphans[s->count++] = *name;
	return s->count == ORPHANS_BATCH;
}

static int remove_draft(void *arg, const char *path, const struct file_name *name)
{
	if (file_is_old(name->number, STORE_DRAFT_MS))
		unlinkat(*(int *)arg, path, 0);
	return 0;
}

/* Nobody can file one meanwhile: a write transaction is under way. */
static void remove_unknown(int dir, const struct search *s, const struct known *known)
{
	char path[STORE_FILE_NAME];

	for (size_t i = 0; i < s->count; i++) {
		file_name(&s->orphans[i], path);
		if (!known_has(known, s->orphans[i].number))
			unlinkat(dir, path, 0);
	}
}

static int search(struct store *store, struct search *s, struct err *err)
{
	struct store_txn *txn;
	int r = store_begin(store, false, &txn, err);

	if (r != 0)
		return r;
	r = known_all(txn, &s->known, err);
	store_abort(&txn);
	if (r == 0)
		files_each(store->dir, look_at_file, s);
	return r;
}

static int remove_found(struct store *store, const struct search *s, struct err *err)
{
	struct known now = {0};
	struct store_txn *txn;
	int r = store_begin(store, true, &txn, err);

	if (r != 0)
		return r;
	r = known_all(txn, &now, err);
	if (r == 0)
		remove_unknown(store->dir, s, &now);
	store_abort(&txn);
	known_free(&now);
	return r;
}

int orphans_remove(struct store *store, struct err *err)
{
	struct search *s = calloc(1, sizeof(*s));
	int r;

	if (s == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	s->dir = store->dir;
	drafts_each(store->dir, remove_draft, &s->dir);
	r = search(store, s, err);
	/* Everybody who changes something waits for this. */
	if (r == 0 && s->count > 0)
		r = remove_found(store, s, err);
	known_free(&s->known);
	free(s);
	return r;
}
