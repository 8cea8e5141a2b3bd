#include "master/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "master/sink.h"
#include "net/ipc_conn.h"
#include "proc/handover.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	CHILD_FD = 3,		/* where a daemon expects its socket to master */
	CHILD_TALLY_MS = 30000, /* deaths within this time count as a row */
	CHILD_TALLY_MAX = 30,	/* more than this many: it is not an accident */
	CHILD_STARTS_FAIL = 1,	/* starts in a row that may fail before it is waited */
	CHILD_BACKOFF_MAX = 60,	/* seconds */
	CHILD_RELINKS_MAX = 60, /* of one process within CHILD_RELINKS_MS: each is a descriptor at the service */
	CHILD_RELINKS_MS = 60 * 60 * 1000,
	CHILD_LINKED_MS = 2000, /* since a start: the connections that came with it may not have been seen yet */
};

/* A daemon that is started again is handed all at once what the others came by one after the other. */
_Static_assert((int)HANDED_PEERS >= (int)CHILDREN_MAX, "a daemon takes a connection with each other one");
_Static_assert((int)HANDED_FILES >= (int)MASTER_FILES, "a daemon takes all files there may be");
_Static_assert((int)HANDED_LISTENERS >= (int)MASTER_LISTENERS, "a daemon takes all listeners there may be");

const struct child_kind child_kinds[] = {
    {.name = "keys", .stop = STOP_SERVICES, .files = FILE_CERTIFICATE | FILE_KEY, .workers = CONF_COUNT},
    {.name = "resolve", .stop = STOP_SERVICES, .files = FILE_RESOLVER, .control = true, .workers = CONF_COUNT},
    {.name = "auth", .stop = STOP_SERVICES, .files = FILE_ALIASES | FILE_CLIENT_SECRET, .grant = true, .programs = true, .control = true, .workers = CONF_COUNT},
    {.name = "auth-pam", .stop = STOP_SERVICES, .only_with_system_users = true, .workers = CONF_COUNT},
    {.name = "fetch", .stop = STOP_SERVICES, .files = FILE_WEB_AUTHORITIES, .control = true, .workers = CONF_COUNT},
    {.name = "queue", .stop = STOP_QUEUE, .grant = true, .control = true, .workers = CONF_COUNT},
    {.name = "relay", .stop = STOP_SERVICES, .files = FILE_RELAY, .control = true, .workers = CONF_COUNT},
    {.name = "deliver", .stop = STOP_SERVICES, .grant = true, .control = true, .workers = CONF_COUNT},
    {.name = "imap-session", .grant = true, .workers = CONF_COUNT},
    {.name = "smtpd", .listeners = {"smtp"}, .files = FILE_CERTIFICATE | FILE_AUTHORITIES, .tickets = true, .workers = CONF_smtpd_workers},
    {.name = "submission", .listeners = {"submission", "submissions"}, .files = FILE_CERTIFICATE | FILE_AUTHORITIES, .tickets = true, .only_with_listener = true, .workers = CONF_COUNT},
    {.name = "pickup", .open_socket = "sendmail", .workers = CONF_COUNT},
    {.name = "imapd", .listeners = {"imap", "imaps"}, .files = FILE_CERTIFICATE | FILE_AUTHORITIES, .tickets = true, .workers = CONF_imapd_workers},
    {.name = "lmtpd", .listeners = {"lmtp"}, .only_with_listener = true, .workers = CONF_COUNT},
    {.name = "agent", .stop = STOP_SERVICES, .programs = true, .only_with_programs = true, .workers = CONF_COUNT},
    {.name = NULL},
};

/* Who may talk to whom: the client's kind, the service's kind, the service's name. */
static const struct {
	const char *client;
	const char *server;
	const char *service;
} child_links[] = {
    {"smtpd", "auth", "auth"},
    {"smtpd", "queue", "queue"},
    {"submission", "keys", "keys"},
    {"submission", "auth", "auth"},
    {"submission", "queue", "queue"},
    {"smtpd", "keys", "keys"},
    {"pickup", "queue", "queue"},
    {"queue", "auth", "auth"},
    {"queue", "deliver", "deliver"},
    {"queue", "relay", "relay"},
    {"relay", "resolve", "dns"},
    {"relay", "fetch", "fetch"},
    {"imapd", "auth", "auth"},
    {"imapd", "imap-session", "session"},
    {"imapd", "keys", "keys"},
    {"deliver", "auth", "auth"},
    {"lmtpd", "auth", "auth"},
    {"auth", "fetch", "fetch"},
    {"fetch", "resolve", "dns"},
    {"lmtpd", "deliver", "deliver"},
    {"auth", "auth-pam", "pam"},
    {"queue", "agent", "agent"},
};

static bool kind_takes(const struct child_kind *kind, struct span service)
{
	for (size_t i = 0; i < CHILD_SERVICES && kind->listeners[i] != NULL; i++)
		if (span_eq(span_str(kind->listeners[i]), service))
			return true;
	return false;
}

bool child_service_has_tls(struct span service)
{
	for (const struct child_kind *kind = child_kinds; kind->name != NULL; kind++)
		if ((kind->files & FILE_CERTIFICATE) != 0 && kind_takes(kind, service))
			return true;
	return false;
}

static bool kind_has_listener(const struct child_kind *kind, const struct conf *conf)
{
	for (size_t i = 0; i < conf_listener_count(conf); i++)
		if (kind_takes(kind, conf_listener(conf, i)->service))
			return true;
	return false;
}

static bool kind_is_wanted(const struct child_kind *kind, const struct conf *conf)
{
	return (!kind->only_with_listener || kind_has_listener(kind, conf)) && (!kind->only_with_system_users || conf_has_system_users(conf)) &&
	    (!kind->only_with_programs || !span_eq(conf_text(conf, CONF_aliases_allow, NULL), SPAN_LIT("none")));
}

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
	struct child *child = arg;
	struct err err = {0};

	(void)fd;
	(void)what;
	if (child->master->stopping)
		return;
	log_event(EV_master_child_restart, NULL, F_STR("daemon", child->kind->name));
	if (child_start(child, &err) == 0)
		return;
	log_event(EV_master_child_not_started, NULL, F_STR("daemon", child->kind->name), F_ERR(&err));
	child_ended(child, 0);
}

static int plan_kind(struct master *master, const struct child_kind *kind, struct err *err)
{
	uint64_t workers =
	    kind->workers == CONF_COUNT ? 1 : conf_u64(master->now.conf, kind->workers, NULL);

	if (!kind_is_wanted(kind, master->now.conf))
		return 0;
	for (uint64_t i = 0; i < workers; i++) {
		struct child *child;

		if (master->child_count == CHILDREN_MAX)
			return err_set(err, E_LIMIT, "more than %d daemons; lower the *-workers settings",
			    CHILDREN_MAX);
		child = &master->children[master->child_count++];
		child->kind = kind;
		child->master = master;
		child->state = CHILD_DOWN;
		child->restart = evtimer_new(master->base, on_restart, child);
		if (child->restart == NULL)
			return err_set(err, E_NOMEM, "no memory for %s", kind->name);
	}
	return 0;
}

int children_plan(struct master *master, struct err *err)
{
	int r = 0;

	for (const struct child_kind *kind = child_kinds; kind->name != NULL && r == 0; kind++)
		r = plan_kind(master, kind, err);
	return r;
}

struct child *children_by_pid(struct master *master, pid_t pid)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].pid == pid && pid > 0)
			return &master->children[i];
	return NULL;
}

/* One whose connection has ended is as good as dead, whenever the kernel says so. */
static bool child_is_up(const struct child *child)
{
	return child->conn != NULL && (child->state == CHILD_STARTING || child->state == CHILD_READY);
}

static int send_config(struct child *child)
{
	struct master_config body = {.generation = child->master->generation};

	return ipc_conn_send(child->conn, &ipc_master_config, 0, &body, child->master->now.conf_fd);
}

static int send_files(struct child *child)
{
	const struct master_settings *now = &child->master->now;
	int r = 0;

	for (size_t i = 0; i < now->file_count && r == 0; i++) {
		struct master_file body = {.name = span_str(now->files[i].name)};

		if ((child->kind->files & now->files[i].kind) && now->files[i].fd >= 0)
			r = ipc_conn_send(child->conn, &ipc_master_file, 0, &body, now->files[i].fd);
	}
	return r;
}

static bool kind_takes_socket(const struct child_kind *kind, const struct master_socket *s)
{
	if (strcmp(s->service, "control") == 0)
		return kind->control && strcmp(s->address, kind->name) == 0;
	if (strcmp(s->service, "open") == 0)
		return kind->open_socket != NULL && strcmp(s->address, kind->open_socket) == 0;
	return kind_takes(kind, span_str(s->service));
}

static int send_listeners(struct child *child, struct err *err)
{
	struct master *master = child->master;
	int r = 0;

	for (size_t i = 0; i < master->socket_count && r == 0; i++) {
		struct master_socket *s = &master->sockets[i];
		struct master_listener body = {.name = span_str(s->service),
		    .address = span_str(s->address)};

		if (kind_takes_socket(child->kind, s))
			r = ipc_conn_send(child->conn, &ipc_master_listener, 0, &body, s->fd);
	}
	return r == 0 ? 0 : err_set(err, r, "listeners of %s: %s", child->kind->name, err_text(r));
}

static int send_secrets(struct child *child)
{
	struct master_secret body = {.name = SPAN_LIT("grant"),
	    .value = span_of(child->master->grant_key, MASTER_GRANT_KEY)};
	int r = child->kind->grant ? ipc_conn_send(child->conn, &ipc_master_secret, 0, &body, -1) : 0;

	body = (struct master_secret){.name = SPAN_LIT("programs"), .value = span_of(child->master->program_key, MASTER_GRANT_KEY)};
	if (r == 0 && child->kind->programs)
		r = ipc_conn_send(child->conn, &ipc_master_secret, 0, &body, -1);
	return r == 0 && child->kind->tickets ? tickets_send(child) : r;
}

static int link_pair(struct child *client, struct child *server, const char *service, struct err *err)
{
	struct master_peer body = {.service = span_str(service), .role = span_str(client->kind->name)};
	int fds[2];
	int r = ipc_pair(fds, err);

	if (r != 0)
		return r;
	body.serving = true;
	r = ipc_conn_send(server->conn, &ipc_master_peer, 0, &body, fds[0]);
	body.serving = false;
	if (r == 0)
		r = ipc_conn_send(client->conn, &ipc_master_peer, 0, &body, fds[1]);
	close(fds[0]);
	close(fds[1]);
	return r;
}

/* Connects a child that has just been started with every running one it has to do with. */
static int send_peers(struct child *child, struct err *err)
{
	struct master *master = child->master;
	int r = 0;

	for (size_t l = 0; l < sizeof(child_links) / sizeof(child_links[0]); l++)
		for (size_t i = 0; i < master->child_count && r == 0; i++) {
			struct child *other = &master->children[i];

			if (other == child || !child_is_up(other))
				continue;
			if (strcmp(child->kind->name, child_links[l].client) == 0 &&
			    strcmp(other->kind->name, child_links[l].server) == 0)
				r = link_pair(child, other, child_links[l].service, err);
			else if (strcmp(child->kind->name, child_links[l].server) == 0 &&
				 strcmp(other->kind->name, child_links[l].client) == 0)
				r = link_pair(other, child, child_links[l].service, err);
			if (r == E_CLOSED) /* one of them is dead: it is linked anew when it is started again */
				r = 0;
		}
	return r;
}

/* It is said once when there have been too many. */
static bool may_relink(struct child *child)
{
	int64_t now = clock_monotonic_ms();

	if (now - child->relinks_ms > CHILD_RELINKS_MS) {
		child->relinks_ms = now;
		child->relinks = 0;
		child->relinks_refused = false;
	}
	if (child->relinks < CHILD_RELINKS_MAX)
		return true;
	if (!child->relinks_refused)
		log_event(EV_master_relink_refused, NULL, F_STR("daemon", child->kind->name), F_U64("connections", child->relinks));
	child->relinks_refused = true;
	return false;
}

/* The service lives and the client lives, but what connected them has ended. The client asks again when it was too early. */
static void relink(struct child *child, struct span service)
{
	struct master *master = child->master;
	struct err err = {0};

	if (!child_is_up(child) || !may_relink(child))
		return;
	for (size_t l = 0; l < sizeof(child_links) / sizeof(child_links[0]); l++) {
		if (!span_eq(service, span_str(child_links[l].service)) || strcmp(child->kind->name, child_links[l].client) != 0)
			continue;
		for (size_t i = 0; i < master->child_count; i++) {
			struct child *other = &master->children[i];

			if (child_is_up(other) && strcmp(other->kind->name, child_links[l].server) == 0 &&
			    clock_monotonic_ms() - other->started_ms > CHILD_LINKED_MS &&
			    link_pair(child, other, child_links[l].service, &err) == 0)
				child->relinks++;
		}
	}
}

static int send_go(struct child *child)
{
	struct master_go body = {.generation = child->master->generation};

	return ipc_conn_send(child->conn, &ipc_master_go, 0, &body, -1);
}

static int send_start(struct child *child, struct err *err)
{
	int r = send_config(child);

	if (r == 0)
		r = send_files(child);
	if (r == 0)
		r = send_listeners(child, err);
	if (r == 0)
		r = send_secrets(child);
	if (r == 0)
		r = send_peers(child, err);
	if (r == 0)
		r = send_go(child);
	return r;
}

static void take_stats(struct child *child, const struct ipc_message *m)
{
	const struct master_stats *stats = (const void *)m->body;

	child->stats = *stats;
	span_copy(stats->note, child->note, sizeof(child->note));
	child->stats.note = span_str(child->note);
	child->stats_fresh = true;
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct child *child = arg;

	(void)conn;
	if (m->type == &ipc_master_ready) {
		const struct master_ready *body = (const void *)m->body;

		if (child->state == CHILD_STARTING)
			child->state = CHILD_READY;
		child->reload_failed = false;
		if (body->generation == child->asked)
			child->asked = 0;
	} else if (m->type == &ipc_master_failed) {
		const struct master_failed *body = (const void *)m->body;

		/* What was taken back from the others it cannot take back itself, for want of descriptors or memory: started again it has it. */
		if (child->state != CHILD_STARTING && child->asked == 0 && body->generation == child->master->generation)
			kill(child->pid, SIGKILL);
		if (child->state != CHILD_STARTING && body->generation != child->asked)
			return 0; /* of a reload that is over */
		child->reload_failed = true;
		err_set(&child->failure, E_CANNOT, "%s: %.*s", child->kind->name, SPAN_ARG(body->text));
		if (body->generation == child->asked)
			child->asked = 0;
	} else if (m->type == &ipc_master_lost) {
		relink(child, ((const struct master_lost *)(const void *)m->body)->service);
		return 0;
	} else {
		take_stats(child, m);
	}
	master_child_changed(child->master, child);
	return 0;
}

/* Its end is dealt with when the process is reaped. */
static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct child *child = arg;

	(void)conn;
	child->conn = NULL;
	if (child->pid > 0 && child->state != CHILD_STOPPING)
		kill(child->pid, SIGKILL); /* a daemon master cannot speak to is of no use */
}

static const struct ipc_conn_callbacks child_callbacks = {on_message, on_closed};

/* In the new process: descriptors 0 to 3 and nothing else, an empty environment, the daemon's own binary. */
static _Noreturn void child_exec(struct child *child, int fd, int log)
{
	struct master *master = child->master;
	bool json = span_eq(conf_text(master->now.conf, CONF_log_format, NULL), SPAN_LIT("json"));
	char json_format[] = "MAILWAIN_LOG_JSON=1"; /* there until exec */
	char path[4200], title[64];
	char *env[4] = {0};
	char *argv[] = {title, NULL};
	int count = 0, null = open("/dev/null", O_RDWR);

	snprintf(path, sizeof(path), "%s/%s", master->libexec, child->kind->name);
	snprintf(title, sizeof(title), "mailwain-%s", child->kind->name);
	if (json)
		env[count++] = json_format;
	if (getenv("ASAN_OPTIONS") != NULL)
		env[count++] = getenv("ASAN_OPTIONS") - strlen("ASAN_OPTIONS=");
	if (getenv("TZ") != NULL)
		env[count++] = getenv("TZ") - strlen("TZ=");
	/* fd may be one of the numbers that are about to be taken. */
	fd = fcntl(fd, F_DUPFD, 16);
	log = fcntl(log, F_DUPFD, 16);
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	dup2(fd, CHILD_FD);
	close_range(CHILD_FD + 1, ~0U, 0);
	setsid();
	execve(path, argv, env);
	dprintf(2, "%s: %s\n", path, strerror(errno));
	_exit(127);
}

int child_start(struct child *child, struct err *err)
{
	int fds[2], log;
	int r = sink_source(child->master->sink, &log, err);

	if (r != 0)
		return r;
	r = ipc_pair(fds, err);
	if (r != 0) {
		close(log);
		return r;
	}
	child->pid = fork();
	if (child->pid == 0)
		child_exec(child, fds[1], log);
	close(log);
	close(fds[1]);
	if (child->pid < 0) {
		close(fds[0]);
		return err_set_errno(err, errno, "fork of %s", child->kind->name);
	}
	child->started_ms = clock_monotonic_ms();
	child->state = CHILD_STARTING;
	child->stats = (struct master_stats){0};
	child->stats_asked = child->stats_fresh = false;
	child->note[0] = '\0';
	child->reload_failed = false;
	child->relinks = 0;
	child->relinks_ms = child->started_ms;
	child->relinks_refused = false;
	child->conn = ipc_conn_new(child->master->base, fds[0], &ipc_service_master, TO_SERVICE,
	    &child_callbacks, child);
	if (child->conn == NULL)
		return err_set(err, E_NOMEM, "no memory for %s", child->kind->name);
	err->text[0] = '\0';
	r = send_start(child, err);
	if (r == 0 || r == E_CLOSED) /* a death is dealt with when the process is reaped, and may have said why */
		return 0;
	return err->text[0] != '\0' ? r : err_set(err, r, "%s: %s", child->kind->name, err_text(r));
}

int child_reload(struct child *child, struct err *err)
{
	int r;

	if (child->conn == NULL)
		return 0;
	child->reload_failed = false;
	r = send_config(child);
	if (r == 0)
		r = send_files(child);
	if (r == 0)
		r = send_go(child);
	if (r != 0)
		return err_set(err, r, "%s: %s", child->kind->name, err_text(r));
	child->asked = child->master->generation;
	return 0;
}

void child_halt(struct child *child, uint32_t seconds)
{
	struct master_halt body = {.seconds = seconds};

	event_del(child->restart);
	if (child->pid <= 0) {
		child->state = CHILD_ENDED;
		return;
	}
	child->state = CHILD_STOPPING;
	if (child->conn != NULL)
		ipc_conn_send(child->conn, &ipc_master_halt, 0, &body, -1);
}

/*
 * Seconds until the restart. One that dies comes back at once, also from a start that something cut short; one that cannot
 * start, or dies again and again, is tried ever more rarely. Deaths after good starts say nothing about the next start.
 */
static int64_t restart_delay(struct child *child, bool was_ready)
{
	int64_t now = clock_monotonic_ms();
	uint32_t over;

	if (now - child->tally_ms > CHILD_TALLY_MS) {
		child->tally_ms = now;
		child->recent_deaths = 0;
	}
	child->recent_deaths++;
	child->failed_starts = was_ready ? 0 : child->failed_starts + 1;
	over = child->recent_deaths > CHILD_TALLY_MAX ? child->recent_deaths - CHILD_TALLY_MAX : 0;
	if (child->failed_starts > CHILD_STARTS_FAIL && child->failed_starts - CHILD_STARTS_FAIL > over)
		over = child->failed_starts - CHILD_STARTS_FAIL;
	if (over == 0)
		return 0;
	/* The tally must go on growing between ever longer waits. */
	child->tally_ms = now;
	return over > 6 ? CHILD_BACKOFF_MAX : (int64_t)1 << (over - 1);
}

void child_ended(struct child *child, int status)
{
	bool was_ready = child->state == CHILD_READY;
	struct timeval tv = {0};

	/* Its last words may still wait, and say why. */
	if (child->conn != NULL)
		ipc_conn_take_rest(child->conn);
	if (child->conn != NULL)
		ipc_conn_free(&child->conn);
	if (child->asked != 0 && !child->reload_failed) {
		child->reload_failed = true;
		err_set(&child->failure, E_CANNOT, "%s ended while it took over the configuration", child->kind->name);
	}
	child->asked = 0;
	child->pid = 0;
	if (child->state == CHILD_STOPPING || child->master->stopping) {
		child->state = CHILD_ENDED;
		master_child_changed(child->master, child);
		return;
	}
	child->state = CHILD_DOWN;
	child->deaths++;
	tv.tv_sec = restart_delay(child, was_ready);
	log_event(EV_master_child_died, NULL, F_STR("daemon", child->kind->name),
	    F_I64("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
	    F_I64("exit", WIFEXITED(status) ? WEXITSTATUS(status) : 0),
	    F_I64("restart_in", tv.tv_sec));
	evtimer_add(child->restart, &tv);
	master_child_changed(child->master, child);
}
