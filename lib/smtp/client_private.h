/* Shared by the files of the client's engine. */
#ifndef MW_SMTP_CLIENT_PRIVATE_H
#define MW_SMTP_CLIENT_PRIVATE_H

#include "sasl/client.h"
#include "smtp/address.h"
#include "smtp/client.h"
#include "smtp/reply.h"

enum {
	CLIENT_OUT_ENOUGH = 16 * 1024, /* commands that wait to be sent: no more are made before an answer came */
	CLIENT_CODE_SYNTAX = 500,      /* 500 to 509: the server does not know the command, or not this form of it (RFC 5321 section 4.2.1) */
};

enum client_state {
	CLIENT_GREETING, /* the 220 is waited for */
	CLIENT_HELLO,	 /* the answer to EHLO or LHLO */
	CLIENT_HELO,
	CLIENT_STARTTLS,
	CLIENT_TLS, /* the owner makes the handshake */
	CLIENT_AUTH,
	CLIENT_IDLE,	/* a transaction may begin */
	CLIENT_ENVELOPE, /* MAIL, RCPT and DATA are on their way */
	CLIENT_CONTENT, /* the owner gives it */
	CLIENT_END,	/* it was sent: the answer, in LMTP one for each recipient */
	CLIENT_DRAIN,	/* the end of an empty content that is for nobody */
	CLIENT_RSET,
	CLIENT_QUIT,
	CLIENT_ENDED,
	CLIENT_STATES,
};

/* A reply that is kept for the owner, as long as its transaction. */
struct kept_reply {
	int code;
	char enhanced[SMTP_ENHANCED_MAX];
	char text[];
};

/* What became of a recipient. */
struct verdict {
	bool accepted; /* RCPT was answered with 2yz */
	bool decided;  /* all below is true */
	bool maybe;
	int code;
	const char *command;
	const struct kept_reply *reply; /* NULL: none, or no memory for it */
};

/* A transaction; the verdicts of the last one stay for the owner. */
struct client_transaction {
	struct pool *pool;
	const struct smtp_client_message *message;
	struct verdict *verdicts;
	size_t count;
	size_t limit;	/* recipients that are tried in it */
	bool smtputf8;
	bool mail_sent, mail_taken, data_sent;
	size_t sent;	/* RCPT commands */
	size_t answered; /* replies to MAIL, RCPT, DATA */
	size_t accepted;
	size_t next; /* CLIENT_END: the recipient whose reply is next */
	const struct kept_reply *no_room; /* why limit was lowered */
	/* the content */
	bool chunked;
	uint64_t left;	 /* octets of the chunk that are still to come */
	bool line_start; /* the next octet is a line's first */
	bool cr;	 /* a CR is held back */
	bool whole;	 /* the content has been sent to its end */
};

struct smtp_client {
	struct buf *out;
	enum client_state state;
	bool lmtp, tls;
	enum smtp_client_tls want_tls;
	char helo[SMTP_DOMAIN_MAX + 1], server[SMTP_DOMAIN_MAX + 1];
	struct smtp_reply_reader reader;
	struct smtp_client_offers offers;
	uint32_t transactions; /* that were begun */
	bool was_ready;
	bool done_untold; /* SMTP_CLIENT_DONE is the next event */
	struct client_transaction tx;
	struct smtp_client_result result; /* what smtp_client_result gives out */
	/* the login */
	bool login, login_in_clear, login_is_token;
	struct buf user, password;
	unsigned char exporter[SASL_BINDING_MAX], endpoint[SASL_BINDING_MAX];
	size_t exporter_len, endpoint_len;
	uint32_t refused_mechanisms;
	enum sasl_mechanism mechanism;
	struct sasl_client *sasl;
	bool initial_held; /* the first response did not go with AUTH */
	/* why it has ended */
	struct err failure;
	struct smtp_client_reply failure_reply;
};

void client_set_state(struct smtp_client *c, enum client_state state);
/* The session ends. reply: what it is about, or NULL. Recipients without a verdict get this one. */
void client_fail(struct smtp_client *c, int code, const struct smtp_client_reply *reply, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for an answer that says no: its class decides; one that says neither yes nor no breaks the protocol. */
void client_fail_by_reply(struct smtp_client *c, const struct smtp_client_reply *reply, const char *command);
/* E_UNAVAILABLE, E_CANNOT; E_REMOTE when it refuses nothing. */
int client_code_of(const struct smtp_client_reply *reply);
/* A transaction may begin; or the server wants no more of them. */
void client_ready(struct smtp_client *c);
void client_say_rset(struct smtp_client *c);

/* client_hello.c */
void client_say_hello(struct smtp_client *c);
/* A line of the answer to EHLO, without its code; first: the server's name. */
void client_take_offer(struct smtp_client *c, struct span line, bool first);
void client_greeted(struct smtp_client *c, const struct smtp_client_reply *reply);
void client_hello_answered(struct smtp_client *c, const struct smtp_client_reply *reply);
void client_helo_answered(struct smtp_client *c, const struct smtp_client_reply *reply);
void client_starttls_answered(struct smtp_client *c, const struct smtp_client_reply *reply);

/* client_auth.c */
void client_login(struct smtp_client *c);
/* line: of the reply, which has one, without its code. */
void client_auth_answered(struct smtp_client *c, const struct smtp_client_reply *reply, struct span line);

/* client_mail.c */
void client_envelope_answered(struct smtp_client *c, const struct smtp_client_reply *reply);
void client_end_answered(struct smtp_client *c, const struct smtp_client_reply *reply);
/* A reply while the content was on its way. */
void client_content_interrupted(struct smtp_client *c, const struct smtp_client_reply *reply);
/* Recipients that have no verdict get this one. */
void client_judge_rest(struct smtp_client *c, int code, const struct smtp_client_reply *reply);

/* client_command.c: MAIL and RCPT with their parameters */
/* Can the server take it? As smtp_client_send; *utf8: it must be told of SMTPUTF8. */
int client_check_message(const struct smtp_client *c, const struct smtp_client_message *message, bool *utf8, struct err *err);
void client_say_mail(struct smtp_client *c, const struct smtp_client_message *message);
void client_say_rcpt(struct smtp_client *c, const struct smtp_client_recipient *recipient);

/* client_content.c */
void client_content_begin(struct smtp_client *c);

#endif
