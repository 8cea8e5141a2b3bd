/*
 * Reports about TLS (RFC 8460). What came of the security of each connection is counted for the domain that the mail was for, kept in
 * state.h, and once a day sent to those domains that ask for it. The day is that of UTC.
 *
 *   traffic   counted today, or before and not yet sent: a record for each day and domain (lib/tlsrpt/traffic.h)
 *   report    closed: nothing is added any more. It waits to be sent, and for a day again and again when it cannot be
 *
 * A report that was taken by one of the places that the domain names, or that it does not ask for, is forgotten.
 */
#ifndef MW_RELAY_REPORT_H
#define MW_RELAY_REPORT_H

#include "tlsrpt/traffic.h"

struct control_reply;
struct relay;
struct reports;

enum {
	REPORT_DOMAINS_MAX = 20000, /* that are counted in a day; what is sent to further ones is not */
	REPORT_CACHE_MAX = 2000,    /* domains whose counters are in memory; more are written at once */
	REPORT_FLUSH_MS = 10000,    /* what was counted is written after so long: it is lost when relay is killed */
	REPORT_DELAY_MAX_S = 14400, /* after midnight, by chance, so that receivers do not hear from everybody at once (section 4.1) */
	REPORT_LATE_S = 600,	    /* the same, after a start by which a day has ended before */
	REPORT_BATCH = 200,	    /* closed at a time */
	REPORT_RUNNING_MAX = 8,	    /* sent at once */
	REPORT_PASS_S = 60,	    /* from one look at what waits to the next */
	REPORT_RETRY_S = 600,	    /* before the second attempt; doubled each time */
	REPORT_RETRY_MAX_S = 14400,
	REPORT_LIFETIME_S = 86400,  /* from the first attempt on (section 5.5) */
	REPORT_PLACE_MAX = 100,	    /* to one place, the domain of an address or the host of a URL, in a day; tries count, a start forgets */
	REPORT_PLACES = 16384,	    /* counters of places, which share them by chance */
	REPORT_FETCH_MS = 60000,
	REPORT_DNS_MS = 20000,
};

/* One connection to a host, or a host that was passed over. All borrowed for the call. */
struct report_attempt {
	struct span domain; /* that the mail was for: A-labels */
	struct tlsrpt_session session;
};

/*
 * Counts it, unless reports are off. To be called once for each connection whose security is decided, and for each host that is passed
 * over because of a policy; not for mail that goes whatever the policy says ("TLS-Required: No"): so a report's own way is in no report
 * (section 3), nor for destinations that the configuration names.
 */
void report_note(struct relay *relay, const struct report_attempt *attempt);

/* ---- for main.c, channel.c, control.c ---- */

/* E_NOMEM. Without a state nothing is counted. */
int reports_open(struct relay *relay);
/* Each second: writes, closes, sends. */
void reports_sweep(struct relay *relay);
/* Writes what is not yet written; nothing is counted or sent any more. */
void reports_halt(struct relay *relay);
/* Queue has, with code 0, taken a message that channel_mail handed it, or will not. */
void reports_mailed(struct relay *relay, uint32_t id, int code);
/* What queue was handed it will not answer. */
void reports_mail_lost(struct relay *relay);
/* mailwain relay report [DOMAIN] [--send] */
void reports_command(struct relay *relay, struct control_reply *reply, const struct span *args, size_t count);

#endif
