#include "imapd/spawner.h"

#include "base/log.h"
#include "imapd/session.h"
#include "mime/charset.h"
#include "mime/fold.h"
#include "net/ipc_conn.h"
#include "proc/fork.h"
#include "store/account.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { CHILD_CLIENT = 3, CHILD_WAKE, CHILD_DIR, CHILD_FREE };
enum { WAKE_WAIT_MAX = 4096, START_BURST = 4 };

/* ---- the session's end of the spawner ---- */

static int on_wake(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct spawned *session = arg;

	(void)conn;
	if (m->type == &ipc_wake_hibernate) {
		ipc_conn_free(&session->wake); /* its last word */
		if (m->fd_lost || !sleeper_begin(session, (const void *)m->body, m->fd))
			session_gone(session);
		return 0;
	}
	watch_set(session, ((const struct wake_watch *)(const void *)m->body)->on);
	sleeper_resumed(session);
	return 0;
}

static void on_wake_closed(void *arg, struct ipc_conn *conn)
{
	struct spawned *session = arg;

	(void)conn;
	session->wake = NULL;
	watch_set(session, false);
	sleeper_resumed(session);
	if (session->pid == 0) /* said that it hibernates, and did not */
		session_gone(session);
}

static const struct ipc_conn_callbacks wake_callbacks = {on_wake, on_wake_closed};

void session_gone(struct spawned *session)
{
	struct spawned **number = &session->spawner->numbers[session->number % SPAWNER_BUCKETS];

	watch_set(session, false);
	sleeper_end(session);
	if (session->wake != NULL)
		ipc_conn_free(&session->wake);
	*session->link = session->next;
	if (session->next != NULL)
		session->next->link = session->link;
	while (*number != session)
		number = &(*number)->number_next;
	*number = session->number_next;
	session->spawner->count--;
	free(session->listener);
	free(session);
}

/* One that does not even take this sees that its channel ends. */
void session_say_kick(struct spawned *session)
{
	const struct wake_kick body = {0};

	if (session->wake != NULL && ipc_conn_send(session->wake, &ipc_wake_kick, 0, &body, -1) != 0)
		ipc_conn_lose(&session->wake);
}

/* One that hibernates ends as any other, in a process: there may be something to be written. */
static void kick(struct spawner *spawner, uint64_t account)
{
	struct spawned *s = spawner->sessions;

	while (s != NULL) {
		struct spawned *next = s->next;

		if (s->account == account && !s->kicked) {
			s->kicked = true;
			if (s->asleep)
				sleeper_wake(s);
			else
				session_say_kick(s); /* it may be gone now */
		}
		s = next;
	}
}

/* ---- making one ---- */

/* Nobody else will answer the client. */
static _Noreturn void refuse_and_exit(const struct child_words *words, int client)
{
	char text[IMAP_TAG_MAX + 100] = "";
	int len = 0;

	if (words->state.len == 0)
		len = snprintf(text, sizeof(text), "%.*s NO [UNAVAILABLE] Too many open files; try again\r\n", SPAN_ARG(words->tag));
	len += snprintf(text + len, sizeof(text) - (size_t)len, "* BYE Try again later\r\n");
	(void)!send(client, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
	log_event(EV_imap_error, NULL, F_SPAN("user", words->user), F_STR("error", err_text(E_NOFILES)));
	log_flush();
	_exit(EX_OSERR);
}

/* Of the block by which its client came. imapd says which one, and can choose among them, but name no limits of its own. */
static struct conf_where where_of(const struct spawned *session)
{
	const struct conf *conf = daemon_conf(session->spawner->daemon);
	const struct conf_listener *plain = conf_listener_find(conf, SPAN_LIT("imap"), span_str(session->listener));

	return (struct conf_where){.listener = plain != NULL ? plain : conf_listener_find(conf, SPAN_LIT("imaps"), span_str(session->listener))};
}

/* In the new process. Everything but client, spawner and directory is closed; the log keeps its place. */
static _Noreturn void child_main(const struct spawned *session, const struct child_words *words, int client, int wake, int dir)
{
	struct spawner *spawner = session->spawner;
	const struct conf *conf = daemon_conf(spawner->daemon);
	const struct conf_where where = where_of(session);
	struct session_start_options options = {.fd = CHILD_CLIENT,
	    .wake = CHILD_WAKE,
	    .dir = CHILD_DIR,
	    .quota = session->quota,
	    .message_size = conf_u64(conf, CONF_message_size, &where),
	    .timeout_ms = conf_ms(conf, CONF_imap_timeout, &where),
	    .hibernate_ms = conf_ms(conf, CONF_imap_hibernate_after, NULL),
	    .undo_days = (unsigned)conf_u64(conf, CONF_undo_days, NULL),
	    .input = words->input,
	    .state = words->state,
	    .left_ms = words->left_ms};
	char user[321], remote[65], tag[IMAP_TAG_MAX + 1];
	int high[3] = {fcntl(client, F_DUPFD_CLOEXEC, 1000), fcntl(wake, F_DUPFD_CLOEXEC, 1000), fcntl(dir, F_DUPFD_CLOEXEC, 1000)};

	signal(SIGCHLD, SIG_DFL);
	fork_ready(SIGTERM, SIG_DFL);
	for (int i = 0; i < 3; i++)
		if (high[i] < 0 || dup2(high[i], CHILD_CLIENT + i) < 0)
			refuse_and_exit(words, client);
	close_range(CHILD_FREE, ~0U, 0);
	fcntl(CHILD_WAKE, F_SETFL, O_NONBLOCK);
	span_copy(words->user, user, sizeof(user));
	span_copy(words->remote, remote, sizeof(remote));
	span_copy(words->tag, tag, sizeof(tag));
	options.user = user;
	options.remote = remote;
	options.tag = tag;
	/* The grant key and others' account numbers must not be in a process that strangers talk to. */
	explicit_bzero(spawner->key, sizeof(spawner->key));
	_exit(session_main(&options));
}

int session_fork(struct spawned *session, int client, const struct child_words *words, struct err *err)
{
	struct spawner *spawner = session->spawner;
	int wake[2], dir = store_account_open(session->account, err);
	int r = dir >= 0 ? ipc_pair(wake, err) : dir;
	pid_t pid = 0;

	/* Before the fork: a session whose channel is not there would say that the server stops. */
	if (r == 0) {
		session->wake = ipc_conn_new(daemon_base(spawner->daemon), wake[0], &ipc_service_wake, TO_SERVICE, &wake_callbacks, session);
		if (session->wake == NULL) {
			close(wake[1]);
			r = err_set(err, E_NOMEM, "no memory for a session");
		}
	}
	if (r == 0) {
		log_flush();
		pid = fork_holding_back(SIGTERM);
		if (pid == 0)
			child_main(session, words, client, wake[1], dir);
		if (pid < 0)
			r = err_set_errno(err, errno, "fork");
		close(wake[1]);
		if (r != 0)
			ipc_conn_free(&session->wake);
	}
	if (dir >= 0)
		close(dir);
	if (r != 0)
		return r;
	session->pid = pid;
	/* One that does not read what it asks for is owed no more than a few answers. */
	ipc_conn_wait_max(session->wake, WAKE_WAIT_MAX);
	return 0;
}

static int session_new(struct spawner *spawner, const struct session_start *start, int client, pid_t *pid, struct err *err)
{
	struct child_words words = {.user = start->user, .remote = start->remote, .tag = start->tag, .input = start->input};
	struct spawned *session = calloc(1, sizeof(*session));
	int r;

	if (session == NULL)
		return err_set(err, E_NOMEM, "no memory for a session");
	session->spawner = spawner;
	session->account = start->account;
	session->quota = start->quota;
	session->listener = strndup(start->listener.len > 0 ? start->listener.ptr : "", start->listener.len);
	r = session->listener != NULL ? session_fork(session, client, &words, err) : err_set(err, E_NOMEM, "no memory for a session");
	if (r != 0) {
		free(session->listener);
		free(session);
		return r;
	}
	*pid = session->pid;
	session->next = spawner->sessions;
	session->link = &spawner->sessions;
	if (session->next != NULL)
		session->next->link = &session->next;
	spawner->sessions = session;
	session->number = ++spawner->last_number;
	session->number_next = spawner->numbers[session->number % SPAWNER_BUCKETS];
	spawner->numbers[session->number % SPAWNER_BUCKETS] = session;
	spawner->count++;
	spawner->total++;
	return 0;
}

uint32_t sessions_awake(const struct spawner *spawner)
{
	return spawner->count - spawner->asleep;
}

uint32_t sessions_max(const struct spawner *spawner)
{
	return (uint32_t)conf_u64(daemon_conf(spawner->daemon), CONF_imap_sessions, NULL);
}

static uint64_t count_of(const struct spawner *spawner, uint64_t account)
{
	uint64_t count = 0;

	for (const struct spawned *s = spawner->sessions; s != NULL; s = s->next)
		count += s->account == account;
	return count;
}

static int check(struct spawner *spawner, const struct session_start *start, struct err *err)
{
	if (!grant_check(spawner->key, GRANT_LOGIN, start->account, start->quota, start->user, grant_now(), start->grant))
		return err_set(err, E_DENIED, "the login was not granted");
	if (spawner->halting)
		return err_set(err, E_UNAVAILABLE, "the server is stopping");
	if (sessions_awake(spawner) >= sessions_max(spawner))
		return err_set(err, E_LIMIT, "the server has as many IMAP sessions as it may; imap-sessions is the setting");
	if (count_of(spawner, start->account) >= conf_u64(daemon_conf(spawner->daemon), CONF_imap_sessions_per_account, NULL))
		return err_set(err, E_LIMIT, "the account has as many IMAP sessions as it may; imap-sessions-per-account is the setting");
	return 0;
}

static void on_start(struct spawner *spawner, struct ipc_conn *conn, struct ipc_message *m)
{
	const struct session_start *start = (const void *)m->body;
	struct session_started answer = {0};
	struct err err = {0};
	pid_t pid = 0;

	answer.code = m->fd_lost ? err_set(&err, E_NOFILES, "no descriptor free for the connection") : check(spawner, start, &err);
	if (answer.code == 0)
		answer.code = session_new(spawner, start, m->fd, &pid, &err);
	if (m->fd >= 0)
		close(m->fd);
	answer.pid = (uint32_t)pid;
	answer.text = span_str(err.text);
	if (answer.code != 0)
		log_event(EV_imap_error, daemon_log(spawner->daemon), F_SPAN("user", start->user), F_ERR(&err));
	ipc_conn_send(conn, &ipc_session_started, m->id, &answer, -1);
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	if (m->type == &ipc_session_kick)
		kick(arg, ((const struct session_kick *)(const void *)m->body)->account);
	else
		on_start(arg, conn, m);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	(void)arg;
	(void)conn;
}

static const struct ipc_conn_callbacks front_callbacks = {on_message, on_closed};

static void spawner_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct ipc_conn *front;

	(void)service;
	(void)role;
	if (!serving) {
		close(fd);
		return;
	}
	front = ipc_conn_new(daemon_base(daemon), fd, &ipc_service_session, TO_SERVICE, &front_callbacks, daemon_state(daemon));
	/* Every one is a fork: when thousands log in, those who end or hibernate must not wait for all of them. */
	if (front != NULL)
		ipc_conn_burst(front, START_BURST);
}

/* ---- life ---- */

static bool has_ended(const struct spawner *spawner)
{
	return spawner->sessions == NULL && spawner->keeper_pid == 0;
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	struct spawner *spawner = arg;
	int status;
	pid_t pid;

	(void)fd;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct spawned *session = spawner->sessions;

		if (pid == spawner->keeper_pid) {
			keeper_ended(spawner);
			continue;
		}
		while (session != NULL && session->pid != pid)
			session = session->next;
		if (session == NULL)
			continue;
		session->pid = 0;
		if (session->asleep || (session->wake != NULL && WIFEXITED(status) && WEXITSTATUS(status) == SESSION_EXIT_HIBERNATES))
			continue; /* it is asleep, or its last word is still to be read */
		if (WIFSIGNALED(status))
			log_event(EV_imap_error, daemon_log(spawner->daemon), F_U64("account", session->account),
			    F_I64("signal", WTERMSIG(status)), F_STR("error", "a session process ended badly"));
		session_gone(session);
	}
	if (spawner->halting && has_ended(spawner))
		daemon_finished(spawner->daemon);
}

static int spawner_prepare(struct daemon *daemon, struct err *err)
{
	struct spawner *spawner = daemon_state(daemon);

	spawner->daemon = daemon;
	if (!daemon_secret(daemon, "grant", spawner->key, sizeof(spawner->key)))
		return err_set(err, E_BUG, "no key for grants");
	mime_charset_preload();
	mime_fold_preload();
	return 0;
}

static int spawner_confined(struct daemon *daemon, struct err *err)
{
	struct spawner *spawner = daemon_state(daemon);
	int r;

	spawner->child_event = evsignal_new(daemon_base(daemon), SIGCHLD, on_child, spawner);
	if (spawner->child_event == NULL || event_add(spawner->child_event, NULL) != 0)
		return err_set(err, E_NOMEM, "no memory for the event loop");
	r = sleepers_init(spawner, err);
	return r == 0 ? watch_init(spawner, err) : r;
}

/* The closed channel tells the sessions: they say BYE after the command they are at. */
static void spawner_halt(struct daemon *daemon)
{
	struct spawner *spawner = daemon_state(daemon);
	struct spawned *s = spawner->sessions;

	spawner->halting = true;
	if (spawner->keeper != NULL)
		ipc_conn_free(&spawner->keeper); /* which says BYE */
	while (s != NULL) {
		struct spawned *next = s->next;

		watch_set(s, false);
		if (s->wake != NULL)
			ipc_conn_free(&s->wake);
		if (s->pid == 0)
			session_gone(s);
		s = next;
	}
	if (has_ended(spawner))
		daemon_finished(daemon);
}

static void spawner_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct spawner *spawner = daemon_state(daemon);

	stats->connections = spawner->count;
	stats->total = spawner->total;
}

int main(void)
{
	static struct spawner spawner;
	struct daemon_spec spec = {.name = "imap-session",
	    .profile = profile_find("imap-session"),
	    .prepare = spawner_prepare,
	    .confined = spawner_confined,
	    .peer = spawner_peer,
	    .halt = spawner_halt,
	    .stats = spawner_stats,
	    .state = &spawner};

	return daemon_run(&spec);
}
