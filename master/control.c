/* The control requests of the suite as a whole: status, stop, reload. */
#include "master/master.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "net/control.h"
#include "net/ipc_conn.h"

#include <event2/event.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum { STATUS_WAIT_S = 3 }; /* a daemon that does not answer within this time is shown without figures */

/* A status that waits for the daemons' figures. */
struct status {
	struct master *master;
	struct control_reply *reply;
	struct event *timer;
	int64_t deadline;
};

static uint64_t memory_of(pid_t pid)
{
	char path[64], line[128];
	uint64_t kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "Pss: %lu", &kib) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return kib * 1024;
}

static void user_of(pid_t pid, char *out, size_t size)
{
	char path[64], line[128];
	unsigned uid = 0;
	struct passwd *pw;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "Uid: %u", &uid) == 1)
			break;
	if (file != NULL)
		fclose(file);
	pw = getpwuid(uid);
	if (pw != NULL)
		snprintf(out, size, "%s", pw->pw_name);
	else
		snprintf(out, size, "%u", uid);
}

static void status_row(struct control_reply *reply, const char *name, const struct child *child,
    pid_t pid, int64_t started_ms, struct span note)
{
	static const char *const states[] = {"down", "starting", "ready", "stopping", "ended"};
	struct buf row;
	char user[64] = "-";

	buf_init(&row, 4096);
	if (pid > 0)
		user_of(pid, user, sizeof(user));
	buf_printf(&row,
	    "{\"name\":\"%s\",\"state\":\"%s\",\"pid\":%d,\"user\":\"%s\",\"uptime\":%lld,"
	    "\"restarts\":%u,\"connections\":%u,\"memory\":%llu",
	    name, child ? states[child->state] : "ready", (int)pid, user,
	    pid > 0 ? (long long)(clock_monotonic_ms() - started_ms) / 1000 : 0LL,
	    child ? child->deaths : 0, child && child->stats_fresh ? child->stats.connections : 0,
	    (unsigned long long)(pid > 0 ? memory_of(pid) : 0));
	buf_printf(&row, ",\"total\":%llu,\"note\":",
	    (unsigned long long)(child && child->stats_fresh ? child->stats.total : 0));
	json_add_string(&row, note);
	buf_add_char(&row, '}');
	control_reply_row(reply, buf_span(&row));
	buf_fini(&row);
}

/* One that was not asked, as it was still starting, owes no answer. */
static bool owes_figures(const struct child *child)
{
	return child->state == CHILD_READY && child->stats_asked && !child->stats_fresh;
}

static void status_finish(struct status *status)
{
	struct master *master = status->master;
	struct buf note;

	buf_init(&note, 2048);
	if (!master->separate_users)
		buf_add_str(&note, "user separation is off: started by an ordinary user");
	reload_pending_restart(master, &note);
	aliases_note(master, &note);
	status_row(status->reply, "master", NULL, getpid(), master->started_ms, buf_span(&note));
	for (size_t i = 0; i < master->child_count; i++) {
		const struct child *child = &master->children[i];
		bool silent = owes_figures(child);

		buf_clear(&note);
		if (silent)
			buf_printf(&note, "no answer within %d s: its figures are not known", STATUS_WAIT_S);
		if (silent && child->note[0] != '\0')
			buf_add_str(&note, "; ");
		buf_add_str(&note, child->note);
		status_row(status->reply, child->kind->name, child, child->pid, child->started_ms, buf_span(&note));
	}
	buf_fini(&note);
	control_reply_done(status->reply, EX_OK, "%s", "");
	event_free(status->timer);
	free(status);
}

static void status_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct status *status = arg;
	struct timeval tv = {.tv_usec = 5000};
	bool all = true;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < status->master->child_count; i++)
		all &= !owes_figures(&status->master->children[i]);
	if (all || clock_monotonic_ms() >= status->deadline)
		status_finish(status);
	else
		evtimer_add(status->timer, &tv);
}

static void status_begin(struct master *master, struct control_reply *reply)
{
	struct status *status = calloc(1, sizeof(*status));
	struct master_query query = {0};
	struct timeval tv = {.tv_usec = 2000};

	if (status != NULL)
		status->timer = evtimer_new(master->base, status_on_timer, status);
	if (status == NULL || status->timer == NULL) {
		free(status);
		control_reply_done(reply, EX_TEMPFAIL, "out of memory");
		return;
	}
	status->master = master;
	status->reply = reply;
	status->deadline = clock_monotonic_ms() + STATUS_WAIT_S * 1000;
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];

		child->stats_fresh = false;
		child->stats_asked = child->state == CHILD_READY && child->conn != NULL && ipc_conn_send(child->conn, &ipc_master_query, 0, &query, -1) == 0;
	}
	evtimer_add(status->timer, &tv);
}

/* ---- tls show ---- */

enum { TLS_TEXT_MAX = 40000 }; /* of a certificate's file: no chain is as long, and it must fit in a row */

static void add_listeners(const struct master *master, struct buf *row)
{
	size_t before = buf_len(row);

	for (size_t i = 0; i < master->socket_count; i++) {
		const struct master_socket *s = &master->sockets[i];

		if (child_service_has_tls(span_str(s->service)))
			buf_printf(row, "%s%s %s", buf_len(row) > before ? ", " : "", s->service, s->address);
	}
}

/* Certificates as they were handed out. What they say is for the command to read: master reads nothing that others wrote. */
static void tls_row(const struct master *master, struct control_reply *reply, const struct master_file_copy *file)
{
	const char *domain = strchr(file->name, ' ');
	struct buf row, listeners, text;
	char *room;

	buf_init(&text, TLS_TEXT_MAX);
	room = buf_reserve(&text, TLS_TEXT_MAX);
	if (room != NULL) {
		ssize_t n = pread(file->fd, room, TLS_TEXT_MAX, 0);

		buf_added(&text, n > 0 ? (size_t)n : 0);
	}
	buf_init(&row, 2 * TLS_TEXT_MAX);
	buf_init(&listeners, 8192);
	add_listeners(master, &listeners);
	buf_add_str(&row, "{\"domain\":");
	json_add_string(&row, span_str(domain ? domain + 1 : ""));
	buf_add_str(&row, ",\"listeners\":");
	json_add_string(&row, buf_span(&listeners));
	buf_add_str(&row, ",\"file\":");
	json_add_string(&row, span_str(file->path));
	buf_add_str(&row, ",\"pem\":");
	json_add_string(&row, buf_span(&text));
	buf_add_char(&row, '}');
	control_reply_row(reply, buf_span(&row));
	buf_fini(&text);
	buf_fini(&listeners);
	buf_fini(&row);
}

static void tls_show(const struct master *master, struct control_reply *reply)
{
	size_t count = 0;

	for (size_t i = 0; i < master->now.file_count; i++)
		if (master->now.files[i].kind == FILE_CERTIFICATE) {
			tls_row(master, reply, &master->now.files[i]);
			count++;
		}
	control_reply_done(reply, EX_OK, "%s", count > 0 ? "" : "no certificate is set; write: tls certificate FILE key FILE");
}

static void on_request(void *arg, struct control_reply *reply, const struct span *args, size_t count,
    struct span input, struct span secret)
{
	struct master *master = arg;

	(void)input;
	(void)secret;
	if (count == 1 && span_eq(args[0], SPAN_LIT("status")))
		status_begin(master, reply);
	else if (count == 1 && span_eq(args[0], SPAN_LIT("reload")))
		master_reload(master, reply);
	else if (count == 2 && span_eq(args[0], SPAN_LIT("tls")) && span_eq(args[1], SPAN_LIT("show")))
		tls_show(master, reply);
	else if (count == 1 && span_eq(args[0], SPAN_LIT("stop"))) {
		control_reply_done(reply, EX_OK, "%s", "");
		master_stop(master);
	} else {
		control_reply_done(reply, EX_USAGE, "unknown request");
	}
}

int master_control_open(struct master *master, struct err *err)
{
	int fd;
	int r = control_socket_open(master, "master", &fd, err);

	if (r != 0)
		return r;
	master->control = control_server_new_on(master->base, fd, on_request, master);
	return master->control ? 0 : err_set(err, E_NOMEM, "no memory for the control socket");
}

void master_control_close(struct master *master)
{
	char path[4200];

	if (master->control == NULL)
		return;
	control_server_free(&master->control);
	snprintf(path, sizeof(path), "%s/master.sock", master->instance.run);
	unlink(path);
}
