/*
 * The directory as text (mailwain-directory(8)), a line each:
 *
 *   domain NAME
 *   account ADDRESS id=NUMBER [quota=BYTES] [disabled] [system] [hash=TEXT] [name=TEXT to the end of the line]
 *   app-password ADDRESS protocols=LIST [created=SECONDS] hash=TEXT name=LABEL to the end of the line
 *   alias ADDRESS TARGET...
 */
#ifndef MW_AUTH_EXPORT_H
#define MW_AUTH_EXPORT_H

#include "auth/request.h"

/* All that can be read; EX_DATAERR: something is damaged, and left out. */
void directory_export(struct request *q);
/* All or nothing. replace: what the text does not name is removed; all: even when that is every account. */
void directory_import(struct auth *auth, struct control_reply *reply, struct span text, bool replace, bool all);

#endif
