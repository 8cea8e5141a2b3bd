/* The supervisor: `mailwain start` runs it. Parses its configuration, never a byte from the network. */
#include "master/init.h"
#include "master/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "master/sink.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* What systemd is told (sd_notify(3)): one datagram to the socket it named. */
static void notify_systemd(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (len == 0 || len >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

/* Tells `mailwain start`, which waits: empty text means ready. */
static void report_ready(struct master *master, const char *problem)
{
	if (master->ready_fd < 0)
		return;
	if (write(master->ready_fd, problem, strlen(problem) + 1) < 0)
		master->exit_status = EX_OSERR;
	close(master->ready_fd);
	master->ready_fd = -1;
	/* The command's terminal or pipe is not ours to hold open; the log has its own place. */
	dup2(STDIN_FILENO, STDERR_FILENO);
}

static void check_all_ready(struct master *master)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].state != CHILD_READY)
			return;
	if (master->ready_fd >= 0 || master->foreground)
		notify_systemd("READY=1");
	report_ready(master, "");
}

static bool stage_ended(const struct master *master, enum child_stage stage)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].kind->stop == stage && master->children[i].state != CHILD_ENDED)
			return false;
	return true;
}

static void halt_stage(struct master *master, enum child_stage stage)
{
	uint32_t seconds = (uint32_t)(conf_ms(master->now.conf, CONF_stop_timeout, NULL) / 1000);

	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];

		if (child->kind->stop == stage && child->state != CHILD_STOPPING && child->state != CHILD_ENDED)
			child_halt(child, seconds);
	}
}

/* Halting one that is down already ends it at once: hence the check after it. */
static void stop_go_on(struct master *master)
{
	for (enum child_stage stage = STOP_FRONTS; stage < STOP_STAGES; stage++) {
		if (!stage_ended(master, stage))
			halt_stage(master, stage);
		if (!stage_ended(master, stage))
			return;
	}
	event_base_loopbreak(master->base);
}

void master_child_changed(struct master *master, struct child *child)
{
	if (master->stopping) {
		stop_go_on(master);
		return;
	}
	reload_child_changed(master, child);
	/* A first start that fails is the admin's to see, at the command that asked for it. */
	if (master->ready_fd >= 0 && child->state != CHILD_READY && child->state != CHILD_STARTING) {
		char text[ERR_TEXT_MAX + 128];

		if (child->reload_failed)
			snprintf(text, sizeof(text), "%s", child->failure.text);
		else
			snprintf(text, sizeof(text), "%s could not start; the log says why", child->kind->name);
		report_ready(master, text);
		master->exit_status = EX_CONFIG;
		master_stop(master);
		return;
	}
	check_all_ready(master);
}

static void on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	struct master *master = arg;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].pid > 0)
			kill(master->children[i].pid, SIGKILL);
}

void master_stop(struct master *master)
{
	int64_t ms = conf_ms(master->now.conf, CONF_stop_timeout, NULL);
	struct timeval tv = {.tv_sec = 2 * (ms / 1000) + 1};

	if (master->stopping)
		return;
	master->stopping = true;
	reload_abandon(master);
	notify_systemd("STOPPING=1");
	log_event(EV_master_stop, NULL, F_U64("generation", master->generation));
	stop_go_on(master);
	evtimer_add(master->stop_timer, &tv);

}

static void on_child_signal(evutil_socket_t fd, short what, void *arg)
{
	struct master *master = arg;
	int status;
	pid_t pid;

	(void)fd;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *child = children_by_pid(master, pid);

		sink_drain(master->sink); /* while it is known whose lines they are */
		if (child != NULL)
			child_ended(child, status);
	}
}

static void on_stop_signal(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	master_stop(arg);
}

static void on_reload_signal(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	master_reload(arg, NULL);
}

static const char *name_of_pid(void *arg, pid_t pid)
{
	struct master *master = arg;
	struct child *child = children_by_pid(master, pid);

	if (pid == getpid())
		return "master";
	return child ? child->kind->name : NULL;
}

int master_open_log(struct master *master, const struct conf *conf, struct err *err)
{
	struct span log = conf_text(conf, CONF_log, NULL);
	bool json = span_eq(conf_text(conf, CONF_log_format, NULL), SPAN_LIT("json"));
	char target[4096];
	int r;

	/* In the background standard error goes nowhere once the suite has started. */
	if (span_eq(log, SPAN_LIT("stderr")) && !master->foreground)
		return err_set(err, E_SYNTAX, "%.*s: log stderr works only with `mailwain start --foreground`",
		    SPAN_ARG(conf_origin(conf, CONF_log, NULL)));
	span_copy(log, target, sizeof(target));
	if (master->sink != NULL) {
		r = sink_reopen(master->sink, target, err);
	} else {
		r = sink_open(master->base, target, json, name_of_pid, master, &master->sink, err);
		if (r == 0)
			r = sink_source(master->sink, &master->sink_fd, err);
		if (r == 0)
			log_init(master->sink_fd, LOG_LEVEL_INFO, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
	}
	if (r == 0)
		log_set_level_name(conf_text(conf, CONF_log_level, NULL));
	return r;
}

/* Without a syslog daemon the log would be lost unseen. */
static void warn_of_no_syslog(const struct master *master)
{
	if (span_eq(conf_text(master->now.conf, CONF_log, NULL), SPAN_LIT("syslog")) && access("/dev/log", W_OK) != 0)
		fprintf(stderr, "mailwain: warning: no syslog daemon runs (/dev/log), so the log is lost; "
				"start one, or write in %s: log file:PATH\n", master->instance.conf);
}

static void on_made(void *arg, const char *kind, const char *name)
{
	(void)arg;
	log_event(EV_master_made, NULL, F_STR(kind, name));
}

/* An instance that an earlier version has set up may lack what this one wants. */
static int make_missing(const struct conf *conf, struct err *err)
{
	char data[4096], prefix[32];
	int r;

	span_copy(conf_text(conf, CONF_data_directory, NULL), data, sizeof(data));
	span_copy(conf_text(conf, CONF_user_prefix, NULL), prefix, sizeof(prefix));
	r = geteuid() == 0 ? init_users(prefix, on_made, NULL, err) : 0;
	return r == 0 ? places_mend(data, prefix, on_made, NULL, err) : r;
}

static int add_signal(struct master *master, int number, event_callback_fn fn)
{
	struct event *event = evsignal_new(master->base, number, fn, master);

	return event != NULL && event_add(event, NULL) == 0 ? 0 : E_NOMEM;
}

static int master_setup(struct master *master, struct err *err)
{
	int r = run_directory_take(&master->instance, err);

	if (r != 0)
		return r;
	master->base = event_base_new();
	if (master->base == NULL)
		return err_set(err, E_NOMEM, "no event loop");
	master->stop_timer = evtimer_new(master->base, on_stop_timer, master);
	master->reload.timer = evtimer_new(master->base, reload_on_timer, master);
	if (master->stop_timer == NULL || master->reload.timer == NULL || add_signal(master, SIGCHLD, on_child_signal) != 0 ||
	    add_signal(master, SIGTERM, on_stop_signal) != 0 ||
	    add_signal(master, SIGINT, on_stop_signal) != 0 || add_signal(master, SIGHUP, on_reload_signal) != 0)
		return err_set(err, E_NOMEM, "no memory for the event loop");
	r = master_open_log(master, master->now.conf, err);
	if (r == 0)
		r = make_missing(master->now.conf, err);
	if (r == 0) {
		warn_of_no_syslog(master);
		r = listeners_open(master, err);
	}
	if (r == 0)
		r = run_directory_write_pid(&master->instance, err);
	if (r == 0)
		r = master_control_open(master, err);
	if (r == 0)
		r = children_plan(master, err);
	if (r == 0)
		r = reload_watch_files(master, err);
	if (r == 0)
		r = tickets_begin(master, err);
	return r;
}

static int master_run(struct master *master, struct err *err)
{
	int r = 0;

	randombytes_buf(master->grant_key, sizeof(master->grant_key));
	randombytes_buf(master->program_key, sizeof(master->program_key));
	master->separate_users = geteuid() == 0;
	master->started_ms = clock_monotonic_ms();
	log_event(EV_master_start, NULL, F_STR("conf", master->instance.conf));
	if (!master->separate_users)
		log_event(EV_master_no_user_separation, NULL, F_U64("uid", geteuid()));
	for (size_t i = 0; i < master->child_count && r == 0; i++)
		r = child_start(&master->children[i], err);
	if (r != 0)
		return r;
	do
		log_flush();
	while (!event_base_got_break(master->base) && event_base_loop(master->base, EVLOOP_ONCE) == 0 &&
	       !event_base_got_break(master->base));
	sink_drain(master->sink);
	return 0;
}

/* Each certificate is a descriptor, here and in the daemons until they are confined. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int usage(void)
{
	fprintf(stderr, "usage: master [--root DIR] [--foreground] [--ready-fd N] --libexec DIR\n");
	return EX_USAGE;
}

int main(int argc, char **argv)
{
	struct master *master = calloc(1, sizeof(*master));
	const char *root = NULL, *libexec = NULL;
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct err err = {0};
	int r;

	if (master == NULL || sodium_init() < 0)
		return EX_OSERR;
	master->ready_fd = -1;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--root") == 0 && i + 1 < argc)
			root = argv[++i];
		else if (strcmp(argv[i], "--libexec") == 0 && i + 1 < argc)
			libexec = argv[++i];
		else if (strcmp(argv[i], "--ready-fd") == 0 && i + 1 < argc)
			master->ready_fd = atoi(argv[++i]);
		else if (strcmp(argv[i], "--foreground") == 0)
			master->foreground = true;
		else
			return usage();
	}
	if (libexec == NULL)
		return usage();
	snprintf(master->libexec, sizeof(master->libexec), "%s", libexec);
	sigaction(SIGPIPE, &ignore, NULL);
	raise_descriptors();
	umask(022);
	r = instance_find(&master->instance, root, &err);
	if (r == 0)
		r = settings_load(&master->instance, NULL, &master->now, &err);
	master->started = master->now.conf;
	master->generation = 1;
	if (r == 0)
		r = master_setup(master, &err);
	if (r == 0)
		r = master_run(master, &err);
	if (r != 0) {
		report_ready(master, err.text);
		if (master->foreground)
			fprintf(stderr, "mailwain: %s\n", err.text);
		if (master->sink != NULL)
			log_event(EV_master_failed, NULL, F_ERR(&err));
		master->exit_status = r == E_BUSY ? EX_CANTCREAT : EX_CONFIG;
	}
	listeners_close(master);
	master_control_close(master);
	log_flush();
	if (master->sink != NULL)
		sink_close(&master->sink);
	return master->exit_status;
}
