/* queue: the spool's only writer, and the schedule. */
#include "queue/destination.h"
#include "queue/waiting.h"

#include "net/control.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

void queue_try_finish(struct queue *queue)
{
	if (queue->halting)
		removal_sync_now(queue);
	if (queue->halting && disk_waiting(queue->disk) == 0 && !deliver_flying(queue) && !agent_flying(queue) && !outbound_flying(queue))
		daemon_finished(queue->daemon);
}

static void queue_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct queue *queue = daemon_state(daemon);

	if (serving)
		client_new(queue, role, fd);
	else if (span_eq(service, SPAN_LIT("auth")))
		auth_service(queue, fd);
	else if (span_eq(service, SPAN_LIT("deliver")))
		deliver_service(queue, fd);
	else if (span_eq(service, SPAN_LIT("agent")))
		agent_service(queue, fd);
	else if (span_eq(service, SPAN_LIT("relay")))
		outbound_service(queue, fd);
	else
		close(fd);
}

/* A machine may give fewer descriptors than the profile asks for. */
static void share_descriptors(struct queue *queue)
{
	struct rlimit limit;
	rlim_t files = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;

	queue->active_max = files / 2 < QUEUE_ACTIVE_MAX ? (unsigned)(files / 2) : QUEUE_ACTIVE_MAX;
	queue->spare_max = files / 8 < QUEUE_SPARES_MAX ? (unsigned)(files / 8) : QUEUE_SPARES_MAX;
	queue->handed_max = files / 4 < QUEUE_HANDED_MAX ? (unsigned)(files / 4) : QUEUE_HANDED_MAX;
}

static int queue_confined(struct daemon *daemon, struct err *err)
{
	struct queue *queue = daemon_state(daemon);
	const struct conf *conf = daemon_conf(daemon);
	int r;

	queue->daemon = daemon;
	share_descriptors(queue);
	if (!daemon_secret(daemon, "grant", queue->grant_key, sizeof(queue->grant_key)))
		return err_set(err, E_BUG, "master gave no key for grants");
	queue->waiting = waiting_new();
	r = queue->waiting != NULL ? queue_make_directories(err) : err_set(err, E_NOMEM, "no memory for what waits");
	if (r == 0)
		r = queue_load_key(queue, err);
	if (r == 0)
		r = disk_new(queue, (unsigned)conf_u64(conf, CONF_spool_syncs, NULL),
		    span_eq(conf_text(conf, CONF_durability, NULL), SPAN_LIT("strict")), &queue->disk, err);
	if (r == 0)
		r = removal_new(queue, err);
	if (r == 0)
		r = queue_clock_start(queue, err);
	if (r == 0)
		r = deliver_watch(queue, err);
	if (r == 0)
		r = outbound_start(queue, err);
	if (r == 0)
		r = pause_load(queue, err);
	if (r == 0)
		r = recover_start(queue, err);
	if (r != 0)
		return r;
	queue_clock_settle(queue);
	schedule_start(queue);
	queue->control = control_server_new(daemon, queue_control, queue);
	return 0;
}

static int queue_reload(struct daemon *daemon, struct err *err)
{
	(void)err;
	destinations_reload(daemon_state(daemon));
	return 0;
}

static void queue_halt(struct daemon *daemon)
{
	struct queue *queue = daemon_state(daemon);

	queue->halting = true;
	queue_try_finish(queue);
}

static void queue_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct queue *queue = daemon_state(daemon);
	unsigned paused = pause_count(queue);

	stats->connections = queue->active_count;
	stats->total = queue->accepted;
	snprintf(queue->note, sizeof(queue->note), "%u destination%s paused", paused, paused == 1 ? "" : "s");
	stats->note = span_str(paused > 0 ? queue->note : "");
}

int main(void)
{
	static struct queue queue;
	struct daemon_spec spec = {.name = "queue",
	    .profile = profile_find("queue"),
	    .confined = queue_confined,
	    .reload = queue_reload,
	    .peer = queue_peer,
	    .halt = queue_halt,
	    .stats = queue_stats,
	    .state = &queue};

	if (sodium_init() < 0)
		return 1;
	queue_clock_boot(&queue.clock);
	return daemon_run(&spec);
}
