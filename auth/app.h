/*
 * App passwords: made here, for one program each, and never chosen. They hold 130 bits, so that a fast hash is enough: nobody
 * tries 2^130 of them. What a person types is taken in any case and with any hyphens or blanks.
 */
#ifndef MW_AUTH_APP_H
#define MW_AUTH_APP_H

#include "auth/directory.h"

enum {
	APP_LETTERS = 28,
	APP_GROUP = 4,
	APP_TEXT = APP_LETTERS + APP_LETTERS / APP_GROUP, /* with its hyphens and a NUL */
	APP_PROTOCOLS_ALL = 7,
};

/* "imap,pop3"; "": all. False: there is no such protocol. */
bool app_protocols_parse(struct span text, unsigned *out);
void app_protocols_format(unsigned protocols, struct buf *out);

/* 1 to DIRECTORY_LABEL_MAX octets of UTF-8 without control characters, no blank at an end: it stands last in a line of the exported text. */
bool app_label_check(struct span label);

/* A new one into text; gives app->salt, ->hash. */
void app_password_make(struct app_password *app, char text[APP_TEXT]);

/* Has the account one that is this password, for this service ("imap")? Takes microseconds. */
bool app_password_find(struct directory *d, uint64_t account, struct span service, struct span password, struct app_password *out);

/* The directory's text: salt and hash, "BASE64:BASE64". */
void app_hash_format(const struct app_password *app, struct buf *out);
bool app_hash_parse(struct span text, struct app_password *out);

#endif
