/* The directory's LMDB environment: opened, looked through, opened again after a failure; its transactions. */
#include "auth/directory_private.h"

#include "auth/record.h"

#include <stdlib.h>
#include <string.h>

enum { DIRECTORY_READERS = 64 };
#define DIRECTORY_MAP ((size_t)1 << 30)

int directory_error(struct err *err, int r, const char *what)
{
	int code = r == MDB_NOTFOUND ? E_NOTFOUND : r == MDB_MAP_FULL ? E_NOSPACE
		: r > 0 ? err_from_errno(r) : E_CORRUPT;

	return err_set(err, code, "directory: %s: %s%s", what, mdb_strerror(r), r == MDB_INVALID || r == MDB_CORRUPTED || r == MDB_VERSION_MISMATCH
		? "; restore them, or move them away and import what `directory export` wrote" : "");
}

/* The first four were there from the beginning, the others came later. */
static const char *const names[] = {"accounts", "addresses", "domains", "meta", "app-passwords", "places"};
enum { DATABASES = sizeof(names) / sizeof(names[0]), DATABASES_FIRST = 4 };

static MDB_dbi *dbi_of(struct directory *d, size_t i)
{
	MDB_dbi *const dbis[DATABASES] = {&d->accounts, &d->addresses, &d->domains, &d->meta, &d->apps, &d->places};

	return dbis[i];
}

static int open_databases(struct directory *d, struct err *err)
{
	MDB_envinfo info = {0};
	MDB_txn *txn = NULL;
	unsigned create;
	int r = mdb_env_info(d->env, &info);

	/* They are made in the first transaction: where there were others since, one that is missing was lost. */
	create = info.me_last_txnid == 0 ? MDB_CREATE : 0;
	if (r == 0)
		r = mdb_txn_begin(d->env, NULL, create ? 0 : MDB_RDONLY, &txn);
	for (size_t i = 0; i < DATABASES && r == 0; i++) {
		*dbi_of(d, i) = 0;
		r = mdb_dbi_open(txn, names[i], create, dbi_of(d, i));
		if (r == MDB_NOTFOUND && i >= DATABASES_FIRST)
			r = 0;
	}
	if (r == 0)
		r = mdb_txn_commit(txn);
	else if (txn != NULL)
		mdb_txn_abort(txn);
	return r == 0 ? 0 : directory_error(err, r == MDB_NOTFOUND ? MDB_CORRUPTED : r, "its file data.mdb");
}

static size_t database_list(struct directory *d, MDB_dbi out[DATABASES])
{
	size_t count = 0;

	for (size_t i = 0; i < DATABASES; i++)
		if (*dbi_of(d, i) != 0)
			out[count++] = *dbi_of(d, i);
	return count;
}

/* A directory that is older than some databases gets them; one of those that was lost was missed in the sum before. */
static int add_databases(struct directory *d, struct err *err)
{
	MDB_txn *txn = NULL;
	uint64_t sum;
	int r = mdb_txn_begin(d->env, NULL, 0, &txn);

	if (r == 0)
		r = auth_state_get(txn, d->accounts, &sum);
	for (size_t i = DATABASES_FIRST; i < DATABASES && r == 0; i++)
		r = mdb_dbi_open(txn, names[i], MDB_CREATE, dbi_of(d, i));
	if (r == 0)
		r = auth_state_put(txn, d->accounts, sum);
	if (r == 0)
		r = mdb_txn_commit(txn);
	else if (txn != NULL)
		mdb_txn_abort(txn);
	return r == 0 ? 0 : directory_error(err, r, "new databases");
}

bool directory_is_damaged(const struct directory *d)
{
	return d->damaged;
}

void directory_reserve(struct directory *d, uint64_t id)
{
	d->floor = id;
}

static int env_open(struct directory *d, struct err *err)
{
	MDB_dbi all[DATABASES];
	int dead, r = mdb_env_create(&d->env);

	if (r == 0)
		r = mdb_env_set_mapsize(d->env, DIRECTORY_MAP);
	if (r == 0)
		r = mdb_env_set_maxdbs(d->env, 8);
	if (r == 0)
		r = mdb_env_set_maxreaders(d->env, DIRECTORY_READERS);
	if (r == 0)
		r = mdb_env_open(d->env, d->path, MDB_NOTLS, 0600);
	if (r == 0)
		mdb_reader_check(d->env, &dead);
	r = r == 0 ? 0 : directory_error(err, r, "its files data.mdb and lock.mdb");
	if (r == 0 && auth_pages_check(d->env) == E_CORRUPT)
		r = directory_error(err, MDB_CORRUPTED, "its file data.mdb");
	if (r == 0)
		r = open_databases(d, err);
	if (r == 0 && auth_records_check(d->env, all, database_list(d, all), &d->damaged) != 0)
		r = directory_error(err, MDB_CORRUPTED, "its file data.mdb");
	if (r == 0 && !d->damaged && (d->apps == 0 || d->places == 0))
		r = add_databases(d, err);
	return r;
}

static void env_close(struct directory *d)
{
	if (d->env != NULL)
		mdb_env_close(d->env);
	d->env = NULL;
}

int directory_open(const char *path, struct directory **out, struct err *err)
{
	struct directory *d = calloc(1, sizeof(*d));
	int r;

	*out = NULL;
	if (d != NULL)
		d->path = strdup(path);
	r = d != NULL && d->path != NULL ? auth_pages_guard(path, DIRECTORY_MAP, err) : err_set(err, E_NOMEM, "no memory for the directory");
	if (r == E_CORRUPT)
		r = directory_error(err, MDB_CORRUPTED, "its file data.mdb");
	if (r == 0)
		r = env_open(d, err);
	if (r != 0)
		directory_close(&d);
	*out = d;
	return r;
}

void directory_close(struct directory **d)
{
	if (*d == NULL)
		return;
	env_close(*d);
	free((*d)->path);
	free(*d);
	*d = NULL;
}

/* ---- transactions ---- */

/*
 * After a meta page that could not be written LMDB does nothing more with an environment it has open. What is in the
 * file is the last good commit: opened again, it serves.
 */
static int txn_begin(struct directory *d, unsigned flags, MDB_txn **txn, struct err *err)
{
	int r = d->env != NULL ? mdb_txn_begin(d->env, NULL, flags, txn) : MDB_PANIC;

	if (r == MDB_PANIC) {
		env_close(d);
		r = env_open(d, err);
		if (r != 0) {
			env_close(d);
			return r;
		}
		r = mdb_txn_begin(d->env, NULL, flags, txn);
	}
	return r == 0 ? 0 : directory_error(err, r, "begin");
}

/* A change of what is damaged could make it look sound. */
static int write_begin(struct directory *d, MDB_txn **txn, struct err *err)
{
	int r = d->damaged ? directory_error(err, MDB_CORRUPTED, "begin") : txn_begin(d, 0, txn, err);

	if (r != 0)
		return r;
	r = auth_state_get(*txn, d->accounts, &d->sum);
	if (r == 0)
		return 0;
	mdb_txn_abort(*txn);
	*txn = NULL;
	return directory_error(err, r, "begin");
}

static int write_commit(struct directory *d, MDB_txn *txn, struct err *err)
{
	int r = auth_state_put(txn, d->accounts, d->sum);

	if (r == 0)
		r = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	return r == 0 ? 0 : directory_error(err, r, "commit");
}

int directory_begin(struct directory *d, struct err *err)
{
	return write_begin(d, &d->txn, err);
}

int directory_commit(struct directory *d, struct err *err)
{
	MDB_txn *txn = d->txn;

	d->txn = NULL;
	return write_commit(d, txn, err);
}

void directory_abort(struct directory *d)
{
	if (d->txn != NULL)
		mdb_txn_abort(d->txn);
	d->txn = NULL;
}

int directory_change_begin(struct directory *d, MDB_txn **txn, struct err *err)
{
	*txn = d->txn;
	return d->txn != NULL ? 0 : write_begin(d, txn, err);
}

int directory_change_end(struct directory *d, MDB_txn *txn, int r, struct err *err)
{
	if (d->txn != NULL)
		return r;
	if (r == 0)
		return write_commit(d, txn, err);
	mdb_txn_abort(txn);
	return r;
}

int directory_read_begin(struct directory *d, MDB_txn **txn)
{
	struct err err;

	*txn = d->txn;
	return d->txn != NULL ? 0 : txn_begin(d, MDB_RDONLY, txn, &err);
}

void directory_read_end(struct directory *d, MDB_txn *txn)
{
	if (d->txn == NULL)
		mdb_txn_abort(txn);
}
