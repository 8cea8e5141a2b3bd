/* What the files of report.h have in common. */
#ifndef MW_RELAY_REPORT_PRIVATE_H
#define MW_RELAY_REPORT_PRIVATE_H

#include "dns/dns.h"
#include "relay/report.h"
#include "relay/state.h"
#include "tlsrpt/record.h"

struct counted;
struct report_task;

enum { REPORT_KEY_MAX = 20 + DNS_NAME_TEXT, REPORT_ADDRESS_MAX = 320, REPORT_WHY_MAX = 200 };

/* One look at what waits to be sent, from its first to its last; by itself or because an administrator says so. */
struct report_pass {
	bool active, ended; /* ended: all were looked at, some may be under way */
	struct control_reply *reply; /* NULL: nobody asked; else what is not due is sent as well */
	char domain[DNS_NAME_TEXT];  /* the only one; "": all */
	char cursor[REPORT_KEY_MAX]; /* the last one that was looked at */
	unsigned sent, unasked, failed;
};

/* What has gone to each today; by a hash, so that no number of places takes more room. */
struct report_places {
	unsigned day;
	uint8_t counts[REPORT_PLACES]; /* to REPORT_PLACE_MAX; one more: that is in the log */
};

struct reports {
	struct relay *relay;
	struct state *state;
	struct counted *counted; /* what is in memory */
	unsigned counted_count;
	int64_t flush_ms;	/* when it is written; 0: there is nothing */
	bool flush_failed;	/* the last time */
	unsigned stored;	/* records of traffic */
	uint64_t not_counted;
	int64_t day_end;	/* wall clock, seconds: when the days before are closed */
	bool closing;
	int64_t pass_at;	/* wall clock, seconds */
	struct report_pass pass;
	struct report_places places;
	struct report_task *tasks;
	unsigned task_count;
	uint32_t last_mail;
};

/* ---- report.c: counting ---- */

bool reports_are_on(const struct relay *relay);
/* What is in memory is written, and is there no more. False: it cannot be, and is still there. */
bool reports_flush(struct reports *reports);
/* 20261126 */
unsigned report_day(int64_t wall);

/* ---- report_store.c: from traffic to reports, and what becomes of these ---- */

/* A report as it is stored: its key is "<end> <domain>". */
struct report_stored {
	char key[REPORT_KEY_MAX];
	const char *domain; /* in key */
	int64_t end;	    /* the last second of it */
	int64_t first, next; /* first: when it was tried first; 0: not yet */
	unsigned attempts;
	struct span traffic;
};

/* Whether this key of STATE_TRAFFIC is "<day> <domain>". */
bool report_traffic_key(struct span key, uint64_t *day);
/* A key and a value of STATE_REPORTS; false: they are none. traffic borrows value. */
bool report_parse(struct span key, struct span value, struct report_stored *out);
int report_save(struct reports *reports, const struct report_stored *report, struct err *err);
void report_forget(struct reports *reports, const char *key);
/*
 * Closes traffic: that of days before, or with now all of it, of one domain or of all (""); what is counted from here on has its
 * place in another report. At most REPORT_BATCH at a time; how many, or -1 for an error. cursor: "" at the beginning, where the next
 * batch goes on.
 */
int reports_close(struct reports *reports, const char *domain, bool now, char cursor[REPORT_KEY_MAX]);

/* ---- report_places.c ---- */

/* One more report goes there; false: it has had REPORT_PLACE_MAX today, which is logged once. */
bool report_place_take(struct reports *reports, const struct tlsrpt_target *target);

/* ---- report_send.c ---- */

/* As it would be sent, or is. 0, E_CORRUPT, E_NOMEM. */
int report_render(struct reports *reports, const struct report_stored *stored, struct buf *out);
/* Begins to send it. */
void report_send(struct reports *reports, const struct report_stored *report);
/* More of the pass is begun, or it ends. */
void reports_pump(struct reports *reports);
void report_tasks_free(struct reports *reports);

#endif
