/* What stands at an address and why, in a sentence for an administrator. */
#include "auth/auth.h"

#include <stdio.h>

static const char *what_stands_there(const struct recipient *r)
{
	if (r->account != 0)
		return r->of_machine ? "the account of a user of this machine" : "an account of the directory";
	return r->of_machine ? "an alias of /etc/aliases" : "an alias of the directory";
}

static int describe(const struct recipient *r, char *out, size_t size)
{
	switch (r->how) {
	case FOUND_WITHOUT_DETAIL:
		return snprintf(out, size, "without its detail '%s' it is %s, %s", r->detail, r->address, what_stands_there(r));
	case FOUND_ROLE:
		return snprintf(out, size, "there is nobody of this name, but this mail always leads somewhere (setting postmaster, or the first account): to %s, %s", r->address, what_stands_there(r));
	case FOUND_CATCH_ALL:
		return snprintf(out, size, "there is nobody of this name, but the domain's catch-all takes it: %s, %s", r->address, what_stands_there(r));
	default:
		return snprintf(out, size, "%s", what_stands_there(r));
	}
}

void auth_explain(const struct recipient *r, int code, const struct err *err, char *out, size_t size)
{
	if (code == 0)
		describe(r, out, size);
	else if (code == E_DENIED)
		snprintf(out, size, "its domain is none of this server's: mail for it leaves this machine");
	else if (code == E_NOTFOUND)
		snprintf(out, size, "its domain is served here, and there is nobody of this name: not an account, an alias, or a catch-all");
	else
		snprintf(out, size, "%s", err->text);
}
