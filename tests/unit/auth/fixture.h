/* auth's parts without its process: the daemon of tests/daemon.h, a directory that goes with the test, a channel. */
#ifndef MW_TESTS_UNIT_AUTH_FIXTURE_H
#define MW_TESTS_UNIT_AUTH_FIXTURE_H

#include "tests/unit/test.h"

#include "auth/directory.h"
#include "net/ipc_conn.h"
#include "tests/daemon.h"
#include "tests/fuzz/scratch.h"

#include <event2/event.h>
#include <sodium.h>

/* 0, or -1. The log says nothing but errors. */
static inline int fixture_begin(const char *config)
{
	struct err err;

	if (sodium_init() < 0 || conf_parse(span_str(config), "test", &conf, &err) != 0)
		return -1;
	log_init(-1, LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	base = event_base_new();
	return base != NULL ? 0 : -1;
}

/* Its files are gone already; it stays open. */
static inline int fixture_directory(struct directory **out)
{
	char path[64];
	struct err err;
	int r;

	if (scratch_make(path) != 0)
		return -1;
	r = directory_open(path, out, &err);
	scratch_remove(path);
	return r == 0 ? 0 : -1;
}

/* Both ends in this process, with the same argument. */
static inline int fixture_channel(const struct ipc_service *service, const struct ipc_conn_callbacks *server_callbacks,
    const struct ipc_conn_callbacks *client_callbacks, void *arg, struct ipc_conn **server, struct ipc_conn **client)
{
	struct err err;
	int fds[2];

	if (ipc_pair(fds, &err) != 0)
		return -1;
	*server = ipc_conn_new(base, fds[0], service, TO_SERVICE, server_callbacks, arg);
	*client = ipc_conn_new(base, fds[1], service, TO_CLIENT, client_callbacks, arg);
	return *server != NULL && *client != NULL ? 0 : -1;
}

#endif
