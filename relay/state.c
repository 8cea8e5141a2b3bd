#include "relay/state.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/log.h"
#include "store/pages.h"

#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATE_READERS = 16, STATE_SUM = 8 };
#define STATE_MAP ((size_t)512 << 20) /* address space, and how large the file may grow */

#define STATE_REPORTS_MAP (STATE_MAP / 8) /* what is there when no more of reports is taken */

#define STATE_FILE "data.mdb"
#define STATE_LOCK "lock.mdb"
#define STATE_DAMAGED "damaged.mdb"

struct state {
	MDB_env *env;
	MDB_dbi tables[STATE_TABLES];
	MDB_txn *txn; /* NULL: no change has begun */
};

static int state_error(struct err *err, int r, const char *what)
{
	int code = r == MDB_MAP_FULL ? E_NOSPACE : r > 0 ? err_from_errno(r) : E_CORRUPT;

	return err_set(err, code, "relay/data.mdb in the data directory: %s: %s", what, mdb_strerror(r));
}

/* ---- open ---- */

static int open_tables(struct state *s)
{
	static const char *const names[STATE_TABLES] = {[STATE_POLICIES] = "policies", [STATE_TRAFFIC] = "traffic", [STATE_REPORTS] = "reports"};
	MDB_txn *txn = NULL;
	int r = mdb_txn_begin(s->env, NULL, 0, &txn);

	for (size_t i = 0; i < STATE_TABLES && r == 0; i++)
		r = mdb_dbi_open(txn, names[i], MDB_CREATE, &s->tables[i]);
	if (r == 0)
		return mdb_txn_commit(txn);
	if (txn != NULL)
		mdb_txn_abort(txn);
	return r;
}

/* What commits lose is the last of them, in a power cut: one sync instead of two. */
static int env_open(struct state *s, struct err *err)
{
	int r = pages_guard(AT_FDCWD, ".", STATE_MAP, NULL, err), dead; /* LMDB believes what it reads: all of it is looked at before */

	if (r != 0)
		return r;
	r = mdb_env_create(&s->env);
	if (r == 0)
		r = mdb_env_set_mapsize(s->env, STATE_MAP);
	if (r == 0)
		r = mdb_env_set_maxdbs(s->env, STATE_TABLES);
	if (r == 0)
		r = mdb_env_set_maxreaders(s->env, STATE_READERS);
	if (r == 0)
		r = mdb_env_open(s->env, ".", MDB_NOTLS | MDB_NOMETASYNC, 0600);
	if (r == 0)
		mdb_reader_check(s->env, &dead);
	if (r == 0 && pages_check(s->env, true, NULL, err) != 0)
		return E_CORRUPT;
	if (r == 0)
		r = open_tables(s);
	return r == 0 ? 0 : state_error(err, r, "open");
}

static void env_close(struct state *s)
{
	if (s->env != NULL)
		mdb_env_close(s->env);
	s->env = NULL;
}

/* One is kept, for whoever wants to know what happened. */
static int set_aside(const struct err *why, struct err *err)
{
	log_event(EV_relay_state_damaged, NULL, F_STR("file", "relay/" STATE_DAMAGED), F_STR("error", why->text));
	unlink(STATE_LOCK);
	return rename(STATE_FILE, STATE_DAMAGED) == 0 ? 0 : err_set(err, E_IO, "relay's state: a damaged file cannot be moved away");
}

int state_open(struct state **out, struct err *err)
{
	struct state *s = calloc(1, sizeof(*s));
	struct err why = {0};
	int r;

	*out = NULL;
	if (s == NULL)
		return err_set(err, E_NOMEM, "no memory for relay's state");
	r = env_open(s, &why);
	if (r == E_CORRUPT) {
		env_close(s);
		r = set_aside(&why, &why);
		if (r == 0)
			r = env_open(s, &why);
	}
	if (r != 0) {
		*err = why;
		state_close(&s);
	}
	*out = s;
	return r;
}

void state_close(struct state **state)
{
	struct state *s = *state;

	*state = NULL;
	if (s == NULL)
		return;
	state_abort(s);
	env_close(s);
	free(s);
}

/* ---- transactions ---- */

/* After a meta page that could not be written LMDB does nothing more with an environment; the file has the last good commit. */
static int txn_begin(struct state *s, unsigned flags, MDB_txn **txn, struct err *err)
{
	int r = s->env != NULL ? mdb_txn_begin(s->env, NULL, flags, txn) : MDB_PANIC;

	if (r == MDB_PANIC) {
		env_close(s);
		r = env_open(s, err);
		if (r != 0) {
			env_close(s);
			return r;
		}
		r = mdb_txn_begin(s->env, NULL, flags, txn);
	}
	return r == 0 ? 0 : state_error(err, r, "begin");
}

int state_begin(struct state *state, struct err *err)
{
	invariant(state->txn == NULL);
	return txn_begin(state, 0, &state->txn, err);
}

int state_commit(struct state *state, struct err *err)
{
	MDB_txn *txn = state->txn;
	int r;

	state->txn = NULL;
	r = mdb_txn_commit(txn);
	return r == 0 ? 0 : state_error(err, r, "commit");
}

void state_abort(struct state *state)
{
	if (state->txn != NULL)
		mdb_txn_abort(state->txn);
	state->txn = NULL;
}

static int read_begin(struct state *s, MDB_txn **txn)
{
	struct err err;
	int r;

	*txn = s->txn;
	if (s->txn != NULL)
		return 0;
	r = txn_begin(s, MDB_RDONLY, txn, &err);
	return r == 0 || r == E_NOMEM ? r : E_IO;
}

static void read_end(struct state *s, MDB_txn *txn)
{
	if (s->txn == NULL)
		mdb_txn_abort(txn);
}

/* ---- records ---- */

static MDB_val key_of(struct span key)
{
	return (MDB_val){.mv_size = key.len, .mv_data = (void *)(uintptr_t)key.ptr};
}

static uint64_t sum_of(struct span key, struct span value)
{
	return checksum(value.ptr, value.len, checksum(key.ptr, key.len, 0));
}

/* The value without its checksum; false: it is damaged. */
static bool take_value(struct span key, const MDB_val *v, struct span *out)
{
	if (v->mv_size < STATE_SUM)
		return false;
	*out = span_of(v->mv_data, v->mv_size - STATE_SUM);
	return get_le(out->ptr + out->len, STATE_SUM) == sum_of(key, *out);
}

int state_get(struct state *state, enum state_table table, struct span key, struct buf *out)
{
	MDB_val k = key_of(key), v;
	struct span value;
	MDB_txn *txn;
	int r = read_begin(state, &txn);

	if (r != 0)
		return r;
	r = mdb_get(txn, state->tables[table], &k, &v);
	if (r == 0 && take_value(key, &v, &value))
		buf_add_span(out, value);
	else
		r = r == 0 || r == MDB_NOTFOUND ? E_NOTFOUND : E_IO;
	read_end(state, txn);
	return r == 0 && buf_failed(out) ? E_NOMEM : r;
}

/* Pages that are in use, what may be used again left out; 0: not known. */
static size_t pages_used(struct state *s)
{
	MDB_cursor *cursor = NULL;
	size_t freed = 0, one;
	MDB_envinfo info;
	MDB_val k, v;

	if (mdb_env_info(s->env, &info) != 0 || mdb_cursor_open(s->txn, 0, &cursor) != 0) /* 0: LMDB's own table of them */
		return 0;
	while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0 && v.mv_size >= sizeof(one)) {
		memcpy(&one, v.mv_data, sizeof(one)); /* how many numbers follow */
		freed += one;
	}
	mdb_cursor_close(cursor);
	return info.me_last_pgno + 1 > freed ? info.me_last_pgno + 1 - freed : 0;
}

/* Who has mail sent to him by us decides how much there is to report; policies are never to want for room because of it. */
static bool is_full(struct state *s, enum state_table table)
{
	MDB_envinfo info;
	MDB_stat stat;

	if (table == STATE_POLICIES || mdb_env_info(s->env, &info) != 0 || mdb_env_stat(s->env, &stat) != 0)
		return false;
	return (info.me_last_pgno + 1) * stat.ms_psize > STATE_REPORTS_MAP && pages_used(s) * stat.ms_psize > STATE_REPORTS_MAP;
}

int state_put(struct state *state, enum state_table table, struct span key, struct span value, struct err *err)
{
	MDB_val k = key_of(key), v = {.mv_size = value.len + STATE_SUM};
	int r;

	if (key.len == 0 || key.len > STATE_KEY_MAX || value.len > STATE_VALUE_MAX)
		return err_set(err, E_TOOBIG, "relay's state: a record is too large");
	if (is_full(state, table))
		return err_set(err, E_NOSPACE, "relay/data.mdb in the data directory: no more room for reports");
	r = mdb_put(state->txn, state->tables[table], &k, &v, MDB_RESERVE);
	if (r != 0)
		return state_error(err, r, "put");
	memcpy(v.mv_data, value.ptr, value.len);
	put_le((char *)v.mv_data + value.len, sum_of(key, value), STATE_SUM);
	return 0;
}

int state_delete(struct state *state, enum state_table table, struct span key, struct err *err)
{
	MDB_val k = key_of(key);
	int r = mdb_del(state->txn, state->tables[table], &k, NULL);

	return r == 0 || r == MDB_NOTFOUND ? 0 : state_error(err, r, "delete");
}

int state_each(struct state *state, enum state_table table, struct span from, state_each_record *each, void *arg)
{
	MDB_val k = key_of(from), v;
	MDB_cursor *cursor = NULL;
	bool more = true;
	MDB_txn *txn;
	int r = read_begin(state, &txn);

	if (r != 0)
		return r;
	r = mdb_cursor_open(txn, state->tables[table], &cursor);
	if (r == 0)
		r = mdb_cursor_get(cursor, &k, &v, from.len > 0 ? MDB_SET_RANGE : MDB_FIRST);
	while (r == 0 && more) {
		struct span key = span_of(k.mv_data, k.mv_size), value;

		if (take_value(key, &v, &value))
			more = each(arg, key, value);
		r = more ? mdb_cursor_get(cursor, &k, &v, MDB_NEXT) : 0;
	}
	if (cursor != NULL)
		mdb_cursor_close(cursor);
	read_end(state, txn);
	return r == 0 || r == MDB_NOTFOUND ? 0 : E_IO;
}
