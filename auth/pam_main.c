/* auth-pam: who are the users of this machine, and is this their password? */
#include "auth/pam_daemon.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

struct pam_daemon {
	struct daemon *daemon;
	struct pam_tasks *tasks;
	struct ipc_conn *auth; /* its only client; NULL while there is none */
};

static void take_login(struct pam_daemon *pam, struct ipc_conn *conn, uint32_t id, const struct pam_login *ask)
{
	struct pam_question question = {.proved = ask->proved};

	span_copy(ask->user, question.user, sizeof(question.user));
	span_copy(ask->service, question.service, sizeof(question.service));
	span_copy(ask->remote, question.remote, sizeof(question.remote));
	/* PAM's strings end with NUL, and what stands behind one would not be looked at: nobody has such a password. */
	if (memchr(ask->password.ptr, '\0', ask->password.len) != NULL || !secret_set(&question.password, ask->password)) {
		struct pam_login_answer wrong = {.code = E_AUTHFAILED};

		ipc_conn_answer(conn, &ipc_pam_login_answer, id, &wrong, -1);
		return;
	}
	pam_tasks_add(pam->tasks, conn, id, &question);
	secret_wipe(&question.password);
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct pam_daemon *pam = arg;
	struct pam_question find = {.find = true};

	if (m->type == &ipc_pam_login) {
		take_login(pam, conn, m->id, (const void *)m->body);
		return 0;
	}
	span_copy(((const struct pam_find *)(const void *)m->body)->user, find.user, sizeof(find.user));
	pam_tasks_add(pam->tasks, conn, m->id, &find);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct pam_daemon *pam = arg;

	(void)conn;
	pam_tasks_drop(pam->tasks);
	pam->auth = NULL;
}

static const struct ipc_conn_callbacks callbacks = {on_message, on_closed};

static void pam_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct pam_daemon *pam = daemon_state(daemon);

	(void)service;
	(void)role;
	if (!serving) {
		close(fd);
		return;
	}
	/* auth has died, and its end is not yet seen. */
	if (pam->auth != NULL) {
		pam_tasks_drop(pam->tasks);
		ipc_conn_free(&pam->auth);
	}
	pam->auth = ipc_conn_new(daemon_base(daemon), fd, &ipc_service_pam, TO_SERVICE, &callbacks, pam);
}

/* Without a file of its own PAM takes "other", which on most machines lets nobody in. */
static void look_for_service(struct daemon *daemon)
{
	static const char *const places[] = {"/etc/pam.d", "/usr/lib/pam.d"};
	struct span service = conf_text(daemon_conf(daemon), CONF_pam_service, NULL);
	char path[512];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/%.*s", places[i], SPAN_ARG(span_sub(service, 0, 256)));
		if (access(path, F_OK) == 0)
			return;
	}
	log_event(EV_pam_no_service, daemon_log(daemon), F_SPAN("pam_service", service));
}

static int pam_confined(struct daemon *daemon, struct err *err)
{
	struct pam_daemon *pam = daemon_state(daemon);

	pam->daemon = daemon;
	if (geteuid() != 0)
		log_event(EV_pam_unprivileged, daemon_log(daemon), F_STR("lacks", "root"));
	else if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0)
		log_event(EV_pam_unprivileged, daemon_log(daemon), F_STR("lacks", "seccomp"));
	look_for_service(daemon);
	pam->tasks = pam_tasks_new(daemon, PAM_DEADLINE_MS);
	return pam->tasks != NULL ? 0 : err_set(err, E_NOMEM, "no memory for conversations with PAM");
}

static int pam_reload(struct daemon *daemon, struct err *err)
{
	(void)err;
	look_for_service(daemon);
	return 0;
}

static void pam_halt(struct daemon *daemon)
{
	struct pam_daemon *pam = daemon_state(daemon);

	pam_tasks_drop(pam->tasks);
	daemon_finished(daemon);
}

static void pam_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct pam_daemon *pam = daemon_state(daemon);

	pam_tasks_stats(pam->tasks, stats);
}

int main(void)
{
	static struct pam_daemon pam;
	struct daemon_spec spec = {.name = "auth-pam",
	    .profile = profile_find("auth-pam"),
	    .confined = pam_confined,
	    .reload = pam_reload,
	    .halt = pam_halt,
	    .peer = pam_peer,
	    .stats = pam_stats,
	    .state = &pam};

	if (sodium_init() < 0)
		return 1;
	return daemon_run(&spec);
}
