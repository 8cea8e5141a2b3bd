/*
 * The server's side of SMTP (RFC 5321) and LMTP (RFC 2033), sans-I/O: bytes in,
 * replies into a buffer, questions to the owner through callbacks.
 *
 * Answers come in the order of the commands: while a question is open the engine
 * takes no more input. Framing (line ends, dots, chunk lengths) is one layer,
 * framing.c; only CRLF ends a line, and only CRLF.CRLF ends a message.
 */
#ifndef MW_SMTP_SERVER_H
#define MW_SMTP_SERVER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/pool.h"
#include "sasl/sasl.h"
#include "smtp/address.h"

enum {
	SMTP_AUTH_LINE_MAX = 12288,    /* where AUTH is offered (RFC 4954 section 4) */
	SMTP_LINE_MAX = 2048,	       /* a command, with what extensions add (RFC 5321 section 4.5.3.1.4) */
	SMTP_ENDLESS_LINE = 64 * 1024, /* a longer one is refused; past this the session ends */
	SMTP_TEXT_LINE_MAX = 64 * 1024, /* a line of a message */
	SMTP_IDLE_MAX = 100, /* commands that bring no mail, from one message to the next: then 421 */
};

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };

/* What a session may do; set once by the owner. */
struct smtp_limits {
	uint64_t message_size;
	uint64_t header_size;
	uint32_t received_lines;
	uint32_t recipients;
	uint32_t errors; /* then 421 */
	uint32_t future_release; /* seconds that a submitted message may be kept (RFC 4865); 0: not offered */
};

struct smtp_recipient {
	struct smtp_recipient *next;
	struct span address;
	struct span orcpt;
	uint32_t notify; /* bits as in spool.h: never 1, success 2, failure 4, delay 8 */
	void *owner;	 /* the owner's word on it, from rcpt_done */
};

/* Everything about the message under way. Freed as a whole by RSET and by its end. */
struct smtp_transaction {
	struct pool *pool;
	struct span sender;
	struct span envid;
	uint32_t ret; /* 0, 1 FULL, 2 HDRS */
	enum smtp_body body;
	bool smtputf8;	   /* the client asked for it */
	bool utf8_content; /* and the content has header fields that need it: it was read so far */
	bool requiretls;   /* RFC 8689 */
	bool tls_optional; /* its header says "TLS-Required: No"; counts when requiretls does not */
	int64_t release; /* seconds since 1970: not before that; 0: at once */
	uint64_t size; /* bytes of content so far */
	struct smtp_recipient *recipients, **recipients_tail;
	uint32_t recipient_count;
	void *owner; /* the owner's state for the content */
};

struct smtp_server;

struct smtp_server_callbacks {
	/* A recipient: answer with smtp_server_rcpt_done, now or later. */
	void (*rcpt)(void *arg, struct smtp_server *server, struct span address);
	/* The content begins. Answer with smtp_server_data_ready, now or later. */
	void (*data_begin)(void *arg, struct smtp_server *server);
	/* Content: CRLF line ends, no dots added. Nonzero (an E_ code): the rest is discarded and refused with it. */
	int (*data)(void *arg, struct smtp_server *server, struct span bytes, struct err *err);
	/* The content is complete. Answer with smtp_server_data_done (LMTP: for each recipient in order). */
	void (*data_end)(void *arg, struct smtp_server *server);
	/* The transaction ends without an accepted message: give back what data_begin took. */
	void (*data_abort)(void *arg, struct smtp_server *server);
	/* The transaction has ended, in whatever way, also before its content began. NULL: nobody asks. */
	void (*over)(void *arg, struct smtp_server *server);
	/* A command was refused: for the log. */
	void (*refused)(void *arg, struct smtp_server *server, struct span reply);
	/* These four of a submission server alone. A sender: answer with smtp_server_mail_done, now or later. */
	void (*mail)(void *arg, struct smtp_server *server, struct span sender);
	/* A login begins; initial: the first response, or NULL. Answer with smtp_server_auth_challenge or _auth_done, now or later. */
	void (*auth)(void *arg, struct smtp_server *server, enum sasl_mechanism mechanism, const struct buf *initial);
	/* The answer to a challenge; answer as to auth. */
	void (*auth_response)(void *arg, struct smtp_server *server, struct span response);
	/* The client has given the login up; no answer. */
	void (*auth_cancel)(void *arg, struct smtp_server *server);
};

struct smtp_server_config {
	struct span hostname;
	struct smtp_limits limits;
	bool lmtp;
	bool tls_offered;
	bool submission;  /* AUTH before MAIL (RFC 6409 section 4.3) */
	bool plain_login; /* AUTH also without TLS */
	bool bearer;	  /* and by bearer tokens */
	uint32_t withheld; /* mechanisms that are not offered, as in struct sasl_terms */
	int64_t (*wall)(void); /* seconds since 1970; needed with limits.future_release */
};

enum smtp_event {
	SMTP_MORE,     /* needs more input, or waits for an answer */
	SMTP_STARTTLS, /* 220 is in the output: begin the handshake, then smtp_server_tls_started */
	SMTP_CLOSE,    /* the last reply is in the output */
};

/* out: replies are added to it; the owner's, must outlive the server. */
struct smtp_server *smtp_server_new(const struct smtp_server_config *config, const struct smtp_server_callbacks *callbacks,
    void *arg, struct buf *out);
void smtp_server_free(struct smtp_server **server);

void smtp_server_greet(struct smtp_server *server);
/* Takes from input what can be taken. */
enum smtp_event smtp_server_feed(struct smtp_server *server, struct span input, size_t *consumed);
/* True while a question is open: feed would take nothing. */
bool smtp_server_waits(const struct smtp_server *server);
/* True when the last reply was said: after the answer to a question as well, which nobody feeds anything behind. The owner closes. */
bool smtp_server_ended(const struct smtp_server *server);

/* code 0: accepted; owner is kept with the recipient. Else err gives the reply. */
void smtp_server_mail_done(struct smtp_server *server, int code, const struct err *err);
void smtp_server_auth_challenge(struct smtp_server *server, struct span challenge);
/* code 0: logged in. E_AUTHFAILED, E_SYNTAX; else it may be tried again. */
void smtp_server_auth_done(struct smtp_server *server, int code, struct span text);
void smtp_server_rcpt_done(struct smtp_server *server, int code, const struct err *err, void *owner);
void smtp_server_data_ready(struct smtp_server *server, int code, const struct err *err);
/* text: of the 250 ("queued as ..."), or what went wrong. */
void smtp_server_data_done(struct smtp_server *server, int code, struct span text);
/* The client has shown a certificate that it may log in by; until the next handshake. */
void smtp_server_certificate(struct smtp_server *server);
/* The connection has something that a client can bind its login to; as with the certificate. */
void smtp_server_bound(struct smtp_server *server);
/* Of a connection that began with TLS (RFC 8314 section 3.3), before the greeting. */
void smtp_server_tls_from_the_start(struct smtp_server *server);
/* After the handshake: everything learnt before it is forgotten (RFC 3207 section 4.2). */
void smtp_server_tls_started(struct smtp_server *server);
/* 421 now, when no question is open; the session then ends. */
void smtp_server_shutdown(struct smtp_server *server, const char *text);

const struct smtp_transaction *smtp_server_transaction(const struct smtp_server *server);
/* The address of the recipient that the owner was asked about. */
struct span smtp_server_asked(const struct smtp_server *server);
/* Was the client told of a -PLUS? */
bool smtp_server_plus_offered(const struct smtp_server *server);
struct span smtp_server_helo(const struct smtp_server *server);
bool smtp_server_extended(const struct smtp_server *server); /* EHLO was used */
/* Of a message, or of a chunk that is only thrown away. */
bool smtp_server_in_content(const struct smtp_server *server);

#endif
