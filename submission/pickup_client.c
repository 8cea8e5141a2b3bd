/* A program that hands letters in: who it is, how much at once, its memory file held against what it says. */
#include "submission/pickup.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CLIENT_POOL_MAX = 4 * 1024 * 1024, CLIENT_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

struct client {
	struct client *next, **link;
	struct pickup *pickup;
	struct ipc_conn *conn; /* NULL: it has gone, and its letter is under way */
	struct event *timer;
	uid_t uid;
	struct pool *pool; /* of the letter being told */
	struct letter letter;
	bool busy;
	bool starved; /* there was no memory for all of the letter's recipients: its answer says so */
};

static void client_free(struct client *client)
{
	*client->link = client->next;
	if (client->next != NULL)
		client->next->link = client->link;
	client->pickup->client_count--;
	ipc_conn_free(&client->conn);
	if (client->timer != NULL)
		event_free(client->timer);
	pool_free(&client->pool);
	free(client);
}

/* One letter after the other, each within this time. */
static void arm(struct client *client)
{
	struct timeval tv = {.tv_sec = PICKUP_CLIENT_MS / 1000};

	evtimer_add(client->timer, &tv);
}

/* What cannot be taken now sendmail puts into the drop; unless too much of its user's waits there already, of which only we know. */
static struct pickup_answer answer_for(const struct pickup *pickup, uid_t uid, int code, const char *qid, const char *text)
{
	if (code != 0 && err_is_temp(code) && drop_is_full(pickup, uid))
		return (struct pickup_answer){.code = E_RATE, .text = SPAN_LIT("Too many of your letters wait already")};
	return (struct pickup_answer){.code = code, .qid = span_str(qid), .text = span_str(text)};
}

static void send_answer(struct client *client, int code, const char *qid, const char *text)
{
	struct pickup_answer body = answer_for(client->pickup, client->uid, code, qid, text);

	if (body.code == E_RATE)
		log_event(EV_pickup_crowded, daemon_log(client->pickup->daemon), F_U64("uid", client->uid));
	if (client->conn != NULL)
		ipc_conn_send(client->conn, &ipc_pickup_answer, 0, &body, -1);
}

static void on_done(void *arg, int code, const char *qid, const char *text)
{
	struct client *client = arg;

	client->busy = false;
	send_answer(client, code, qid, text);
	if (client->conn == NULL)
		client_free(client);
	else
		arm(client);
}

/* ---- a letter ---- */

static int letter_begin(struct client *client)
{
	if (client->pool != NULL)
		return 0;
	client->letter = (struct letter){0};
	client->pool = pool_new(NULL, CLIENT_POOL_MAX);
	if (client->pool != NULL)
		client->letter.recipients = pool_array(client->pool, LETTER_RECIPIENTS, sizeof(*client->letter.recipients));
	return client->letter.recipients != NULL ? 0 : E_NOMEM;
}

static int take_recipient(struct client *client, const struct pickup_recipient *body)
{
	struct letter *letter = &client->letter;
	struct letter_recipient *r;

	if (client->starved || letter_begin(client) != 0) {
		client->starved = true;
		return 0;
	}
	if (letter->recipient_count == LETTER_RECIPIENTS || body->notify > 15)
		return E_PROTO;
	r = &letter->recipients[letter->recipient_count++];
	*r = (struct letter_recipient){.address = pool_span(client->pool, body->address), .notify = body->notify, .orcpt = pool_span(client->pool, body->orcpt)};
	client->starved = r->address.ptr == NULL || r->orcpt.ptr == NULL;
	return 0;
}

/*
 * Only a memory file that nobody can change any more: another one could be cut short or written to while it is copied, or lie
 * on a file system that answers when it likes.
 */
static int check_content(const struct client *client, int fd, uint64_t size, struct err *err)
{
	uint64_t most = conf_u64(daemon_conf(client->pickup->daemon), CONF_message_size, NULL);
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || (seals & CLIENT_SEALS) != CLIENT_SEALS)
		return err_set(err, E_PROTO, "The content is not in a sealed memory file");
	if (fstat(fd, &st) != 0)
		return err_set_errno(err, errno, "The content");
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size != size)
		return err_set(err, E_PROTO, "The content has not the size that was told");
	if (size > most)
		return err_set(err, E_TOOBIG, "The message is larger than the %llu octets allowed here", (unsigned long long)most);
	return 0;
}

static int copy_texts(struct client *client, const struct pickup_letter *body)
{
	struct letter *letter = &client->letter;
	struct pool *pool = client->pool;

	memcpy(letter->handover, body->handover.ptr, LETTER_HANDOVER);
	letter->user = pool_span(pool, body->user);
	letter->full_name = pool_span(pool, body->full_name);
	letter->sender = pool_span(pool, body->sender);
	letter->sender_given = body->sender_given;
	letter->envid = pool_span(pool, body->envid);
	letter->ret = body->ret;
	return letter->user.ptr != NULL && letter->full_name.ptr != NULL && letter->sender.ptr != NULL && letter->envid.ptr != NULL ? 0 : E_NOMEM;
}

static bool makes_sense(const struct client *client, const struct pickup_letter *body)
{
	return client->pool != NULL && client->letter.recipient_count > 0 && body->handover.len == LETTER_HANDOVER && body->ret <= SPOOL_RET_HDRS;
}

/* Ours from now on: fd. */
static int take_letter(struct client *client, const struct pickup_letter *body, int fd)
{
	struct pool *pool = client->pool;
	struct err err = {0};
	int r = client->starved ? E_NOMEM : makes_sense(client, body) ? copy_texts(client, body) : E_PROTO;

	client->starved = false;
	if (r == 0 && job_runs(client->pickup, client->uid, client->letter.handover))
		r = err_set(&err, E_BUSY, "This letter is under way");
	if (r == 0)
		r = check_content(client, fd, body->size, &err);
	if (r == E_PROTO) {
		close(fd);
		return E_PROTO;
	}
	if (r != 0) {
		log_event(EV_pickup_failed, daemon_log(client->pickup->daemon), F_U64("uid", client->uid), F_SPAN("user", body->user), F_STR("error", err.code ? err.text : err_text(r)));
		close(fd);
		pool_free(&client->pool);
		send_answer(client, r, "", err.code ? err.text : err_text(r));
		return 0;
	}
	evtimer_del(client->timer);
	client->busy = true;
	client->pool = NULL; /* the job's */
	job_start(client->pickup, &client->letter, pool, client->uid, fd, 0, body->size, on_done, client);
	return 0;
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct client *client = arg;
	struct err err;

	(void)conn;
	if (client->busy) { /* it has not waited for its answer */
		if (m->fd >= 0)
			close(m->fd);
		return E_PROTO;
	}
	if (m->type == &ipc_pickup_recipient)
		return take_recipient(client, (const void *)m->body);
	if (!m->fd_lost)
		return take_letter(client, (const void *)m->body, m->fd);
	pool_free(&client->pool);
	err_set(&err, E_NOFILES, "%s", err_text(E_NOFILES));
	send_answer(client, err.code, "", err.text);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct client *client = arg;

	(void)conn;
	client->conn = NULL; /* freed by who calls */
	if (!client->busy)
		client_free(client);
}

static const struct ipc_conn_callbacks client_callbacks = {on_message, on_closed};

/* It was told nothing, and may use the drop. */
static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_free(arg);
}

/* ---- the door ---- */

static bool may_enter(const struct pickup *pickup, uid_t uid)
{
	unsigned count = 0, most = uid == 0 ? PICKUP_CLIENTS : PICKUP_CLIENTS - PICKUP_CLIENTS_ROOT;

	for (const struct client *c = pickup->clients; c != NULL; c = c->next)
		count += c->uid == uid;
	return pickup->client_count < most && (uid == 0 || count < PICKUP_CLIENTS_USER);
}

static void turn_away(const struct pickup *pickup, int fd, uid_t uid)
{
	struct pickup_answer body = answer_for(pickup, uid, E_LIMIT, "", "Too many letters at once");

	log_event(EV_pickup_crowded, daemon_log(pickup->daemon), F_U64("uid", uid));
	ipc_send(fd, &ipc_pickup_answer, 0, &body, -1);
	close(fd);
}

void client_accept(struct pickup *pickup, int fd)
{
	struct client *client;
	pid_t pid;
	uid_t uid;
	gid_t gid;

	if (ipc_peer(fd, &pid, &uid, &gid) != 0) {
		close(fd);
		return;
	}
	if (!may_enter(pickup, uid)) {
		turn_away(pickup, fd, uid);
		return;
	}
	client = calloc(1, sizeof(*client));
	if (client == NULL) {
		close(fd);
		return;
	}
	client->pickup = pickup;
	client->uid = uid;
	client->next = pickup->clients;
	client->link = &pickup->clients;
	if (client->next != NULL)
		client->next->link = &client->next;
	pickup->clients = client;
	pickup->client_count++;
	client->timer = evtimer_new(daemon_base(pickup->daemon), on_timeout, client);
	client->conn = client->timer != NULL ? ipc_conn_new(daemon_base(pickup->daemon), fd, &ipc_service_pickup, TO_SERVICE, &client_callbacks, client) : NULL;
	if (client->conn == NULL) {
		if (client->timer == NULL)
			close(fd);
		client_free(client);
		return;
	}
	log_event(EV_pickup_connect, daemon_log(pickup->daemon), F_U64("uid", uid), F_U64("gid", gid), F_I64("pid", pid));
	arm(client);
}

void clients_close(struct pickup *pickup)
{
	struct client *client = pickup->clients;

	while (client != NULL) {
		struct client *next = client->next;

		if (!client->busy)
			client_free(client);
		client = next;
	}
}
