/* resolve: the suite's one resolver. libunbound is in no other process. */
#include "resolve/resolve.h"

#include "net/control.h"
#include "proc/daemon.h"
#include "resolve/settings.h"

#include <stdio.h>
#include <unistd.h>

/* Who may ask: decided by who is connected, which master says. */
static const char *const users[] = {
    "relay",
    "fetch",
};

static void resolve_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	(void)service;
	(void)role;
	if (serving)
		peer_new(daemon_state(daemon), fd);
	else
		close(fd);
}

/* The files are read here, from sealed memory that master hands over; and again at a reload. */
static int resolve_prepare(struct daemon *daemon, struct err *err)
{
	struct resolve *resolve = daemon_state(daemon);

	resolve->daemon = daemon;
	return settings_load(daemon, &resolve->settings, err);
}

static int resolve_confined(struct daemon *daemon, struct err *err)
{
	struct resolve *resolve = daemon_state(daemon);
	struct settings *settings = resolve->settings;
	int r;

	resolve->settings = NULL;
	r = flights_new(daemon_base(daemon), settings, &resolve->flights, err);
	if (r == 0 && resolve_control_open(resolve) != 0)
		r = err_set(err, E_NOMEM, "no memory for the control socket");
	return r;
}

static int resolve_reload(struct daemon *daemon, struct err *err)
{
	struct resolve *resolve = daemon_state(daemon);
	struct settings *settings;
	int r = settings_load(daemon, &settings, err);

	return r == 0 ? flights_change(resolve->flights, settings, err) : r;
}

static void resolve_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct resolve *resolve = daemon_state(daemon);

	stats->connections = resolve->peers;
	stats->total = flights_stats(resolve->flights)->questions;
}

int main(void)
{
	static struct resolve resolve;
	struct daemon_spec spec = {.name = "resolve",
	    .profile = profile_find("resolve"),
	    .users = users,
	    .user_count = sizeof(users) / sizeof(users[0]),
	    .prepare = resolve_prepare,
	    .confined = resolve_confined,
	    .reload = resolve_reload,
	    .peer = resolve_peer,
	    .stats = resolve_stats,
	    .state = &resolve};

	return daemon_run(&spec);
}
