/* A daemon that is nothing but its loop and its configuration: what engines of daemons call of proc/, for tests that link them without their process. */
#ifndef MW_TESTS_DAEMON_H
#define MW_TESTS_DAEMON_H

#include "proc/daemon.h"

/* The test's own; NULL until it makes them. */
static struct event_base *base;
static struct conf *conf;

static unsigned lost;		 /* channels that have ended, as it was told */
static const char *lost_service; /* the last one's; borrowed */

struct event_base *daemon_base(struct daemon *daemon)
{
	(void)daemon;
	return base;
}

const struct conf *daemon_conf(struct daemon *daemon)
{
	(void)daemon;
	return conf;
}

const struct log_ctx *daemon_log(struct daemon *daemon)
{
	(void)daemon;
	return NULL;
}

void daemon_peer_lost(struct daemon *daemon, const char *service)
{
	(void)daemon;
	lost++;
	lost_service = service;
}

#endif
