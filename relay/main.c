/* relay: mail to other hosts. */
#include "relay/relay.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/fetch_client.h"

#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

enum { RELAY_SWEEP_MS = 1000 };

void relay_try_finish(struct relay *relay)
{
	if (relay->halting && relay->job_count == 0 && relay->session_count == 0)
		daemon_finished(relay->daemon);
}

static void on_dns_lost(void *arg)
{
	struct relay *relay = arg;

	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "dns"));
	daemon_peer_lost(relay->daemon, "dns");
}

static void relay_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct relay *relay = daemon_state(daemon);

	(void)role;
	if (serving && span_eq(service, SPAN_LIT("relay")))
		channel_new(relay, fd);
	else if (!serving && span_eq(service, SPAN_LIT("dns")))
		dns_service(relay->dns, fd);
	else if (!serving && span_eq(service, SPAN_LIT("fetch")))
		fetch_client_connect(relay->fetch, fd);
	else
		close(fd);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct relay *relay = arg;

	(void)fd;
	(void)what;
	session_sweep(relay);
	destination_trim(relay);
	reports_sweep(relay);
	sts_lookups_sweep(relay->sts);
}

/* The system's authorities are read while there is a file system. */
static int relay_prepare(struct daemon *daemon, struct err *err)
{
	struct relay *relay = daemon_state(daemon);

	relay->daemon = daemon;
	return settings_load(relay, err);
}

static void take_settings(struct relay *relay)
{
	sts_lookups_set_port(relay->sts, (uint16_t)conf_u64(daemon_conf(relay->daemon), CONF_relay_mta_sts_port, NULL));
	relay->self = (struct route_self){.hostname = conf_text(daemon_conf(relay->daemon), CONF_hostname, NULL), .is_ours = settings_is_ours, .arg = relay};
}

static void on_other_policy(void *arg, const char *domain)
{
	destinations_distrust(arg, domain);
}

static int make_lookups(struct relay *relay)
{
	const struct sts_services with = {.base = daemon_base(relay->daemon), .dns = relay->dns, .fetch = relay->fetch, .state = relay->state, .wait_ms = STS_WAIT_MS, .changed = on_other_policy, .arg = relay};

	relay->sts = sts_lookups_new(&with);
	return relay->sts != NULL ? 0 : E_NOMEM;
}

/* Mail does not depend on it. */
static void recall(struct relay *relay)
{
	struct err err = {0};

	if (state_open(&relay->state, &err) != 0)
		log_event(EV_relay_state_failed, daemon_log(relay->daemon), F_ERR(&err));
}

static int relay_confined(struct daemon *daemon, struct err *err)
{
	struct relay *relay = daemon_state(daemon);
	struct timeval tv = {.tv_sec = RELAY_SWEEP_MS / 1000, .tv_usec = RELAY_SWEEP_MS % 1000 * 1000};

	recall(relay);
	relay->waiting_tail = &relay->waiting;
	relay->idle_tail = &relay->idle;
	relay->seed = (uint32_t)clock_wall_us() ^ (uint32_t)getpid();
	relay->dns = dns_new(daemon_base(daemon));
	relay->sweep = event_new(daemon_base(daemon), -1, EV_PERSIST, on_sweep, relay);
	relay->fetch = fetch_client_new(daemon);
	if (relay->dns == NULL || relay->fetch == NULL || make_lookups(relay) != 0 || reports_open(relay) != 0 || relay->sweep == NULL || event_add(relay->sweep, &tv) != 0)
		return err_set(err, E_NOMEM, "no memory for the relay");
	dns_on_lost(relay->dns, on_dns_lost, relay);
	take_settings(relay);
	return control_open(relay) == 0 ? 0 : err_set(err, E_NOMEM, "no memory for the control socket");
}

/* What is on its way goes on as it began; what comes now finds no connection of before. */
static int relay_reload(struct daemon *daemon, struct err *err)
{
	struct relay *relay = daemon_state(daemon);
	int r = settings_load(relay, err);

	if (r != 0)
		return r;
	take_settings(relay);
	destinations_forget(relay);
	return 0;
}

/* A transaction that has begun may end; everything else stays with queue. */
static void relay_halt(struct daemon *daemon)
{
	struct relay *relay = daemon_state(daemon);
	struct job *job = relay->jobs;

	relay->halting = true;
	reports_halt(relay);
	while (job != NULL) {
		struct job *next = job->next;

		job_cancel(job);
		job = next;
	}
	session_sweep(relay);
	session_drop_unused(relay);
	relay_try_finish(relay);
}

static void relay_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct relay *relay = daemon_state(daemon);

	stats->connections = relay->session_count;
	stats->total = relay->sent;
}

int main(void)
{
	static struct relay relay;
	struct daemon_spec spec = {.name = "relay",
	    .profile = profile_find("relay"),
	    .prepare = relay_prepare,
	    .confined = relay_confined,
	    .reload = relay_reload,
	    .peer = relay_peer,
	    .halt = relay_halt,
	    .stats = relay_stats,
	    .state = &relay};

	return daemon_run(&spec);
}
