/* What an IMAP session asks of its process, of which a test runs it without: nobody wants it to end. Include it once per program. */
#ifndef MW_TESTS_IMAP_SESSION_H
#define MW_TESTS_IMAP_SESSION_H

#include "imapd/session.h"
#include "proc/profile.h"

bool session_goes_on(struct session *s)
{
	(void)s;
	return true;
}

bool session_ends(struct session *s)
{
	(void)s;
	return false;
}

int proc_confine_account(const struct profile *profile, int dir, struct err *err)
{
	(void)profile, (void)dir, (void)err;
	return 0;
}

#endif
