/*
 * agent: commands and files of aliases. Root, but of root's powers it has only those to become a user and to end what runs
 * too long. It reads neither mail nor addresses: auth's grant says what may be run, a supervisor does the rest (agent_run.c).
 */
#include "lmtp/agent.h"

#include "base/log.h"
#include "net/ipc_conn.h"
#include "proc/daemon.h"
#include "proc/fork.h"
#include "proc/grant.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

enum {
	MDWE_REFUSE_EXEC_GAIN = 1,
	MDWE_NO_INHERIT = 2,
	AGENT_OVERTIME_S = 60,	    /* that a supervisor may take beyond the command's time */
	AGENT_CAPABILITY_LAST = 63, /* also of kernels that are newer than the headers */
};

/* A supervisor; its answer comes through the pipe: a code, then the text. */
struct job {
	struct job *next, **link;
	struct agent *agent;
	struct ipc_conn *conn; /* NULL: nobody waits any more */
	uint32_t id;
	pid_t pid;
	int fd;
	struct event *readable;
	char name[65];
};

struct peer {
	struct agent *agent;
	struct ipc_conn *conn;
};

struct agent {
	struct daemon *daemon;
	pid_t self;
	unsigned char key[GRANT_KEY];
	struct job *jobs;
	unsigned count;
	uint64_t total;
	bool halting;
};

struct answer {
	int code;
	char text[AGENT_TEXT_MAX];
};

/* ---- answers ---- */

static void answer(struct ipc_conn *conn, uint32_t id, int code, const char *text)
{
	struct agent_result body = {.code = code, .text = span_sub(span_str(text), 0, AGENT_TEXT_MAX)};

	if (conn != NULL)
		ipc_conn_answer(conn, &ipc_agent_result, id, &body, -1);
}

static void job_free(struct job *job)
{
	struct agent *agent = job->agent;

	*job->link = job->next;
	if (job->next != NULL)
		job->next->link = job->link;
	if (job->readable != NULL)
		event_free(job->readable);
	if (job->fd >= 0)
		close(job->fd);
	free(job);
	agent->count--;
	if (agent->halting && agent->count == 0)
		daemon_finished(agent->daemon);
}

/* The supervisor has spoken, or is dead, or has not ended in its time. */
static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct job *job = arg;
	struct answer a = {0};
	bool whole = (what & EV_READ) != 0 && read(fd, &a, sizeof(a)) == (ssize_t)sizeof(a);

	if (!whole) {
		a.code = E_UNAVAILABLE;
		snprintf(a.text, sizeof(a.text), "what watches the command ended badly");
		kill(job->pid, SIGTERM);
	}
	a.text[sizeof(a.text) - 1] = '\0';
	while (waitpid(job->pid, NULL, 0) < 0 && errno == EINTR)
		;
	log_event(a.code == 0 ? EV_agent_done : EV_agent_failed, daemon_log(job->agent->daemon), F_STR("alias", job->name), F_STR("status", a.text));
	answer(job->conn, job->id, a.code, a.text);
	job_free(job);
}

/* ---- jobs ---- */

static void make_rules(struct agent *agent, char texts[2][64], struct agent_rules *out)
{
	const struct conf *conf = daemon_conf(agent->daemon);

	span_copy(conf_text(conf, CONF_aliases_user, NULL), texts[0], 64);
	span_copy(conf_text(conf, CONF_user_prefix, NULL), texts[1], 64);
	*out = (struct agent_rules){.fallback = texts[0], .prefix = texts[1], .timeout_ms = conf_ms(conf, CONF_aliases_timeout, NULL)};
}

/* In the new process: it has two descriptors, and ends when the daemon does. */
static _Noreturn void supervisor(struct agent *agent, const struct agent_run *ask, int content, int report)
{
	struct agent_rules rules;
	struct sigaction plain = {.sa_handler = SIG_DFL};
	struct answer a = {0};
	char texts[2][64];

	/* The daemon's own handler would tell the daemon. */
	fork_ready(SIGTERM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != agent->self)
		_exit(1);
	sigaction(SIGPIPE, &plain, NULL);
	make_rules(agent, texts, &rules);
	/* They may have each other's numbers. */
	content = fcntl(content, F_DUPFD, 16);
	report = fcntl(report, F_DUPFD, 16);
	if (dup2(content, 10) != 10 || dup2(report, 11) != 11 || fcntl(10, F_SETFD, FD_CLOEXEC) != 0 || fcntl(11, F_SETFD, FD_CLOEXEC) != 0)
		_exit(1);
	close_range(3, 9, 0);
	close_range(12, ~0U, 0);
	explicit_bzero(agent->key, sizeof(agent->key));
	a.code = agent_run(ask, 10, &rules, a.text);
	_exit(write(11, &a, sizeof(a)) == (ssize_t)sizeof(a) ? 0 : 1);
}

static struct job *job_new(struct agent *agent, struct ipc_conn *conn, uint32_t id, struct span name)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return NULL;
	*job = (struct job){.agent = agent, .conn = conn, .id = id, .fd = -1, .next = agent->jobs, .link = &agent->jobs};
	span_copy(name, job->name, sizeof(job->name));
	if (job->next != NULL)
		job->next->link = &job->next;
	agent->jobs = job;
	agent->count++;
	agent->total++;
	return job;
}

static int job_start(struct job *job, const struct agent_run *ask, int content)
{
	struct agent *agent = job->agent;
	struct timeval tv = {.tv_sec = (time_t)(conf_ms(daemon_conf(agent->daemon), CONF_aliases_timeout, NULL) / 1000) + AGENT_OVERTIME_S};
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return E_NOFILES;
	log_flush();
	job->pid = fork_holding_back(SIGTERM);
	if (job->pid == 0)
		supervisor(agent, ask, content, fds[1]);
	close(fds[1]);
	job->fd = fds[0];
	if (job->pid < 0)
		return E_UNAVAILABLE;
	job->readable = event_new(daemon_base(agent->daemon), job->fd, EV_READ, on_answer, job);
	return job->readable != NULL && event_add(job->readable, &tv) == 0 ? 0 : E_NOMEM;
}

/* What nobody but auth can have asked for. */
static const char *refusal(const struct agent *agent, const struct agent_run *ask)
{
	bool known = ask->kind == AGENT_PIPE || ask->kind == AGENT_FILE;

	if (!known || !grant_check_program(agent->key, ask->kind, ask->name, ask->program, grant_now(), ask->grant))
		return "nobody has allowed this command, or too long ago";
	if (memchr(ask->program.ptr, '\0', ask->program.len) != NULL || memchr(ask->name.ptr, '\0', ask->name.len) != NULL)
		return "the command is malformed";
	return NULL;
}

static void run(struct agent *agent, struct ipc_conn *conn, uint32_t id, const struct agent_run *ask, int content)
{
	const char *why = refusal(agent, ask);
	struct job *job;
	int r;

	if (why != NULL || agent->count >= AGENT_RUNS_MAX || agent->halting) {
		answer(conn, id, why != NULL ? E_UNAVAILABLE : E_BUSY, why != NULL ? why : "too many commands run already");
		return;
	}
	job = job_new(agent, conn, id, ask->name);
	r = job != NULL ? job_start(job, ask, content) : E_NOMEM;
	if (r == 0)
		return;
	answer(conn, id, r, err_text(r));
	if (job != NULL && job->pid > 0)
		kill(job->pid, SIGTERM);
	if (job != NULL)
		job_free(job);
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct peer *peer = arg;

	if (m->type != &ipc_agent_run)
		return E_PROTO;
	if (m->fd_lost || m->fd < 0) {
		answer(conn, m->id, E_NOFILES, err_text(E_NOFILES));
		return 0;
	}
	run(peer->agent, conn, m->id, (const void *)m->body, m->fd);
	close(m->fd);
	return 0;
}

/* Commands that run go on; their answers are nobody's. */
static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct peer *peer = arg;

	for (struct job *job = peer->agent->jobs; job != NULL; job = job->next)
		if (job->conn == conn)
			job->conn = NULL;
	free(peer);
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

/* ---- the daemon ---- */

static void agent_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct peer *peer = serving && span_eq(role, SPAN_LIT("queue")) ? calloc(1, sizeof(*peer)) : NULL;

	(void)service;
	if (peer == NULL) {
		close(fd);
		return;
	}
	peer->agent = daemon_state(daemon);
	peer->conn = ipc_conn_new(daemon_base(daemon), fd, &ipc_service_agent, TO_SERVICE, &callbacks, peer);
	if (peer->conn == NULL)
		free(peer);
}

static bool is_kept(int capability)
{
	return capability == CAP_SETUID || capability == CAP_SETGID || capability == CAP_KILL;
}

/*
 * No profile: what it starts is the user's, who must find the machine as it is. Landlock, seccomp's filters and no_new_privs are
 * inherited and cannot be given back: with the last one procmail, mailman's wrapper and whatever else has a set-id bit would run without
 * it; a filter is wrong for somebody (who traces, who makes a container), and one of the calls alone that need a capability which nobody below
 * has would refuse what the kernel refuses. A confined process between queue and this one would have to hand on the same message, and this
 * one to check the same grant. What is not inherited it has: its own memory is never both written and run.
 * CAP_KILL: without it a command that ignores its time could not be ended.
 */
static int agent_confine(struct daemon *daemon, struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	const struct rlimit none = {0, 0};

	(void)daemon;
	umask(077);
	(void)prctl(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN | MDWE_NO_INHERIT, 0, 0, 0); /* Linux 6.6 */
	if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0)
		return err_set_errno(err, errno, "limits of agent");
	if (geteuid() != 0)
		return 0;
	for (int cap = 0; cap <= AGENT_CAPABILITY_LAST; cap++)
		if (!is_kept(cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EINVAL)
			return err_set_errno(err, errno, "dropping capability %d", cap);
	data[0].effective = data[0].permitted = 1U << CAP_SETUID | 1U << CAP_SETGID | 1U << CAP_KILL;
	if (syscall(SYS_capset, &header, data) != 0)
		return err_set_errno(err, errno, "capset");
	return 0;
}

static int agent_confined(struct daemon *daemon, struct err *err)
{
	struct agent *agent = daemon_state(daemon);

	agent->daemon = daemon;
	agent->self = getpid();
	if (!daemon_secret(daemon, "programs", agent->key, sizeof(agent->key)))
		return err_set(err, E_BUG, "master gave no key for grants of programs");
	return 0;
}

static void agent_halt(struct daemon *daemon)
{
	struct agent *agent = daemon_state(daemon);

	agent->halting = true;
	if (agent->count == 0)
		daemon_finished(daemon);
}

static void agent_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct agent *agent = daemon_state(daemon);

	stats->connections = agent->count;
	stats->total = agent->total;
}

int main(void)
{
	static struct agent agent;
	struct daemon_spec spec = {.name = "agent",
	    .confine = agent_confine,
	    .confined = agent_confined,
	    .peer = agent_peer,
	    .halt = agent_halt,
	    .stats = agent_stats,
	    .state = &agent};

	if (sodium_init() < 0)
		return 1;
	return daemon_run(&spec);
}
