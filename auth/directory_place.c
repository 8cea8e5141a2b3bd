/* Where an account logs in from: the last few addresses, as keyed hashes. */
#include "auth/directory_private.h"

#include "auth/record.h"
#include "base/bytes.h"

#include <string.h>

enum { PLACE_SIZE = 12 }; /* hash, day */

void directory_places_get(struct directory *d, uint64_t account, struct place out[DIRECTORY_PLACES])
{
	unsigned char key[8];
	MDB_txn *txn;
	MDB_val v;

	memset(out, 0, DIRECTORY_PLACES * sizeof(*out));
	if (d->places == 0 || directory_read_begin(d, &txn) != 0)
		return;
	directory_id_key(account, key);
	if (auth_record_get(txn, d->places, span_of(key, sizeof(key)), &v) == 0)
		for (size_t i = 0; i < DIRECTORY_PLACES && (i + 1) * PLACE_SIZE <= v.mv_size; i++) {
			out[i].hash = get_le((char *)v.mv_data + i * PLACE_SIZE, 8);
			out[i].day = (uint32_t)get_le((char *)v.mv_data + i * PLACE_SIZE + 8, 4);
		}
	directory_read_end(d, txn);
}

int directory_place_put(struct directory *d, uint64_t account, const struct place *place, struct err *err)
{
	struct place places[DIRECTORY_PLACES];
	char value[DIRECTORY_PLACES * PLACE_SIZE];
	unsigned char key[8];
	size_t at = 0;
	MDB_txn *txn;
	int r = directory_change_begin(d, &txn, err);

	if (r != 0)
		return r;
	directory_id_key(account, key);
	directory_places_get(d, account, places);
	for (size_t i = 0; i < DIRECTORY_PLACES && places[at].hash != place->hash; i++)
		if (places[i].hash == place->hash || places[i].day < places[at].day)
			at = i;
	places[at] = *place;
	for (size_t i = 0; i < DIRECTORY_PLACES; i++) {
		put_le(value + i * PLACE_SIZE, places[i].hash, 8);
		put_le(value + i * PLACE_SIZE + 8, places[i].day, 4);
	}
	r = auth_record_put(txn, d->places, span_of(key, sizeof(key)), span_of(value, sizeof(value)), 0, &d->sum);
	return directory_change_end(d, txn, r == 0 ? 0 : directory_error(err, r, "place"), err);
}

int directory_places_clear(struct directory *d, MDB_txn *txn, uint64_t id)
{
	unsigned char key[8];
	int r;

	directory_id_key(id, key);
	r = auth_record_del(txn, d->places, span_of(key, sizeof(key)), &d->sum);
	return r == MDB_NOTFOUND ? 0 : r;
}
