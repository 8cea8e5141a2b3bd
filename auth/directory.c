#include "auth/directory_private.h"

#include "auth/record.h"
#include "base/clock.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { DIRECTORY_RECORD_VERSION = 2 };

/* The fixed front of an account's record; from version 2 on more lengths, and then the strings. */
struct record {
	uint8_t version;
	uint8_t disabled;
	uint16_t address_len, name_len, hash_len;
	uint64_t id, quota;
	int64_t created;
};

enum { RECORD_SYSTEM = 1, RECORD_FLAGS = RECORD_SYSTEM };

struct record_more {
	uint16_t scram_sha_1_len, scram_sha_256_len, senders_len;
	uint16_t flags; /* RECORD_ */
};

static struct span span_val(MDB_val v)
{
	return span_of(v.mv_data, v.mv_size);
}

void directory_id_key(uint64_t id, unsigned char out[8])
{
	for (int i = 7; i >= 0; i--, id >>= 8)
		out[i] = (unsigned char)id;
}

/* ---- accounts ---- */

static bool copy_string(char *out, size_t max, const char **at, size_t *left, size_t len)
{
	if (len > max || len > *left)
		return false;
	memcpy(out, *at, len);
	out[len] = '\0';
	*at += len;
	*left -= len;
	return true;
}

static int decode_account(MDB_val value, struct account *out)
{
	struct record record;
	struct record_more more = {0};
	struct credentials *c = &out->credentials;
	const char *at = value.mv_data;
	size_t left = value.mv_size;

	if (left < sizeof(record))
		return E_CORRUPT;
	memcpy(&record, at, sizeof(record));
	at += sizeof(record);
	left -= sizeof(record);
	if (record.version > DIRECTORY_RECORD_VERSION || record.version == 0 || (record.version > 1 && left < sizeof(more)))
		return E_CORRUPT;
	if (record.version > 1) {
		memcpy(&more, at, sizeof(more));
		at += sizeof(more);
		left -= sizeof(more);
	}
	if ((more.flags & ~RECORD_FLAGS) != 0)
		return E_CORRUPT;
	out->system = (more.flags & RECORD_SYSTEM) != 0;
	out->id = record.id;
	out->quota = record.quota;
	out->created = record.created;
	out->disabled = record.disabled != 0;
	if (!copy_string(out->address, DIRECTORY_ADDRESS_MAX, &at, &left, record.address_len) ||
	    !copy_string(out->name, DIRECTORY_NAME_MAX, &at, &left, record.name_len) ||
	    !copy_string(c->hash, DIRECTORY_HASH_MAX, &at, &left, record.hash_len) ||
	    !copy_string(c->scram_sha_1, DIRECTORY_SCRAM_MAX, &at, &left, more.scram_sha_1_len) ||
	    !copy_string(c->scram_sha_256, DIRECTORY_SCRAM_MAX, &at, &left, more.scram_sha_256_len) ||
	    !copy_string(out->senders, DIRECTORY_SENDERS_MAX, &at, &left, more.senders_len) || left != 0)
		return E_CORRUPT;
	return 0;
}

static int get_by_id(struct directory *d, MDB_txn *txn, uint64_t id, struct account *out)
{
	unsigned char key[8];
	MDB_val v;
	int r;

	directory_id_key(id, key);
	r = auth_record_get(txn, d->accounts, span_of(key, sizeof(key)), &v);
	return r == MDB_NOTFOUND ? E_NOTFOUND : r != 0 ? E_CORRUPT : decode_account(v, out);
}

static int put_account(struct directory *d, MDB_txn *txn, const struct account *a, struct err *err)
{
	const struct credentials *c = &a->credentials;
	struct record_more more = {.scram_sha_1_len = (uint16_t)strlen(c->scram_sha_1), .scram_sha_256_len = (uint16_t)strlen(c->scram_sha_256),
	    .senders_len = (uint16_t)strlen(a->senders), .flags = a->system ? RECORD_SYSTEM : 0};
	struct record record = {.version = DIRECTORY_RECORD_VERSION,
	    .disabled = a->disabled,
	    .address_len = (uint16_t)strlen(a->address),
	    .name_len = (uint16_t)strlen(a->name),
	    .hash_len = (uint16_t)strlen(c->hash),
	    .id = a->id,
	    .quota = a->quota,
	    .created = a->created};
	unsigned char key[8];
	struct buf value;
	int r;

	buf_init(&value, 4096);
	buf_add(&value, &record, sizeof(record));
	buf_add(&value, &more, sizeof(more));
	buf_add_str(&value, a->address);
	buf_add_str(&value, a->name);
	buf_add_str(&value, c->hash);
	buf_add_str(&value, c->scram_sha_1);
	buf_add_str(&value, c->scram_sha_256);
	buf_add_str(&value, a->senders);
	directory_id_key(a->id, key);
	/* What could not be put together must not take the record's place. */
	r = buf_failed(&value) ? ENOMEM : auth_record_put(txn, d->accounts, span_of(key, sizeof(key)), buf_span(&value), 0, &d->sum);
	buf_fini_secret(&value);
	return r == 0 ? 0 : directory_error(err, r, "account");
}

enum directory_kind directory_find(struct directory *d, struct span address, struct account *account, struct buf *targets)
{
	MDB_val v;
	enum directory_kind kind = DIRECTORY_ERROR;
	MDB_txn *txn;
	uint64_t id;
	int r;

	if (address.len == 0 || address.len > DIRECTORY_ADDRESS_MAX)
		return DIRECTORY_NONE;
	if (directory_read_begin(d, &txn) != 0)
		return DIRECTORY_ERROR;
	r = auth_record_get(txn, d->addresses, address, &v);
	if (r == MDB_NOTFOUND) {
		/* Nobody is told that there is no such address when it may be the one that was lost. */
		kind = d->damaged ? DIRECTORY_ERROR : DIRECTORY_NONE;
	} else if (r == 0 && v.mv_size == 9 && *(char *)v.mv_data == 'A') {
		memcpy(&id, (char *)v.mv_data + 1, sizeof(id));
		if (get_by_id(d, txn, id, account) == 0)
			kind = DIRECTORY_ACCOUNT;
	} else if (r == 0 && v.mv_size > 1 && *(char *)v.mv_data == 'L') {
		if (targets != NULL)
			buf_add(targets, (char *)v.mv_data + 1, v.mv_size - 1);
		kind = DIRECTORY_ALIAS;
	}
	directory_read_end(d, txn);
	return kind;
}

int directory_account_get(struct directory *d, struct span address, struct account *out)
{
	switch (directory_find(d, address, out, NULL)) {
	case DIRECTORY_ACCOUNT:
		return 0;
	case DIRECTORY_ERROR:
		return E_IO;
	default:
		return E_NOTFOUND;
	}
}

int directory_account_by_id(struct directory *d, uint64_t id, struct account *out)
{
	MDB_txn *txn;
	int r;

	if (directory_read_begin(d, &txn) != 0)
		return E_IO;
	r = get_by_id(d, txn, id, out);
	directory_read_end(d, txn);
	return r == E_NOTFOUND && d->damaged ? E_IO : r;
}

/* A number that was asked for must be free: it is where somebody's mail lies. */
static int check_id(struct directory *d, MDB_txn *txn, uint64_t id, struct err *err)
{
	unsigned char key[8];
	MDB_val k = {sizeof(key), key}, v;

	directory_id_key(id, key);
	if (mdb_get(txn, d->accounts, &k, &v) == MDB_NOTFOUND)
		return 0;
	return err_set(err, E_EXISTS, "the number %llu is another account's", (unsigned long long)id);
}

/* *id 0: the next one; else this one, and those to come are above it. */
static int take_id(struct directory *d, MDB_txn *txn, uint64_t *id, struct err *err)
{
	uint64_t next = 1;
	MDB_val v;
	int r = auth_record_get(txn, d->meta, SPAN_LIT("next"), &v);

	if (r == 0 && v.mv_size == sizeof(next))
		memcpy(&next, v.mv_data, sizeof(next));
	else if (r != MDB_NOTFOUND)
		return directory_error(err, r, "next id");
	if (next <= d->floor)
		next = d->floor + 1;
	if (*id == 0)
		*id = next;
	else if (check_id(d, txn, *id, err) != 0)
		return E_EXISTS;
	if (*id >= next)
		next = *id + 1;
	r = auth_record_put(txn, d->meta, SPAN_LIT("next"), span_of(&next, sizeof(next)), 0, &d->sum);
	return r == 0 ? 0 : directory_error(err, r, "next id");
}

static int add_address(struct directory *d, MDB_txn *txn, const struct account *account, struct err *err)
{
	char value[9] = {'A'};
	int r;

	memcpy(value + 1, &account->id, sizeof(account->id));
	r = auth_record_put(txn, d->addresses, span_str(account->address), span_of(value, sizeof(value)), MDB_NOOVERWRITE, &d->sum);
	if (r == MDB_KEYEXIST)
		return err_set(err, E_EXISTS, "%s is there already, as an account or an alias", account->address);
	return r == 0 ? 0 : directory_error(err, r, "address");
}

int directory_account_add(struct directory *d, struct account *account, struct err *err)
{
	MDB_txn *txn;
	int r = directory_change_begin(d, &txn, err);

	if (r != 0)
		return r;
	if (account->created == 0)
		account->created = clock_wall();
	r = take_id(d, txn, &account->id, err);
	if (r == 0)
		r = add_address(d, txn, account, err);
	if (r == 0)
		r = put_account(d, txn, account, err);
	return directory_change_end(d, txn, r, err);
}

bool account_set_name(struct account *account, struct span name)
{
	name = span_trim(name);
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] < ' ' || name.ptr[i] == 0x7f)
			return false;
	if (name.len > DIRECTORY_NAME_MAX)
		return false;
	span_copy(name, account->name, sizeof(account->name));
	return true;
}

int directory_account_put(struct directory *d, const struct account *account, struct err *err)
{
	MDB_txn *txn;
	int r = directory_change_begin(d, &txn, err);

	return r == 0 ? directory_change_end(d, txn, put_account(d, txn, account, err), err) : r;
}

int directory_credentials_put(struct directory *d, uint64_t id, const char *before, const struct credentials *credentials, struct err *err)
{
	struct account account;
	MDB_txn *txn;
	int r = directory_change_begin(d, &txn, err);

	if (r != 0)
		return r;
	r = get_by_id(d, txn, id, &account);
	if (r == 0 && before != NULL && strcmp(account.credentials.hash, before) != 0)
		r = E_NOTFOUND;
	if (r != 0)
		return directory_change_end(d, txn, err_set(err, r, "the account was removed or changed meanwhile"), err);
	account.credentials = *credentials;
	return directory_change_end(d, txn, put_account(d, txn, &account, err), err);
}

int directory_account_remove(struct directory *d, struct span address, struct err *err)
{
	struct account account;
	unsigned char key[8];
	MDB_txn *txn;
	int r = directory_account_get(d, address, &account);

	if (r != 0)
		return err_set(err, r, r == E_NOTFOUND ? "there is no account %.*s" : "the directory cannot be read for %.*s", SPAN_ARG(address));
	r = directory_change_begin(d, &txn, err);
	if (r != 0)
		return r;
	directory_id_key(account.id, key);
	r = auth_record_del(txn, d->addresses, address, &d->sum);
	if (r == 0)
		r = auth_record_del(txn, d->accounts, span_of(key, sizeof(key)), &d->sum);
	if (r == 0)
		r = directory_app_clear(d, txn, account.id);
	if (r == 0)
		r = directory_places_clear(d, txn, account.id);
	return directory_change_end(d, txn, r == 0 ? 0 : directory_error(err, r, "remove"), err);
}

/* ---- the secret ---- */

static int make_secret(struct directory *d, unsigned char out[DIRECTORY_SECRET], struct err *err)
{
	MDB_txn *txn;
	int r = directory_change_begin(d, &txn, err);

	if (r != 0)
		return r;
	randombytes_buf(out, DIRECTORY_SECRET);
	r = auth_record_put(txn, d->meta, SPAN_LIT("secret"), span_of(out, DIRECTORY_SECRET), 0, &d->sum);
	return directory_change_end(d, txn, r == 0 ? 0 : directory_error(err, r, "secret"), err);
}

int directory_secret(struct directory *d, unsigned char out[DIRECTORY_SECRET], struct err *err)
{
	MDB_txn *txn;
	MDB_val v;
	int r = directory_read_begin(d, &txn);

	if (r != 0)
		return err_set(err, E_IO, "the directory cannot be read");
	r = auth_record_get(txn, d->meta, SPAN_LIT("secret"), &v);
	if (r == 0 && v.mv_size == DIRECTORY_SECRET)
		memcpy(out, v.mv_data, DIRECTORY_SECRET);
	else if (r == 0)
		r = MDB_NOTFOUND;
	directory_read_end(d, txn);
	return r == 0 ? 0 : make_secret(d, out, err); /* one that is damaged, too, is replaced */
}

/* ---- walks ---- */

/* What cannot be read is left out, which is said at the end. */
static int walk(struct directory *d, MDB_dbi dbi, int (*fn)(void *arg, MDB_val key, MDB_val value), void *arg)
{
	bool damaged = false;
	MDB_cursor *cursor;
	MDB_txn *txn;
	MDB_val k, v;
	int r = 0, next;

	if (directory_read_begin(d, &txn) != 0)
		return E_IO;
	if (mdb_cursor_open(txn, dbi, &cursor) != 0) {
		directory_read_end(d, txn);
		return E_IO;
	}
	while (r == 0 && (next = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) != MDB_NOTFOUND) {
		r = next == 0 && auth_record_check(k, &v) ? fn(arg, k, v) : E_CORRUPT;
		damaged |= r == E_CORRUPT;
		if (next == 0 && r == E_CORRUPT)
			r = 0;
	}
	mdb_cursor_close(cursor);
	directory_read_end(d, txn);
	return r == 0 && damaged ? E_CORRUPT : r;
}

struct account_walk {
	int (*fn)(void *arg, const struct account *account);
	void *arg;
};

static int walk_account(void *arg, MDB_val key, MDB_val value)
{
	struct account_walk *w = arg;
	struct account account;

	if (auth_record_is_state(key))
		return 0;
	return decode_account(value, &account) == 0 ? w->fn(w->arg, &account) : E_CORRUPT;
}

int directory_account_each(struct directory *d, int (*fn)(void *arg, const struct account *account), void *arg)
{
	struct account_walk w = {fn, arg};

	return walk(d, d->accounts, walk_account, &w);
}

static int take_first(void *arg, const struct account *account)
{
	*(struct account *)arg = *account;
	return 1;
}

int directory_account_first(struct directory *d, struct account *out)
{
	int r = directory_account_each(d, take_first, out);

	return r == 1 ? 0 : r == 0 ? E_NOTFOUND : r;
}

struct alias_walk {
	int (*fn)(void *arg, struct span address, struct span targets);
	void *arg;
};

static int walk_alias(void *arg, MDB_val key, MDB_val value)
{
	struct alias_walk *w = arg;
	struct span v = span_val(value);

	return v.len > 1 && v.ptr[0] == 'L' ? w->fn(w->arg, span_val(key), span_from(v, 1)) : 0;
}

int directory_alias_each(struct directory *d, int (*fn)(void *arg, struct span address, struct span targets), void *arg)
{
	struct alias_walk w = {fn, arg};

	return walk(d, d->addresses, walk_alias, &w);
}

struct domain_walk {
	int (*fn)(void *arg, struct span name);
	void *arg;
};

static int walk_domain(void *arg, MDB_val key, MDB_val value)
{
	struct domain_walk *w = arg;

	(void)value;
	return w->fn(w->arg, span_val(key));
}

int directory_domain_each(struct directory *d, int (*fn)(void *arg, struct span name), void *arg)
{
	struct domain_walk w = {fn, arg};

	return walk(d, d->domains, walk_domain, &w);
}

/* ---- aliases and domains ---- */

int directory_alias_put(struct directory *d, struct span address, struct span targets, bool replace, struct err *err)
{
	struct account account;
	struct buf value;
	MDB_txn *txn;
	enum directory_kind kind = directory_find(d, address, &account, NULL);
	int r;

	if (kind == DIRECTORY_ERROR)
		return err_set(err, E_IO, "the directory cannot be read");
	if (kind == DIRECTORY_ACCOUNT)
		return err_set(err, E_EXISTS, "%.*s is an account", SPAN_ARG(address));
	r = directory_change_begin(d, &txn, err);
	if (r != 0)
		return r;
	buf_init(&value, DIRECTORY_ALIAS_MAX);
	buf_add_char(&value, 'L');
	buf_add_span(&value, targets);
	if (buf_failed(&value))
		r = targets.len >= DIRECTORY_ALIAS_MAX ? err_set(err, E_TOOBIG, "the alias has too many targets")
						       : err_set(err, E_NOMEM, "out of memory");
	else {
		r = auth_record_put(txn, d->addresses, address, buf_span(&value), replace ? 0 : MDB_NOOVERWRITE, &d->sum);
		if (r == MDB_KEYEXIST)
			r = err_set(err, E_EXISTS, "the alias %.*s is there already", SPAN_ARG(address));
		else if (r != 0)
			r = directory_error(err, r, "alias");
	}
	buf_fini(&value);
	return directory_change_end(d, txn, r, err);
}

static int remove_key(struct directory *d, MDB_dbi dbi, struct span key, const char *what, struct err *err)
{
	MDB_txn *txn;
	int r = directory_change_begin(d, &txn, err);

	if (r != 0)
		return r;
	r = auth_record_del(txn, dbi, key, &d->sum);
	if (r == MDB_NOTFOUND)
		r = err_set(err, E_NOTFOUND, "there is no %s %.*s", what, SPAN_ARG(key));
	else if (r != 0)
		r = directory_error(err, r, what);
	return directory_change_end(d, txn, r, err);
}

int directory_alias_remove(struct directory *d, struct span address, struct err *err)
{
	struct account account;
	enum directory_kind kind = directory_find(d, address, &account, NULL);

	if (kind == DIRECTORY_ERROR)
		return err_set(err, E_IO, "the directory cannot be read");
	if (kind != DIRECTORY_ALIAS)
		return err_set(err, E_NOTFOUND, "there is no alias %.*s", SPAN_ARG(address));
	return remove_key(d, d->addresses, address, "alias", err);
}

int directory_domain_add(struct directory *d, struct span name, struct err *err)
{
	MDB_txn *txn;
	int r = directory_change_begin(d, &txn, err);

	if (r != 0)
		return r;
	r = auth_record_put(txn, d->domains, name, span_str(""), MDB_NOOVERWRITE, &d->sum);
	if (r == MDB_KEYEXIST)
		r = err_set(err, E_EXISTS, "the domain %.*s is there already", SPAN_ARG(name));
	else if (r != 0)
		r = directory_error(err, r, "domain");
	return directory_change_end(d, txn, r, err);
}

int directory_domain_remove(struct directory *d, struct span name, struct err *err)
{
	return remove_key(d, d->domains, name, "domain", err);
}

int directory_domain_has(struct directory *d, struct span name)
{
	MDB_txn *txn;
	MDB_val v;
	int r;

	if (name.len == 0 || name.len > 255)
		return 0;
	r = directory_read_begin(d, &txn);
	if (r != 0)
		return r;
	r = auth_record_get(txn, d->domains, name, &v);
	directory_read_end(d, txn);
	/* One that was lost may be ours: its mail is not refused for good. */
	return r == 0 || d->damaged ? 1 : r == MDB_NOTFOUND ? 0 : E_CORRUPT;
}
