/*
 * What relay remembers over a restart: tables of records in one LMDB environment, data/relay, which is its root directory. Nothing in
 * it is needed to deliver mail: when it is damaged it is set aside and begun again, and when it cannot be written mail goes on.
 * A record has its checksum; one that does not fit is as good as none. After a power cut the last changes may be missing, never a part of one.
 */
#ifndef MW_RELAY_STATE_H
#define MW_RELAY_STATE_H

#include "base/buf.h"
#include "base/err.h"

struct state;

/* Each is one module's, which decides about the form of its keys and values. */
enum state_table {
	STATE_POLICIES, /* MTA-STS policies */
	STATE_TRAFFIC,	/* what TLS reports are made from */
	STATE_REPORTS,	/* reports that are to be sent */
	STATE_TABLES,
};

enum {
	STATE_KEY_MAX = 500,
	STATE_VALUE_MAX = 1024 * 1024,
};

/*
 * In the current directory, which proc_confine has made data/relay. A damaged file becomes damaged.mdb, in the place of an older one,
 * is logged, and an empty one is made. E_NOMEM, E_IO, E_NOSPACE.
 */
int state_open(struct state **out, struct err *err);
/* What has not been committed is lost. */
void state_close(struct state **state);

/* Adds the value to out. E_NOTFOUND: there is none, or it is damaged; E_IO; E_NOMEM. A change that has begun is seen. */
int state_get(struct state *state, enum state_table table, struct span key, struct buf *out);

/* Changes are made between begin and commit, which is synced; without a commit state_abort takes them back. E_NOSPACE: the disk or the map is full. */
int state_begin(struct state *state, struct err *err);
int state_put(struct state *state, enum state_table table, struct span key, struct span value, struct err *err);
/* 0 also when there is none. */
int state_delete(struct state *state, enum state_table table, struct span key, struct err *err);
int state_commit(struct state *state, struct err *err);
void state_abort(struct state *state);

/* false: no more of them. Both are borrowed until it returns; it changes nothing. */
typedef bool state_each_record(void *arg, struct span key, struct span value);
/* Those whose keys are not before `from`, in the order of keys; damaged ones are passed over. 0, E_IO, E_NOMEM. */
int state_each(struct state *state, enum state_table table, struct span from, state_each_record *each, void *arg);

#endif
