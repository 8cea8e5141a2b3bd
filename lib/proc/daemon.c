#include "proc/daemon.h"

#include "net/ipc_conn.h"
#include "proc/handover.h"

#include <errno.h>
#include <event2/event.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
	DAEMON_MASTER_FD = 3,
	DAEMON_LOST = 4, /* services that a daemon may be without */
	DAEMON_LOST_FIRST_S = 1,
	DAEMON_LOST_AGAIN_S = 10,
};

/* A service that there is no connection to. */
struct daemon_lost {
	struct daemon *daemon;
	struct event *timer;
	char service[32]; /* "": a free place */
};

struct daemon {
	const struct daemon_spec *spec;
	struct event_base *base;
	struct ipc_conn *master;
	struct conf *conf;
	struct conf *next_conf; /* received, not yet taken over */
	int missed; /* why a part of a reload could not be received; 0: nothing is missed */
	uint32_t generation;
	struct handover handed;
	struct daemon_lost lost[DAEMON_LOST];
	struct event *halt_timer;
	struct log_ctx log;
	bool running;
	bool halting;
};

void *daemon_state(struct daemon *daemon)
{
	return daemon->spec->state;
}

const struct conf *daemon_conf(struct daemon *daemon)
{
	return daemon->conf;
}

struct event_base *daemon_base(struct daemon *daemon)
{
	return daemon->base;
}

const struct log_ctx *daemon_log(struct daemon *daemon)
{
	return &daemon->log;
}

size_t daemon_listeners(struct daemon *daemon, const char *name, int *fds, char (*addresses)[128], size_t max)
{
	return handover_listeners(&daemon->handed, name, fds, addresses, max);
}

int daemon_file(struct daemon *daemon, const char *name)
{
	return handover_file(&daemon->handed, name);
}

bool daemon_secret(struct daemon *daemon, const char *name, void *out, size_t size)
{
	return handover_secret(&daemon->handed, name, out, size);
}

/* ---- what master sends ---- */

static int take_config(struct daemon *daemon, struct ipc_message *m)
{
	struct err err;
	int r;

	conf_free(&daemon->next_conf);
	r = conf_load_fd(m->fd, &daemon->next_conf, &err);
	close(m->fd);
	if (r != 0)
		log_event(EV_daemon_failed, NULL, F_ERR(&err));
	return r;
}

/* ---- services that were lost ---- */

static void lost_arm(struct daemon_lost *lost, time_t seconds)
{
	struct timeval tv = {.tv_sec = seconds};

	evtimer_add(lost->timer, &tv);
}

static void on_lost(evutil_socket_t fd, short what, void *arg)
{
	struct daemon_lost *lost = arg;
	struct master_lost body = {.service = span_str(lost->service)};

	(void)fd;
	(void)what;
	if (lost->daemon->master == NULL || lost->daemon->halting)
		return;
	ipc_conn_send(lost->daemon->master, &ipc_master_lost, 0, &body, -1);
	lost_arm(lost, DAEMON_LOST_AGAIN_S);
}

static struct daemon_lost *lost_find(struct daemon *daemon, struct span service)
{
	for (size_t i = 0; i < DAEMON_LOST; i++)
		if (span_eq(span_str(daemon->lost[i].service), service))
			return &daemon->lost[i];
	return NULL;
}

void daemon_peer_lost(struct daemon *daemon, const char *service)
{
	struct daemon_lost *lost = lost_find(daemon, span_str(service));

	if (lost == NULL)
		lost = lost_find(daemon, span_str(""));
	if (lost == NULL)
		return;
	if (lost->timer == NULL)
		lost->timer = evtimer_new(daemon->base, on_lost, lost);
	if (lost->timer == NULL)
		return;
	lost->daemon = daemon;
	span_copy(span_str(service), lost->service, sizeof(lost->service));
	lost_arm(lost, DAEMON_LOST_FIRST_S);
}

static void lost_found(struct daemon *daemon, struct span service)
{
	struct daemon_lost *lost = service.len > 0 ? lost_find(daemon, service) : NULL;

	if (lost == NULL)
		return;
	evtimer_del(lost->timer);
	lost->service[0] = '\0';
}

static bool is_user(const struct daemon_spec *spec, struct span role)
{
	for (size_t i = 0; i < spec->user_count; i++)
		if (span_eq(role, span_str(spec->users[i])))
			return true;
	return spec->users == NULL;
}

static void give_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	if (serving && !is_user(daemon->spec, role)) {
		log_event(EV_ipc_bad_message, daemon_log(daemon), F_SPAN("service", service), F_SPAN("role", role));
		close(fd);
		return;
	}
	if (daemon->spec->peer != NULL)
		daemon->spec->peer(daemon, service, role, serving, fd);
	else
		close(fd);
}

static int take_over_conf(struct daemon *daemon)
{
	if (daemon->next_conf == NULL)
		return E_PROTO;
	conf_free(&daemon->conf);
	daemon->conf = daemon->next_conf;
	daemon->next_conf = NULL;
	log_set_level_name(conf_text(daemon->conf, CONF_log_level, NULL));
	return 0;
}

static void report_failed(struct daemon *daemon, enum log_event_id event, const struct err *err)
{
	struct master_failed body = {.generation = daemon->generation, .text = span_str(err->text)};

	log_event(event, &daemon->log, F_ERR(err));
	log_flush();
	ipc_send(DAEMON_MASTER_FD, &ipc_master_failed, 0, &body, -1);
}

static void report_ready(struct daemon *daemon)
{
	struct master_ready body = {.generation = daemon->generation};

	ipc_send(DAEMON_MASTER_FD, &ipc_master_ready, 0, &body, -1);
}

static void refuse(struct daemon *daemon, const struct err *why)
{
	conf_free(&daemon->next_conf);
	handover_drop_next(&daemon->handed);
	report_failed(daemon, EV_daemon_reload_refused, why);
}

static void swap_next(struct daemon *daemon)
{
	struct conf *was = daemon->conf;

	daemon->conf = daemon->next_conf;
	daemon->next_conf = was;
	handover_swap_files(&daemon->handed);
}

/* On a reload the new configuration and files are tried; when the daemon refuses them the old ones come back. */
static int take_go(struct daemon *daemon, struct ipc_message *m)
{
	struct err err = {0};
	int missed = daemon->missed;

	if (daemon->next_conf == NULL && missed == 0)
		return E_PROTO;
	daemon->missed = 0;
	daemon->generation = ((const struct master_go *)(const void *)m->body)->generation;
	if (missed != 0) {
		err_set(&err, missed, "not all of it could be received: %s", err_text(missed));
		refuse(daemon, &err);
		return 0;
	}
	swap_next(daemon);
	if (daemon->spec->reload != NULL && daemon->spec->reload(daemon, &err) != 0) {
		swap_next(daemon);
		refuse(daemon, &err);
		return 0;
	}
	conf_free(&daemon->next_conf);
	handover_drop_next(&daemon->handed);
	log_set_level_name(conf_text(daemon->conf, CONF_log_level, NULL));
	log_event(EV_daemon_reloaded, &daemon->log, F_U64("generation", daemon->generation));
	report_ready(daemon);
	return 0;
}

static void daemon_end(struct daemon *daemon)
{
	event_base_loopbreak(daemon->base);
}

void daemon_finished(struct daemon *daemon)
{
	if (daemon->halting)
		daemon_end(daemon);
}

static void on_halt_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	daemon_end(arg);
}

static void begin_halt(struct daemon *daemon, uint32_t seconds)
{
	struct timeval tv = {.tv_sec = seconds};

	if (daemon->halting)
		return;
	daemon->halting = true;
	evtimer_add(daemon->halt_timer, &tv);
	if (daemon->spec->halt != NULL)
		daemon->spec->halt(daemon);
	else
		daemon_end(daemon);
}

static void answer_query(struct daemon *daemon, uint32_t id)
{
	struct master_stats stats = {0};

	if (daemon->spec->stats != NULL)
		daemon->spec->stats(daemon, &stats);
	ipc_conn_send(daemon->master, &ipc_master_stats, id, &stats, -1);
}

static int take_secret(struct daemon *daemon, struct ipc_message *m)
{
	int r = handover_take(&daemon->handed, m);

	if (r == 0 && daemon->spec->secrets != NULL)
		daemon->spec->secrets(daemon);
	return r;
}

/* Before the first go and, for files, secrets and peers, at any time. */
static int take_message(struct daemon *daemon, struct ipc_message *m)
{
	const struct master_peer *peer = (const void *)m->body;

	if (m->type == &ipc_master_config) { /* what came before it and was not followed by go was broken off */
		daemon->missed = 0;
		handover_drop_next(&daemon->handed);
		return m->fd_lost ? E_NOFILES : take_config(daemon, m);
	}
	if (m->type == &ipc_master_secret && daemon->running)
		return take_secret(daemon, m);
	if (m->type != &ipc_master_peer || !daemon->running)
		return handover_take(&daemon->handed, m);
	/* The other end sees that this one has gone; who needs it asks master again. */
	if (m->fd_lost)
		return 0;
	/* Who had another one gives it up now, and that is no reason to ask for a third. */
	give_peer(daemon, peer->service, peer->role, peer->serving, m->fd);
	if (!peer->serving)
		lost_found(daemon, peer->service);
	return 0;
}

static int on_master_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct daemon *daemon = arg;
	int r;

	(void)conn;
	if (m->type == &ipc_master_go)
		return take_go(daemon, m);
	if (m->type == &ipc_master_halt) {
		begin_halt(daemon, ((const struct master_halt *)(const void *)m->body)->seconds);
		return 0;
	}
	if (m->type == &ipc_master_query) {
		answer_query(daemon, m->id);
		return 0;
	}
	r = take_message(daemon, m);
	/* Who has no descriptor left serves those it has: what the reload lacks is said when it is due. */
	if (r != 0 && (m->type == &ipc_master_config || m->type == &ipc_master_file)) {
		daemon->missed = r;
		return 0;
	}
	return r;
}

/* Without master nobody restarts, reloads or stops this process: it ends at once. */
static void on_master_closed(void *arg, struct ipc_conn *conn)
{
	struct daemon *daemon = arg;

	(void)conn;
	daemon->master = NULL;
	daemon_end(daemon);
}

static const struct ipc_conn_callbacks master_callbacks = {on_master_message, on_master_closed};

/* Blocking: everything up to the first go. */
static int take_start(struct daemon *daemon, struct err *err)
{
	char *buffer = malloc(IPC_MESSAGE_MAX);
	struct ipc_message m = {0};
	int r = buffer ? 0 : E_NOMEM;

	while (r == 0) {
		r = ipc_receive(DAEMON_MASTER_FD, &ipc_service_master, TO_CLIENT, buffer, &m, err);
		if (r == 0 && m.type == &ipc_master_go)
			break;
		if (r == 0)
			r = take_message(daemon, &m);
	}
	if (r == 0) {
		daemon->generation = ((const struct master_go *)(const void *)m.body)->generation;
		handover_swap_files(&daemon->handed);
		r = take_over_conf(daemon);
	}
	if (buffer != NULL)
		explicit_bzero(buffer, IPC_MESSAGE_MAX); /* secrets were dealt through it */
	free(buffer);
	return r;
}

/* ---- start ---- */

static void tree_path(struct daemon *daemon, char *out, size_t size)
{
	struct span data = conf_text(daemon->conf, CONF_data_directory, NULL);
	struct span spool = conf_text(daemon->conf, CONF_spool_directory, NULL);
	struct span run = conf_text(daemon->conf, CONF_run_directory, NULL);

	switch (daemon->spec->profile->tree) {
	case TREE_DIRECTORY:
		snprintf(out, size, "%.*s/directory", SPAN_ARG(data));
		return;
	case TREE_STORE:
		snprintf(out, size, "%.*s/store", SPAN_ARG(data));
		return;
	case TREE_DROP:
		snprintf(out, size, "%.*s/drop", SPAN_ARG(data));
		return;
	case TREE_RELAY:
		snprintf(out, size, "%.*s/relay", SPAN_ARG(data));
		return;
	case TREE_SPOOL:
		span_copy(spool, out, size);
		return;
	case TREE_MACHINE:
		snprintf(out, size, "/");
		return;
	default:
		snprintf(out, size, "%.*s/empty", SPAN_ARG(run));
	}
}

static const char *tree_setting(enum profile_tree tree)
{
	switch (tree) {
	case TREE_DIRECTORY:
	case TREE_STORE:
	case TREE_DROP:
	case TREE_RELAY:
		return "data-directory";
	case TREE_SPOOL:
		return "spool-directory";
	default:
		return "run-directory";
	}
}

/* A directory of another user's would show only when mail comes. */
static int check_tree(const struct profile *profile, const char *tree, const char *user_prefix, struct err *err)
{
	char user[64];
	struct passwd *pw;
	struct stat st;

	if (stat(tree, &st) != 0)
		return err_set(err, err_from_errno(errno), "%s: %s; is the setting %s right, and the disk mounted? If this one alone is missing: install -d -m 0700 -o %s%s %s",
		    tree, strerror(errno), tree_setting(profile->tree), profile->user != NULL ? user_prefix : "", profile->user != NULL ? profile->user : "root", tree);
	if (profile->user == NULL)
		return 0;
	snprintf(user, sizeof(user), "%s%s", user_prefix, profile->user);
	pw = geteuid() == 0 && profile->tree != TREE_NONE ? getpwnam(user) : NULL;
	if (pw == NULL || (st.st_uid == pw->pw_uid && (st.st_mode & S_IRWXU) == S_IRWXU))
		return 0;
	return err_set(err, E_DENIED, "%s must be %s's, with mode 0700: chown -R %s: %s; chmod 700 %s", tree, user, user, tree, tree);
}

static int confine_self(struct daemon *daemon, struct err *err)
{
	struct span prefix = conf_text(daemon->conf, CONF_user_prefix, NULL);
	char tree[4096], user_prefix[32];
	bool landlock;
	int r;

	if (daemon->spec->profile == NULL)
		return daemon->spec->confine(daemon, err);
	tree_path(daemon, tree, sizeof(tree));
	span_copy(prefix, user_prefix, sizeof(user_prefix));
	r = check_tree(daemon->spec->profile, tree, user_prefix, err);
	if (r != 0)
		return r;
	r = proc_confine(daemon->spec->profile, tree, user_prefix, &landlock, err);
	if (r == 0 && !landlock)
		log_event(EV_daemon_no_landlock, &daemon->log, F_STR("daemon", daemon->spec->name));
	return r;
}

static int make_loop(struct daemon *daemon, struct err *err)
{
	daemon->base = event_base_new();
	if (daemon->base == NULL)
		return err_set(err, E_NOMEM, "no event loop");
	daemon->halt_timer = evtimer_new(daemon->base, on_halt_timer, daemon);
	daemon->master = ipc_conn_new(daemon->base, DAEMON_MASTER_FD, &ipc_service_master, TO_CLIENT,
	    &master_callbacks, daemon);
	if (daemon->halt_timer == NULL || daemon->master == NULL)
		return err_set(err, E_NOMEM, "no memory for the event loop");
	return 0;
}

/* No getenv, no time zone file, nothing from outside is read once confined. */
static void quiet_process(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
	tzset();
}

static int daemon_start(struct daemon *daemon, struct err *err)
{
	const struct daemon_spec *spec = daemon->spec;
	int r = take_start(daemon, err);

	if (r == 0 && spec->prepare != NULL)
		r = spec->prepare(daemon, err);
	if (r == 0)
		r = confine_self(daemon, err);
	if (r == 0)
		r = make_loop(daemon, err);
	if (r == 0 && spec->confined != NULL)
		r = spec->confined(daemon, err);
	return r;
}

static void daemon_loop(struct daemon *daemon)
{
	daemon->running = true;
	for (size_t i = 0; i < daemon->handed.peer_count; i++) {
		struct handed_peer *p = &daemon->handed.peers[i];

		give_peer(daemon, span_str(p->service), span_str(p->role), p->serving, p->fd);
	}
	log_event(EV_daemon_ready, &daemon->log, F_U64("generation", daemon->generation));
	report_ready(daemon);
	/* One turn at a time, so that the log goes out in one write a turn. */
	do
		log_flush();
	while (!event_base_got_break(daemon->base) && event_base_loop(daemon->base, EVLOOP_ONCE) == 0 &&
	       !event_base_got_break(daemon->base));
	log_event(EV_daemon_exit, &daemon->log, F_U64("generation", daemon->generation));
	log_flush();
}

int daemon_run(const struct daemon_spec *spec)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	struct err err = {0};
	struct stat st;
	int r;

	if (daemon == NULL)
		return EX_OSERR;
	if (fstat(DAEMON_MASTER_FD, &st) != 0 || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "%s: is started by `mailwain start`, not by hand\n", spec->name);
		return EX_USAGE;
	}
	daemon->spec = spec;
	log_init(STDERR_FILENO, LOG_LEVEL_INFO, getenv("MAILWAIN_LOG_JSON") ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
	quiet_process();
	r = daemon_start(daemon, &err);
	if (r != 0) {
		if (err.text[0] == '\0')
			err_set(&err, r, "%s", err_text(r));
		report_failed(daemon, EV_daemon_failed, &err);
		return EX_CONFIG;
	}
	daemon_loop(daemon);
	/* The end of the process frees the rest; nothing durable depends on it. */
	return EX_OK;
}
