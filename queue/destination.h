/* Where mail to other hosts goes next, and how much of it at once. */
#ifndef MW_QUEUE_DESTINATION_H
#define MW_QUEUE_DESTINATION_H

#include "queue/lanes.h"
#include "queue/pace.h"
#include "queue/queue.h"

enum {
	JOB_RECIPIENTS = 100,	/* of one message on one connection */
	JOB_REPEATS = 3,	/* times that what a host put off for their number is sent again at once */
	DESTINATION_WHY = 400,	/* of a reason; up to half of it says who said it */
};

enum { ROUTE_DOMAIN_MAX = 256, ROUTE_HOST_MAX = 300, ROUTE_KEY_MAX = 640 };

/* ---- route.c ---- */
struct route {
	const struct conf_transport *transport; /* NULL: MX records, or host */
	char host[ROUTE_HOST_MAX + 1];		/* by an administrator's word (reroute), as in a transport block; empty: none */
	char domain[ROUTE_DOMAIN_MAX];		/* of the address, in small letters */
	char key[ROUTE_KEY_MAX];		/* of the destination */
};
/* way: as in SPOOL_REROUTED, or empty. false: the address has no domain that mail could go to. */
bool route_find(const struct conf *conf, struct span address, struct span way, struct route *route);
/* Where all that is still to be sent of it goes, in route; empty: here, or to several. */
struct span outbound_destination_name(const struct message *message, struct route *route);

/* One message for some recipients at one destination. */
struct job {
	struct job *next;
	struct destination *destination;
	struct message *message;
	struct target *targets; /* by job_next, in the order of relay_deliver */
	uint32_t id;		/* with relay; 0: it waits */
	unsigned count, bytes;
	char *domain; /* of the first recipient */
	unsigned repeats;
	bool tried_before;
	bool passed;	/* its sender's domain has had a turn for it */
	unsigned round; /* of its sender's jobs that wait for such a turn */
};

struct destination {
	struct destination *next; /* of its bucket */
	struct queue *queue;
	struct lanes waiting;
	unsigned in_flight;
	unsigned expected;  /* jobs that wait for their sender's turn */
	double window;	    /* jobs at once */
	unsigned deaths;    /* in a row */
	int64_t dead_until; /* queue's time; when it has passed one job tries it; 0: alive, as far as is known */
	int64_t used;	    /* when there was last an answer, or somebody for it */
	struct pace pace;   /* of relay-rate */
	uint64_t number;    /* destination_number of key */
	bool reached;	    /* somebody answered, since the start */
	uint32_t woken;	    /* by the flush of this number */
	bool paused;	    /* by an administrator */
	char pattern[321];  /* of its transport block; "": none */
	bool kept;	    /* by its transport block: what it has waits */
	char *host;	    /* of its route; NULL: none */
	char why[DESTINATION_WHY]; /* the last failure, for people */
	char key[];
};

int destinations_new(struct queue *queue, struct err *err);
/* There is a new configuration: what a destination's block keeps counts at once, a new block with the next message, and jobs that wait are looked at. */
void destinations_reload(struct queue *queue);
/* NULL: not known. */
struct destination *destination_find(struct queue *queue, struct span key);
/* NULL: no memory. */
struct destination *destination_get(struct queue *queue, struct span key);
/* The same, as the configuration has it now. */
struct destination *destination_of_route(struct queue *queue, const struct route *route);
/* What stands for a name; never 0. Also the hash of all texts of what waits. */
uint64_t destination_number(const struct queue *queue, struct span key);
/* Until when nothing more of this sender (a place in queue.senders) for this one is of use (seconds since 1970); 0: something is. */
int64_t destination_busy_until(const struct queue *queue, uint64_t number, uint32_t share);
/* It is paused, kept or dead: who waits for it waits for more than his turn. */
bool destination_is_stopped(const struct queue *queue, uint64_t number);
struct destination *destination_by_number(const struct queue *queue, uint64_t number);
/* "kept", "paused", "dead", "full" or "open"; of NULL, of which nothing is known, "open". Static. */
const char *destination_state(const struct destination *destination);
bool destination_is_dead(const struct destination *destination, int64_t now);
struct destination_limits {
	unsigned window; /* jobs at once, now */
	uint64_t rate;	 /* relay-rate */
};
void destination_limits(const struct destination *destination, struct destination_limits *out);
/* As many jobs wait as may: who has many there gets no further one in; who has few crowds out one of the other's. */
bool destination_is_full(const struct destination *destination);
/* false: it is full, and this one's message stays in its file. */
bool destination_has_room(const struct destination *destination, const struct job *job);
/* false: no memory. */
bool destination_enter(struct destination *destination, struct job *job);
/* After that: a job that has to leave for it; NULL. */
struct job *destination_crowd_out(struct destination *destination);
/* The next job that may go, which is then in flight; NULL. */
struct job *destination_take(struct destination *destination);
/* All that wait and are this message's, as a list. */
struct job *destination_withdraw(struct destination *destination, const struct message *message);
/* Any that waits, without it being in flight: when none will go soon. */
struct job *destination_take_any(struct destination *destination);
/* A job in flight has ended, and nothing was learnt of the destination. */
void destination_release(struct destination *destination);
/* A job in flight has ended. reached: somebody answered for the destination. tried_before: as in struct job. why: what was wrong, if not. */
void destination_answered(struct destination *destination, bool reached, bool tried_before, struct span why);
void destination_each(struct queue *queue, void (*fn)(void *arg, struct destination *destination), void *arg);

/* ---- outbound.c: jobs to relay and their results ---- */
/* Of a target that is elsewhere; ends in target_reply, or in target_put_off. */
void outbound_target(struct target *target);
void outbound_service(struct queue *queue, int fd);
int outbound_start(struct queue *queue, struct err *err);
/* Jobs that wait are looked at again in so many milliseconds, or before. */
void outbound_come_back(struct queue *queue, int64_t ms);
/* Something is under way at relay. */
bool outbound_flying(const struct queue *queue);
/* An administrator wants this message to be tried now: its destinations are, though they may be dead. */
void outbound_retry(const struct message *message);
/* What has not gone to relay yet is given back, as if it had not been tried; the message may be gone afterwards. */
void outbound_withdraw(struct message *message);
/* Tries a destination now, whatever is known of it. */
void outbound_wake(struct destination *destination);

/* A job that waited elsewhere goes on to its destination. */
void outbound_settle(struct job *job);
/* Without an attempt of its own, until then (seconds since 1970). */
void outbound_put_off(struct job *job, int64_t until, struct span why);

/* ---- relay_mail.c: messages that relay has written itself ---- */
struct relay_mail;
/* Its answer comes by the channel. E_PROTO: it is none. */
int relay_mail_take(struct queue *queue, uint32_t id, const struct relay_mail *body);

/* ---- sending.c: send-rate, of the sender's domain ---- */
int sending_start(struct queue *queue, struct err *err);
/* false: it waits for its domain's turn, and goes on by outbound_settle; or it was put off. */
bool sending_may_go(struct queue *queue, struct job *job);
/* Those of this message that wait, as a list. */
struct job *sending_withdraw(struct queue *queue, const struct message *message);
/* Of a message from this sender; 0: no limit. */
uint64_t sending_rate(const struct queue *queue, struct span sender);

/* ---- pause.c ---- */
/* Counts when it stands on the disk. E_LIMIT, E_IO and the like. */
int pause_set(struct destination *destination, bool pause, struct err *err);
/* At the start, before anything goes out. A damaged list is set aside; one that cannot be read now is an error: what is paused stays so. */
int pause_load(struct queue *queue, struct err *err);
unsigned pause_count(struct queue *queue);

/* ---- control_outbound.c ---- */
void queue_control_stats(struct queue *queue, struct control_reply *reply);
void queue_control_pause(struct queue *queue, struct control_reply *reply, struct span name, bool pause);

#endif
