/* App passwords in the directory: an account's lie beside each other, by label. */
#include "auth/directory_private.h"

#include "auth/record.h"

#include <errno.h>
#include <string.h>

enum { APP_VERSION = 1, APP_KEY_MAX = 8 + DIRECTORY_LABEL_MAX };

/* The fixed front; then the address of the last use. The label is in the key. */
struct record {
	uint8_t version;
	uint8_t from_len;
	uint16_t unused;
	uint32_t protocols;
	int64_t created, used;
	unsigned char salt[APP_SALT], hash[APP_HASH];
};

static struct span key_of(uint64_t account, struct span label, unsigned char out[APP_KEY_MAX])
{
	label = span_sub(label, 0, DIRECTORY_LABEL_MAX);
	directory_id_key(account, out);
	memcpy(out + 8, label.ptr, label.len);
	return span_of(out, 8 + label.len);
}

static int decode(MDB_val key, MDB_val value, struct app_password *out)
{
	struct record record;

	if (value.mv_size < sizeof(record) || key.mv_size <= 8 || key.mv_size > APP_KEY_MAX)
		return E_CORRUPT;
	memcpy(&record, value.mv_data, sizeof(record));
	if (record.version != APP_VERSION || record.from_len > DIRECTORY_FROM_MAX || value.mv_size != sizeof(record) + record.from_len)
		return E_CORRUPT;
	*out = (struct app_password){.protocols = record.protocols, .created = record.created, .used = record.used};
	memcpy(out->salt, record.salt, APP_SALT);
	memcpy(out->hash, record.hash, APP_HASH);
	span_copy(span_of((char *)key.mv_data + 8, key.mv_size - 8), out->label, sizeof(out->label));
	span_copy(span_of((char *)value.mv_data + sizeof(record), record.from_len), out->from, sizeof(out->from));
	return 0;
}

static int put(struct directory *d, MDB_txn *txn, uint64_t account, const struct app_password *app, bool replace)
{
	unsigned char key[APP_KEY_MAX];
	char value[sizeof(struct record) + DIRECTORY_FROM_MAX];
	struct record record = {.version = APP_VERSION,
	    .from_len = (uint8_t)strlen(app->from),
	    .protocols = app->protocols,
	    .created = app->created,
	    .used = app->used};

	memcpy(record.salt, app->salt, APP_SALT);
	memcpy(record.hash, app->hash, APP_HASH);
	memcpy(value, &record, sizeof(record));
	memcpy(value + sizeof(record), app->from, record.from_len);
	return auth_record_put(txn, d->apps, key_of(account, span_str(app->label), key), span_of(value, sizeof(record) + record.from_len),
	    replace ? 0 : MDB_NOOVERWRITE, &d->sum);
}

/* The first of the account, or the one behind the cursor. What LMDB says; MDB_NOTFOUND: there is no other. */
static int step(MDB_cursor *cursor, uint64_t account, bool first, MDB_val *key, MDB_val *value)
{
	unsigned char id[8];
	int r;

	directory_id_key(account, id);
	*key = (MDB_val){sizeof(id), id};
	r = mdb_cursor_get(cursor, key, value, first ? MDB_SET_RANGE : MDB_NEXT);
	return r == 0 && (key->mv_size < sizeof(id) || memcmp(key->mv_data, id, sizeof(id)) != 0) ? MDB_NOTFOUND : r;
}

int directory_app_each(struct directory *d, uint64_t account, int (*fn)(void *arg, const struct app_password *app), void *arg)
{
	struct app_password app;
	bool damaged = false;
	MDB_cursor *cursor;
	MDB_txn *txn;
	MDB_val k, v;
	int r = 0;

	if (d->apps == 0)
		return 0;
	if (directory_read_begin(d, &txn) != 0)
		return E_IO;
	if (mdb_cursor_open(txn, d->apps, &cursor) != 0) {
		directory_read_end(d, txn);
		return E_IO;
	}
	for (bool first = true; r == 0 && step(cursor, account, first, &k, &v) == 0; first = false)
		if (auth_record_check(k, &v) && decode(k, v, &app) == 0)
			r = fn(arg, &app);
		else
			damaged = true;
	mdb_cursor_close(cursor);
	directory_read_end(d, txn);
	return r == 0 && damaged ? E_CORRUPT : r;
}

static int count_one(void *arg, const struct app_password *app)
{
	(void)app;
	++*(unsigned *)arg;
	return 0;
}

int directory_app_put(struct directory *d, uint64_t account, const struct app_password *app, bool replace, struct err *err)
{
	struct app_password before;
	unsigned count = 0;
	MDB_txn *txn;
	int r;

	directory_app_each(d, account, count_one, &count);
	if (count >= DIRECTORY_APPS_MAX && directory_app_get(d, account, span_str(app->label), &before) != 0)
		return err_set(err, E_LIMIT, "the account has %d app passwords already", DIRECTORY_APPS_MAX);
	r = directory_change_begin(d, &txn, err);
	if (r != 0)
		return r;
	r = put(d, txn, account, app, replace);
	if (r == MDB_KEYEXIST)
		r = err_set(err, E_EXISTS, "the account has an app password called %s already", app->label);
	else if (r != 0)
		r = directory_error(err, r, "app password");
	return directory_change_end(d, txn, r, err);
}

int directory_app_get(struct directory *d, uint64_t account, struct span label, struct app_password *out)
{
	unsigned char key[APP_KEY_MAX];
	struct span k = key_of(account, label, key);
	MDB_txn *txn;
	MDB_val v;
	int r;

	if (d->apps == 0 || label.len == 0 || label.len > DIRECTORY_LABEL_MAX)
		return E_NOTFOUND;
	if (directory_read_begin(d, &txn) != 0)
		return E_IO;
	r = auth_record_get(txn, d->apps, k, &v);
	r = r == MDB_NOTFOUND ? E_NOTFOUND : r != 0 ? E_CORRUPT : decode((MDB_val){k.len, key}, v, out);
	directory_read_end(d, txn);
	return r;
}

int directory_app_remove(struct directory *d, uint64_t account, struct span label, struct err *err)
{
	unsigned char key[APP_KEY_MAX];
	MDB_txn *txn;
	int r = label.len > 0 && label.len <= DIRECTORY_LABEL_MAX ? directory_change_begin(d, &txn, err) : E_NOTFOUND;

	if (r == E_NOTFOUND)
		return err_set(err, r, "the account has no app password of that name");
	if (r != 0)
		return r;
	r = auth_record_del(txn, d->apps, key_of(account, label, key), &d->sum);
	if (r == MDB_NOTFOUND)
		r = err_set(err, E_NOTFOUND, "the account has no app password called %.*s", SPAN_ARG(label));
	else if (r != 0)
		r = directory_error(err, r, "app password");
	return directory_change_end(d, txn, r, err);
}

/* A new cursor for each: one does not stand what is removed under it. */
int directory_app_clear(struct directory *d, MDB_txn *txn, uint64_t id)
{
	unsigned char key[APP_KEY_MAX];
	MDB_cursor *cursor;
	MDB_val k, v;
	int r;

	do {
		r = mdb_cursor_open(txn, d->apps, &cursor);
		if (r != 0)
			return r;
		r = step(cursor, id, true, &k, &v);
		if (r == 0 && k.mv_size > sizeof(key))
			r = MDB_CORRUPTED;
		if (r == 0)
			memcpy(key, k.mv_data, k.mv_size);
		mdb_cursor_close(cursor);
		if (r == 0)
			r = auth_record_del(txn, d->apps, span_of(key, k.mv_size), &d->sum);
	} while (r == 0);
	return r == MDB_NOTFOUND ? 0 : r;
}
