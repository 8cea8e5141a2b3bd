/* What relay's objects call of its process and of master. */
#ifndef MW_TESTS_UNIT_RELAY_DAEMON_H
#define MW_TESTS_UNIT_RELAY_DAEMON_H

#include "tests/daemon.h"

#include "relay/relay.h"

static int authorities = -1, password = -1; /* files that master hands out; -1: it does not */

int daemon_file(struct daemon *daemon, const char *name)
{
	(void)daemon;
	return strcmp(name, "relay-authorities") == 0 ? authorities : strncmp(name, "password-file ", 14) == 0 ? password : -1;
}

void relay_try_finish(struct relay *r)
{
	(void)r;
}

#endif
