/*
 * The relay's own state. A job is one message for recipients of one destination. It finds a session that is idle, or its way to a new
 * one: the route (hosts, addresses), for each host the TLS it must have, a connection, a conversation. A session belongs to a
 * destination and outlives its jobs.
 */
#ifndef MW_RELAY_RELAY_H
#define MW_RELAY_RELAY_H

#include "base/pool.h"
#include "net/connect.h"
#include "proc/daemon.h"
#include "relay/dead.h"
#include "relay/dial.h"
#include "relay/policy.h"
#include "relay/recipients.h"
#include "relay/report.h"
#include "relay/route.h"
#include "relay/state.h"
#include "relay/sts_lookup.h"

struct conn;
struct control_server;
struct event;
struct fetch_client;
struct ipc_conn;
struct relay_mail;

enum {
	RELAY_SESSIONS_MAX = 8000,	/* connections, and jobs that are on the way to one; further jobs wait */
	RELAY_JOBS_MAX = 16000,		/* what is handed in beyond is put off */
	RELAY_DESTINATIONS_MAX = 4000,	/* that are kept in mind when they have no connection */
	RELAY_IDLE_MS = 5000,		/* a connection without work is kept for so long */
	RELAY_SESSION_MESSAGES = 200,	/* of one connection; then it is closed */
	RELAY_SESSION_MS = 300000,	/* nothing new is begun on a connection that is older */
	RELAY_ATTEMPTS_MAX = 5,		/* connections that one job makes until one is of use */
	RELAY_FURTHER_MAX = 2,		/* hosts that recipients go on to whom the first has put off */
	RELAY_PHASE_MS = 1200000,	/* for the greeting with all up to READY, an envelope, an end of data: however diligently a server drips */
	RELAY_RATE_MIN = 500,		/* octets a second: the content's phase is longer by its size */
	RELAY_PIECE = 16 * 1024,	/* of a content, read at once */
	RELAY_QUIT_MS = 5000,		/* for the answer to QUIT */
	RELAY_KEY_MAX = 1200,
	RELAY_CONVERT_MAX = 256 * 1024 * 1024, /* octets of all messages that are converted at once */
	RELAY_SECRET_MAX = 2048,	/* octets of a password or a token */
};

/* What a host must show (RFC 7672). */
struct dane {
	char base[DNS_NAME_TEXT]; /* whose records they are */
	struct tls_tlsa *records; /* all of the answer that can be used, their data behind the last; NULL: none */
	size_t count;
};

enum way_kind { WAY_MX, WAY_HOST, WAY_LMTP, WAY_ERROR, WAY_HOLD };

/* How a job's mail goes, by the configuration as it was when the job came. Pooled with it. */
struct way {
	enum way_kind kind;
	struct span host;     /* of WAY_HOST and WAY_LMTP; an address has no brackets */
	uint16_t port;
	struct span error;    /* of WAY_ERROR: "5.7.1 text" */
	struct span tls;      /* relay-tls */
	bool sts;	      /* relay-mta-sts */
	bool implicit_tls;
	struct span login, secret; /* empty login: none */
	bool is_token;
	struct span helo;
	struct sockaddr_storage from[2]; /* IPv4, IPv6; ss_family AF_UNSPEC: not set */
	bool bound;	      /* mail leaves from these and no other address */
};

struct conversion;
struct destination;
struct job;
struct session;

enum { RESULT_TEXT = 512 };

/* What becomes of a recipient; as relay_result. */
struct job_result {
	uint32_t recipient;
	int code;
	bool maybe, reached, pause, last, dsn, said;
	const char *host, *address, *tls;
	const char *text; /* "450 4.2.0 …" */
};

struct job_owner {
	void (*result)(void *arg, const struct job *job, const struct job_result *result); /* the last one ends the job */
	void (*trace)(void *arg, const struct job *job, const char *text);		   /* NULL: nobody looks on */
	/* NULL: the message goes to the first host that takes it. Else it is called for each host that would be tried, with its policy, and nobody is connected to. */
	void (*host)(void *arg, struct job *job);
};

struct job {
	struct job *next, **link; /* of all */
	struct job *waiting_next; /* of those that wait for a session */
	struct relay *relay;
	struct pool *pool;
	const struct job_owner *owner;
	void *arg; /* the owner's; NULL: it has gone, what is on its way goes on */
	uint32_t id;
	struct span queue_id, domain;
	struct way way;
	struct smtp_client_message message; /* its recipients: those that have no result yet */
	struct smtp_client_recipient *recipients; /* all of them */
	bool tls_optional;
	bool waits;	/* for a session */
	bool under_way;	/* to a session of its own */
	bool cancelled;
	bool sent;	/* a transaction has begun */
	/* content: all of it, or in a file */
	struct span content;
	int fd; /* owned; -1: none */
	uint64_t offset;
	struct conversion *conversion; /* NULL: it goes as it is */
	struct smtp_client_message original; /* before a conversion */
	/* on its way */
	struct destination *destination;
	struct route_finder *finder;
	struct route *route;
	struct dial *dial;
	struct session *session;
	struct job_result *put_off;   /* of each recipient of message, what the last host said; NULL: no host has put them off */
	bool goes_on;		      /* to a next host, should there be one; then that is logged */
	size_t further;		      /* hosts that have put recipients off */
	char put_off_by[RELAY_FURTHER_MAX][DNS_NAME_TEXT]; /* which */
	size_t host;		      /* of the route, that is tried */
	size_t dialled[DIAL_ADDRESSES_MAX]; /* places of its addresses */
	size_t dialled_count;
	uint32_t dane_question; /* 0: not under way */
	enum policy_dane dane_says;
	struct dane *dane; /* of the host that is tried; a session takes it */
	struct sts_question *sts_question; /* NULL: not under way */
	struct sts_policy *sts, *sts_room; /* the MTA-STS policy that is in force, NULL: none; where it is */
	struct policy policy;
	bool distrusted;	/* another MTA-STS policy than this job's is in force by now */
	unsigned attempts;
	unsigned planned;	/* hosts its owner was called for */
	size_t clear_address;	/* of the host, that the attempt without TLS is made to, where the one with it failed */
	struct err failure;	/* of the last attempt, "4.4.1 text" */
	bool only_refused;	/* every attempt ended with something that is for good */
	char failure_host[DNS_NAME_TEXT], failure_address[INET6_ADDRSTRLEN];
	int64_t began_ms;
};

struct relay {
	struct daemon *daemon;
	struct state *state;
	struct reports *reports; /* NULL: nothing is counted */
	struct dns *dns;
	struct fetch_client *fetch;
	struct sts_lookups *sts; /* NULL: no domain is asked for a policy */
	struct route_self self;
	char piece[RELAY_PIECE]; /* of a content, for job_read */
	struct tls_context *system, *own; /* whose authorities vouch; own: those of relay-authorities, or NULL */
	struct job *jobs;
	struct job *waiting, **waiting_tail;
	struct event *wake; /* of those that wait; NULL: none has waited yet */
	unsigned under_way; /* jobs */
	unsigned job_count;
	struct session *sessions;
	unsigned session_count;
	size_t converting; /* octets of messages that are converted */
	struct session *idle, **idle_tail; /* the longest idle first */
	struct event *sweep;
	struct destination *destinations; /* the newest first */
	struct destination **table;	  /* by hash */
	unsigned destination_count;
	struct channel *channels;
	struct control_server *control;
	uint32_t seed;
	struct dead dead;
	uint64_t used[OUTCOME_USES]; /* connections that were ready for mail, by their TLS */
	uint64_t sent, deferred, refused, failed_sessions;
	bool halting;
};

/* ---- main.c ---- */
/* After halt: done when the last job has ended. */
void relay_try_finish(struct relay *relay);

/* ---- settings.c ---- */
/* Before the sandbox, and at a reload. */
int settings_load(struct relay *relay, struct err *err);
/* The way of mail from sender, by the transport block `pattern` ("": none). Pooled. E_NOMEM; E_UNAVAILABLE: the password is not there. */
int settings_way(struct relay *relay, struct pool *pool, struct span pattern, struct span sender, struct way *out, struct err *err);
/* By an administrator's word: HOST:PORT in place of what the configuration says. E_NOMEM. */
int settings_redirect(struct pool *pool, struct span host, struct way *way);
struct tls_context *settings_tls(const struct relay *relay);
/* An address that a listener of ours takes mail at, or where nobody outside has any business: this machine's own. */
bool settings_is_ours(void *arg, const struct sockaddr_storage *address);

/* ---- channel.c: queue ---- */
void channel_new(struct relay *relay, int fd);
/* A message of our own for queue; reports_mailed tells what became of it. E_CLOSED: queue is away; E_TOOBIG, E_LIMIT. */
int channel_mail(struct relay *relay, uint32_t id, const struct relay_mail *mail);
struct ipc_type;
/* A result that has no room ends it: queue asks for another one and tries again. */
void channel_send(struct channel *channel, const struct ipc_type *type, uint32_t id, const void *body);

/* ---- job.c ---- */
/* NULL: no memory. */
struct job *job_new(struct relay *relay, const struct job_owner *owner, void *arg);
/* Everything but what is on its way is filled in. Results come from here on, perhaps before it returns. */
void job_start(struct job *job);
void job_free(struct job *job);
/* RFC 8689 section 4.2.1: REQUIRETLS binds the way of a message, but for a notification, which may go without. */
bool job_requires_tls(const struct job *job);
/* As it is asked for: A-labels in small letters; an address in brackets as it is. False: that is no domain. */
bool job_take_domain(struct job *job, struct span domain);
/* Whose MTA-STS policy counts, in small letters. */
struct span job_policy_domain(const struct job *job);
/* It does not begin a transaction any more; one that has begun goes on. */
void job_cancel(struct job *job);
void job_trace(const struct job *job, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* RELAY_SESSIONS_MAX. */
bool relay_is_full(const struct relay *relay);
/* There may be room for a session: the next of those that wait go on, after this returns. */
void job_wake_waiting(struct relay *relay);
/* Its session says: */
void job_session_ready(struct job *job);
void job_session_done(struct job *job);
/* It has ended, and is gone when this returns. */
void job_session_failed(struct job *job);
/* The next piece of the content; borrowed until the next call. E_CORRUPT, E_IO. */
int job_read(struct job *job, struct span *piece, bool *last, struct err *err);

/* ---- attempt.c: from the route to a session ---- */
void attempt_begin(struct job *job);
/* The host that was tried is of no use; why is in job->failure. */
void attempt_next(struct job *job);
/* The same, for a host that has put recipients off, on a connection that the job perhaps has not made. */
void attempt_further(struct job *job);
/* The same, for a host that is this server itself, and all that are no better. */
void attempt_past_self(struct job *job);
/* There may be another host than those that have put recipients off. */
bool attempt_has_further(const struct job *job, const char *host);
void attempt_in_clear(struct job *job);
void attempt_stop(struct job *job);
/* The host's records are known; or it is passed over, for what is in job->failure. */
void attempt_with_dane(struct job *job);
void attempt_skip(struct job *job);
/* The host is passed over, and this is why: for reports. */
void attempt_tell(const struct job *job, enum outcome_kind kind);

/* The TLS for the host that is tried, into job->policy; as policy_decide. */
int attempt_decide(struct job *job, struct err *err);

/* ---- plan.c ---- */
struct relay_plan;
/* The answer comes by the channel, whatever becomes of it. */
void plan_begin(struct relay *relay, struct channel *channel, uint32_t id, const struct relay_plan *ask);

/* ---- convert.c ---- */
/* The content will be that for a server that takes 7 bits. E_CONTENT: it cannot; E_BUSY, E_NOMEM, E_IO, E_CORRUPT. */
int convert_begin(struct job *job, struct err *err);
/* As job_read. */
int convert_read(struct conversion *conversion, struct span *piece, bool *last, struct err *err);
void convert_free(struct conversion **conversion);

/* ---- dane.c ---- */
/* Asks for the records of the job's host. False: they would not count. True: attempt_with_dane or attempt_skip is called, perhaps before it returns. */
bool dane_begin(struct job *job);
void dane_drop(struct job *job);
void dane_free(struct dane **dane);

/* ---- result.c ---- */
/* To the log and the owner; the job goes on. */
void result_tell(struct job *job, const struct job_result *result);
/* Both end the job. All that have no result yet get this one, or what the last host said that has put them off; text: "5.1.2 …" */
void result_all(struct job *job, int code, bool reached, const char *text);
void result_withdrawn(struct job *job);

/* ---- transaction.c ---- */
/* What the engine says of each recipient: its result, or the way to the next host. The job has perhaps ended. */
void transaction_done(struct job *job, const struct session *session);
/* The next host is found. */
void transaction_log_next(struct job *job);

/* ---- session.c ---- */
struct session {
	struct session *next, **link; /* of all */
	struct session *idle_next, **idle_link; /* of the relay's idle ones */
	struct session *mate_next, **mate_link; /* of its destination's idle ones */
	struct relay *relay;
	struct destination *destination;
	struct job *job;		 /* NULL: idle */
	struct conn *conn;
	struct smtp_client *client;
	struct policy policy;
	struct dane *dane; /* NULL: none */
	char domain[DNS_NAME_TEXT]; /* that mail is for; "": of a host that is configured */
	char canonical[DNS_NAME_TEXT]; /* where its CNAMEs led to; "" */
	char host[DNS_NAME_TEXT], address[INET6_ADDRSTRLEN], tls[64];
	struct sockaddr_storage at; /* the same address, with its port */
	char our_address[INET6_ADDRSTRLEN];
	unsigned messages;
	int64_t began_ms, idle_ms, phase_end_ms;
	bool reused;	  /* the job did not make it */
	bool handshaking, tls_failed;
	bool told;	      /* what came of its security */
	bool counted;	      /* in the relay's used */
	enum outcome_kind kind; /* what is wrong with its TLS */
	char doubt[128];	/* the same for people */
	bool content;	  /* it is being sent */
	bool quitting;
	bool worn;	  /* nothing is to be begun on it any more */
	bool hides;	  /* the next line out is a secret */
	struct err ended; /* why the connection has ended */
};

/* fd: owned; connected for the job's host. NULL: no memory. */
struct session *session_new(struct job *job, int fd, const char *address, struct err *err);
void session_free(struct session **session);
/* An idle session takes on a job. Afterwards session and job may be gone. */
void session_take(struct session *session, struct job *job);
/* In job_session_ready; as smtp_client_send. */
int session_send(struct session *session, struct err *err);
/* The job needs it no more. */
void session_release(struct session *session);
void session_quit(struct session *session);
/* What came of its security, once. delivered: it is no reason not to send. */
void session_tell(struct session *s, bool delivered);
/* Those that have been idle for too long. */
void session_sweep(struct relay *relay);
/* Those that nobody waits for, however far they have come. */
void session_drop_unused(struct relay *relay);

/* ---- destination.c ---- */
struct destination {
	struct destination *next, **link; /* of all */
	struct destination *table_next;
	uint32_t hash;
	unsigned jobs, sessions;
	uint64_t messages;
	struct session *idle_first; /* the one that worked last */
	char *key;
	char ticket_host[DNS_NAME_TEXT];
	struct tls_ticket *ticket; /* of the last session with that host that anybody would do for; NULL */
};

struct destination *destination_get(struct relay *relay, const struct job *job);
/* Now and then: not more than there is room for. */
void destination_trim(struct relay *relay);
/* It has become idle, or is it no more. */
void destination_idle(struct session *session);
void destination_unidle(struct session *session);
/* No session that is there is used by a job that comes: the settings have changed. */
void destinations_forget(struct relay *relay);
/* The same of the domain alone, and of connections that are only being made: another MTA-STS policy is in force. */
void destinations_distrust(struct relay *relay, const char *domain);
void destinations_free(struct relay *relay);

/* ---- control.c ---- */
int control_open(struct relay *relay);

/* ---- control_sts.c ---- */
struct control_reply;
void control_policies(struct relay *relay, struct control_reply *reply, const struct span *args, size_t count);
void control_forget(struct relay *relay, struct control_reply *reply, const struct span *args, size_t count);

#endif
