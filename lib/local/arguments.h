/* sendmail's command line, as the programs that call it write it. */
#ifndef MW_LOCAL_ARGUMENTS_H
#define MW_LOCAL_ARGUMENTS_H

#include "base/err.h"
#include "local/extract.h"

enum sendmail_mode {
	SENDMAIL_SUBMIT,  /* a message on standard input */
	SENDMAIL_SMTP,	  /* -bs */
	SENDMAIL_QUEUE,	  /* -bp, mailq */
	SENDMAIL_ALIASES, /* -bi, newaliases */
	SENDMAIL_FLUSH,	  /* -q */
	SENDMAIL_NOTHING, /* -bh, -bH: there is nothing to do here */
};

struct sendmail_arguments {
	enum sendmail_mode mode;
	bool extract;	/* -t */
	bool dot;	/* a lone dot ends the message: not with -i or -oi */
	bool verbose;
	bool sender_given;
	const char *sender, *full_name; /* NULL: not given */
	uint32_t notify, ret;
	const char *envid;
	struct recipient_list recipients; /* pooled */
};

/*
 * argv: as main's; what it points to is borrowed. argv[0] may be mailq or newaliases. Options may stand behind recipients,
 * unless "--" comes first, and unknown ones are passed over, as other programs of this name do. 0; E_SYNTAX or
 * E_UNSUPPORTED with a text for the caller; E_LIMIT, E_NOMEM.
 */
int sendmail_arguments_parse(int argc, char *const *argv, struct pool *pool, struct sendmail_arguments *out, struct err *err);

#endif
