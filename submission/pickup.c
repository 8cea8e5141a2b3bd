#include "submission/pickup.h"

#include "base/log.h"
#include "net/ipc_conn.h"
#include "net/listener.h"

#include <unistd.h>

struct span pickup_domain(const struct pickup *pickup)
{
	const struct conf *conf = daemon_conf(pickup->daemon);
	struct span set = conf_text(conf, CONF_local_domain, NULL);

	if (set.len > 0)
		return set;
	return conf_domain_count(conf) > 0 ? conf_domain(conf, 0)->name : conf_text(conf, CONF_hostname, NULL);
}

void pickup_try_finish(struct pickup *pickup)
{
	if (pickup->halting && pickup->jobs == NULL)
		daemon_finished(pickup->daemon);
}

/* ---- queue ---- */

static int on_queue(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct pickup *pickup = arg;

	(void)conn;
	if (m->type == &ipc_queue_file) {
		job_file(pickup, ((const struct queue_file *)(const void *)m->body)->id, m->fd_lost ? -1 : m->fd);
	} else if (m->type == &ipc_queue_committed) {
		const struct queue_committed *body = (const void *)m->body;

		job_committed(pickup, body->id, body->code, body->text);
	} else {
		job_no_file(pickup, ((const struct queue_no_file *)(const void *)m->body)->code);
	}
	return 0;
}

static void on_queue_closed(void *arg, struct ipc_conn *conn)
{
	struct pickup *pickup = arg;

	(void)conn;
	pickup->queue = NULL;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "queue"));
	daemon_peer_lost(pickup->daemon, "queue");
	jobs_queue_lost(pickup);
}

static const struct ipc_conn_callbacks queue_callbacks = {on_queue, on_queue_closed};

static void pickup_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct pickup *pickup = daemon_state(daemon);

	(void)role;
	if (serving || !span_eq(service, SPAN_LIT("queue"))) {
		close(fd);
		return;
	}
	ipc_conn_lose(&pickup->queue);
	pickup->queue = ipc_conn_new(daemon_base(daemon), fd, &ipc_service_queue, TO_CLIENT, &queue_callbacks, pickup);
	jobs_queue_found(pickup);
}

/* ---- the daemon ---- */

static void on_accept(void *arg, int fd, const struct sockaddr_storage *address, const char *peer)
{
	(void)address;
	(void)peer;
	client_accept(arg, fd);
}

static int pickup_confined(struct daemon *daemon, struct err *err)
{
	struct pickup *pickup = daemon_state(daemon);
	int fd;

	pickup->daemon = daemon;
	if (daemon_listeners(daemon, "open", &fd, NULL, 1) != 1)
		return err_set(err, E_BUG, "no socket for sendmail(1) was handed over");
	pickup->listener = listener_new(daemon_base(daemon), fd, on_accept, pickup);
	if (pickup->listener == NULL)
		return err_set(err, E_NOMEM, "no memory for a listener");
	return drop_open(pickup, err);
}

/* What the clients have not handed over they put into the drop. */
static void pickup_halt(struct daemon *daemon)
{
	struct pickup *pickup = daemon_state(daemon);

	pickup->halting = true;
	listener_free(&pickup->listener);
	drop_close(pickup);
	clients_close(pickup);
	pickup_try_finish(pickup);
}

static void pickup_stats(struct daemon *daemon, struct master_stats *stats)
{
	const struct pickup *pickup = daemon_state(daemon);

	stats->connections = pickup->client_count;
	stats->total = pickup->total;
}

int main(void)
{
	static struct pickup pickup;
	struct daemon_spec spec = {.name = "pickup",
	    .profile = profile_find("pickup"),
	    .confined = pickup_confined,
	    .peer = pickup_peer,
	    .halt = pickup_halt,
	    .stats = pickup_stats,
	    .state = &pickup};

	return daemon_run(&spec);
}
