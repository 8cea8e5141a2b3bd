/*
 * The client's side of SMTP (RFC 5321) and LMTP (RFC 2033), sans-I/O: replies in, commands into a buffer, one event at a time
 * to the owner. One connection carries one transaction after the other.
 *
 * The server is as hostile as any client: a reply has a length and a number of lines that are not exceeded, only CRLF ends a
 * line, a reply nobody asked for ends the session, and what came before TLS is forgotten (RFC 3207 section 4.2).
 */
#ifndef MW_SMTP_CLIENT_H
#define MW_SMTP_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/pool.h"
#include "sasl/sasl.h"

enum {
	SMTP_REPLY_LINE_MAX = 2048, /* octets of a reply line with its end; RFC 5321 section 4.5.3.1.5 has 512 */
	SMTP_REPLY_MAX = 16 * 1024, /* of all lines of a reply */
	SMTP_REPLY_TEXT_MAX = 400,  /* of what is kept of it for people */
	SMTP_ENHANCED_MAX = 12,	    /* "5.7.999" with its NUL (RFC 3463 section 2) */
	SMTP_CLIENT_PIPELINE = 100, /* RCPT commands on their way at once */
	SMTP_CLIENT_OUT_MIN = 64 * 1024, /* what the output must be able to hold */
};

/* A reply, all lines of it. */
struct smtp_client_reply {
	int code;			  /* 200 to 599; 0: there was none */
	char enhanced[SMTP_ENHANCED_MAX]; /* "" without one, or when its class is not that of the code */
	char text[SMTP_REPLY_TEXT_MAX + 1]; /* without codes, lines joined by a blank; control octets and broken UTF-8 as '?' */
};

enum smtp_client_tls { SMTP_TLS_NEVER, SMTP_TLS_MAY, SMTP_TLS_MUST };

/* How to log in at a smarthost; user empty: not at all. Spans are copied and wiped. */
struct smtp_client_login {
	struct span user, password;
	bool is_token; /* password is a bearer token: XOAUTH2 */
	bool in_clear; /* also without TLS: for tests and networks that are trusted */
};

struct smtp_client_config {
	struct span helo; /* our name (RFC 5321 section 4.1.4) */
	bool lmtp;
	bool tls_done;	  /* the connection began with TLS */
	enum smtp_client_tls tls;
	struct smtp_client_login login;
	struct sasl_channel channel; /* of a connection that began with TLS; else smtp_client_tls_started has it */
};

/* What the server offers, from its last EHLO. */
struct smtp_client_offers {
	bool extended; /* EHLO was understood */
	bool pipelining, eightbit, smtputf8, chunking, binary, dsn, starttls, requiretls, enhanced;
	bool sized;	   /* SIZE (RFC 1870) */
	uint64_t size;	   /* octets; 0: it did not say, or has no limit */
	uint32_t rcpt_max; /* LIMITS RCPTMAX (RFC 9422); 0: it did not say */
	uint32_t mail_max; /* LIMITS MAILMAX */
	uint32_t mechanisms; /* bits, 1 << enum sasl_mechanism */
};

struct smtp_client_recipient {
	struct span address;
	struct span orcpt; /* decoded, "rfc822;…"; empty: none */
	uint32_t notify;   /* bits as in server.h; 0: not given */
};

/* Borrowed until SMTP_CLIENT_DONE or SMTP_CLIENT_CLOSED. */
struct smtp_client_message {
	struct span sender; /* empty: the null sender */
	struct span envid;  /* decoded */
	uint32_t ret;	    /* 0, 1 FULL, 2 HDRS */
	uint64_t size;	    /* octets of the content; 0: not known, then neither SIZE is said nor BDAT used */
	bool eightbit;	    /* the content has octets above 127: BODY=8BITMIME */
	bool binary;	    /* it has lines that are no text: BODY=BINARYMIME, with BDAT */
	bool smtputf8;
	bool requiretls; /* RFC 8689 */
	bool probe;	 /* no further than RCPT, for who asks whether a server would take it: then RSET, and no content */
	const struct smtp_client_recipient *recipients;
	size_t recipient_count;
};

enum smtp_client_event {
	SMTP_CLIENT_MORE,     /* needs more input */
	SMTP_CLIENT_STARTTLS, /* do the handshake, then smtp_client_tls_started; no input was left, or it were CLOSED */
	SMTP_CLIENT_READY,    /* a transaction may begin: smtp_client_send, or smtp_client_quit */
	SMTP_CLIENT_CONTENT,  /* the server takes the content: smtp_client_content */
	SMTP_CLIENT_DONE,     /* the transaction has ended: smtp_client_result of each recipient; READY comes next, or CLOSED */
	/*
	 * No more: smtp_client_failure says why. Close the connection. Within a transaction there was no DONE: smtp_client_result
	 * says what is known of each recipient.
	 */
	SMTP_CLIENT_CLOSED,
};

struct smtp_client;

/*
 * out: commands are added to it; the owner's, must outlive the client; its maximum is SMTP_CLIENT_OUT_MIN at least. NULL: no memory,
 * or a login too long for SASL. What config points at is copied.
 */
struct smtp_client *smtp_client_new(const struct smtp_client_config *config, struct buf *out);
void smtp_client_free(struct smtp_client **client);

/*
 * Takes from input what can be taken, up to the next event. Part of a line stays: the owner keeps it, at most SMTP_REPLY_LINE_MAX
 * octets, and gives it again with what follows. With empty input: the event that is still to be told.
 */
enum smtp_client_event smtp_client_feed(struct smtp_client *client, struct span input, size_t *consumed);
/* After the handshake; EHLO is said again. */
void smtp_client_tls_started(struct smtp_client *client, const struct sasl_channel *channel);
/* The connection has ended, or a deadline has passed: E_CLOSED, E_TIMEOUT, or what else the owner knows. CLOSED is the next event. */
void smtp_client_ended(struct smtp_client *client, int code, const struct err *why);

/*
 * In READY. 0: its commands are in the output. Without a word to the server: E_TOOBIG, larger than its SIZE; E_UNSUPPORTED, it needs
 * SMTPUTF8 (RFC 6531 section 3.5) or REQUIRETLS, which the server has not; E_CONTENT, it needs 8BITMIME or BINARYMIME: convert it
 * (mime/convert.h) and try again with size 0; E_SYNTAX, an address that can be in no command; E_NOMEM.
 */
int smtp_client_send(struct smtp_client *client, const struct smtp_client_message *message, struct err *err);
/*
 * In CONTENT: CRLF line ends, without dots added; as many pieces as wanted. Then MORE until DONE. The output needs room for twice the
 * piece and 64 octets; what finds none ends the session. By DATA a CR or LF alone goes out as CRLF: servers that take it for
 * a line end would see ends of messages in it that we do not. A content that is not of its message's size, sent by BDAT, is
 * as abandoned.
 */
void smtp_client_content(struct smtp_client *client, struct span bytes, bool last);
/*
 * In CONTENT: the rest cannot be had (its file is damaged). The connection has to end, since nothing else keeps the server from
 * taking what it got for the whole; CLOSED is the next event.
 */
void smtp_client_abandon(struct smtp_client *client, const struct err *why);

/*
 * Of a recipient: 0, the server has taken the message for it, or with probe, would have. A reply decides (err.def's class by its
 * first digit): E_UNAVAILABLE for 4yz, E_CANNOT for 5yz.
 * E_LIMIT: there was no room for it beside the others (LIMITS, 452 to one of many): a further transaction may take it at once.
 * Without a reply, the connection ended before or within the content: E_CLOSED, E_TIMEOUT, E_REMOTE (the server broke the protocol),
 * E_NOMEM. whole: this is what became of the content after it was sent to its end. maybe: and no answer came: the server may have taken it
 * (RFC 1047), a repeat may be a duplicate.
 */
struct smtp_client_result {
	int code;
	bool maybe, whole;
	const char *command; /* "MAIL", "RCPT", "DATA", "end of DATA"…: what the reply answers; static */
	struct smtp_client_reply reply;
};
/* After DONE and before the next smtp_client_send, or after CLOSED. Borrowed until the next call. */
const struct smtp_client_result *smtp_client_result(struct smtp_client *client, size_t recipient);

/* In READY: QUIT, then CLOSED, which is no failure. At any other time: no more is wanted of the connection, CLOSED is the next event. */
void smtp_client_quit(struct smtp_client *client);

const struct smtp_client_offers *smtp_client_offers(const struct smtp_client *client);
/*
 * Why it is CLOSED, in one sentence, and the reply that it was about, of code 0 without one: 0, after QUIT (also our own, behind the
 * last transaction that LIMITS allows); E_UNAVAILABLE and E_CANNOT by a reply; E_DENIED, the TLS that was asked for, or a
 * server that knows our password, is not to be had; E_AUTHFAILED; E_UNSUPPORTED, no way to log in; E_REMOTE, it broke the
 * protocol; what smtp_client_ended was told. What this means to mail that waits is the owner's to say. Any argument but the first may be NULL.
 */
int smtp_client_failure(const struct smtp_client *client, struct err *err, const struct smtp_client_reply **reply);
/* Was it READY once? Otherwise the host is of no use to any message. */
bool smtp_client_was_ready(const struct smtp_client *client);
/* How long the server may take for what is waited for now (RFC 5321 section 4.5.3.2), in milliseconds. */
int smtp_client_patience_ms(const struct smtp_client *client);
/* The server's name in its greeting; with TLS that of its EHLO's answer. Borrowed. */
struct span smtp_client_server_name(const struct smtp_client *client);

#endif
