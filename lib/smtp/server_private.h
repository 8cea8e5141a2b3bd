/* Shared by the engine's files. */
#ifndef MW_SMTP_SERVER_PRIVATE_H
#define MW_SMTP_SERVER_PRIVATE_H

#include "smtp/framing.h"
#include "smtp/server.h"
#include "smtp/tls_required.h"

enum smtp_state {
	SMTP_GREETED,	 /* no EHLO yet */
	SMTP_READY,	 /* EHLO was said, no transaction */
	SMTP_AUTH,	 /* the next line answers a challenge */
	SMTP_WAIT_AUTH,	 /* the owner was asked about a login */
	SMTP_WAIT_MAIL,	 /* the owner was asked about a sender */
	SMTP_MAIL,	 /* MAIL was accepted */
	SMTP_RCPT,	 /* at least one recipient was accepted */
	SMTP_WAIT_RCPT,	 /* the owner was asked about a recipient */
	SMTP_WAIT_READY, /* the owner was asked for a place for the content */
	SMTP_DATA,	 /* the content of DATA comes in */
	SMTP_CHUNK,	 /* octets of a BDAT chunk come in */
	SMTP_BDAT,	 /* between chunks */
	SMTP_WAIT_DONE,	 /* the content is complete, the owner was asked */
	SMTP_TLS,	 /* STARTTLS was taken; answered when nothing follows it */
	SMTP_ENDED,
	SMTP_STATES,
};

struct smtp_server {
	struct smtp_server_config config;
	const struct smtp_server_callbacks *callbacks;
	void *arg;
	struct buf *out;
	enum smtp_state state;
	enum smtp_state after_rcpt; /* where a refused recipient leads back to */
	struct smtp_transaction *tx;
	struct smtp_recipient *asked; /* SMTP_WAIT_RCPT */
	struct smtp_recipient *answered; /* LMTP: the recipient whose reply is next */
	struct smtp_frame frame;
	uint64_t chunk_left;
	bool chunk_last;
	bool started;	  /* data_begin was answered well: data_abort is owed */
	bool extended, tls, certificate, bound, authenticated;
	size_t skipped;	  /* octets of a command line that is too long */
	bool in_header;	  /* of the content */
	bool has_parts;	  /* its Content-Type says so: its body may have header fields too */
	bool chunk_cr;	  /* the last octet of the chunks so far is a CR */
	uint64_t header_len;
	uint32_t received_lines;
	char line_head[TLS_REQUIRED_HEAD]; /* the running header line's beginning */
	struct tls_required tls_required;
	size_t line_len;  /* octets of it so far */
	int drop_code;	  /* the content is refused: the rest is only counted */
	struct err drop;
	bool data_refused; /* the command before this line was a DATA that was refused */
	uint32_t errors;
	uint32_t idle;	  /* commands that bring no mail, since the last message */
	char helo[SMTP_DOMAIN_MAX + 1];
	char hostname[SMTP_DOMAIN_MAX + 1];
};

void smtp_set_state(struct smtp_server *s, enum smtp_state state);
void smtp_reply(struct smtp_server *s, int code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A refusal: counted, shown to the owner; 421 when there were too many. */
void smtp_refuse(struct smtp_server *s, int code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same in two steps: further answers may come between. */
void smtp_refuse_one(struct smtp_server *s, int code, const char *enhanced, struct span text);
void smtp_limit_errors(struct smtp_server *s);
/* What became of one recipient's copy (LMTP): no error of the client's, so it is not counted. */
void smtp_refuse_delivery(struct smtp_server *s, int code, struct span why);
void smtp_end_transaction(struct smtp_server *s);

/* server_mail.c */
void smtp_command_mail(struct smtp_server *s, struct span args);
void smtp_command_rcpt(struct smtp_server *s, struct span args);
/* server_release.c */
void smtp_release_offer(const struct smtp_server *s);
/* HOLDFOR, or HOLDUNTIL. E_SYNTAX. */
int smtp_release_take(struct smtp_server *s, bool until, struct span value, struct err *err);
/* server_auth.c */
void smtp_command_auth(struct smtp_server *s, struct span args);
void smtp_offer_auth(struct smtp_server *server);
void smtp_auth_line(struct smtp_server *s, struct span line);
void smtp_auth_give_up(struct smtp_server *s, enum sasl_line why);
/* server_content.c */
void smtp_command_data(struct smtp_server *s, struct span args);
void smtp_command_bdat(struct smtp_server *s, struct span args);
/* Takes content from input; 0 or E_SYNTAX: the session has to end. */
int smtp_take_content(struct smtp_server *s, struct span *input);

#endif
