/* Files handed out ahead, envelopes checked, commits made. */
#include "queue/queue.h"

#include "base/log.h"
#include "base/whole.h"
#include "net/ipc_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Who it is decides where a message comes from, whether it may go out to the world, and at how many handed-out files together, in eighths
 * of those there may be, it gets no further one: strangers leave some to our users, and both to this machine.
 */
struct role {
	const char *name;
	enum spool_source source;
	bool remote;
	unsigned eighths;
};

static const struct role roles[] = {{"smtpd", SPOOL_FROM_SMTP, false, 6}, {"submission", SPOOL_FROM_SUBMISSION, true, 7},
    {"pickup", SPOOL_FROM_LOCAL, true, 8}};

/* A file that a client is writing. */
struct handed {
	struct handed *next;
	uint64_t id;
	int fd;
	struct buf envelope; /* pieces so far */
};

/* A file whose message is done with: it lies under that message's id until it gets the next one's. */
struct spare {
	struct spare *next;
	uint64_t id;
	int fd;
};

/*
 * A connected daemon that hands in messages. Making and removing a file are the dearest things a message asks of the
 * file system, so a client's files serve it again. Only it: a descriptor it kept shows nothing it did not write itself.
 */
struct client {
	struct client *next, **link;
	struct queue *queue;
	struct ipc_conn *conn;
	uint32_t number; /* never used again while queue runs */
	const struct role *role;
	struct handed *files;
	struct spare *spares, **spares_tail; /* oldest first */
	unsigned owed;	  /* files it asked for and has not got yet */
	unsigned commits; /* under way: they hold this address */
};

/* A commit under way. conn is looked up by client, which may go away meanwhile. */
struct commit {
	struct queue *queue;
	struct client *client;	  /* NULL: a message of our own */
	struct pool *pool;
	struct spool_envelope envelope;
	void (*done)(void *arg, int code);
	void *arg;
};

static int create_file(struct queue *queue, uint64_t *id, int *fd, struct err *err)
{
	char path[QUEUE_PATH];

	*id = spool_id_next(&queue->last_id, queue_clock_ms(&queue->clock));
	queue_path(*id, path);
	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return *fd >= 0 ? 0 : err_set_errno(err, errno, "spool file %s", path);
}

/* The next id and name for a spare file; what is in it will be written over. */
static int rename_spare(struct queue *queue, const struct spare *spare, uint64_t *id, struct err *err)
{
	char from[QUEUE_PATH], to[QUEUE_PATH];

	*id = spool_id_next(&queue->last_id, queue_clock_ms(&queue->clock));
	queue_path(spare->id, from);
	queue_path(*id, to);
	return rename(from, to) == 0 ? 0 : err_set_errno(err, errno, "using spool file %s again", from);
}

static struct spare *spare_pop(struct client *client)
{
	struct spare *spare = client->spares;

	client->spares = spare->next;
	if (client->spares == NULL)
		client->spares_tail = &client->spares;
	client->queue->spare_count--;
	return spare;
}

static bool take_spare(struct client *client, uint64_t *id, int *fd)
{
	struct spare *spare = client->spares;
	struct err err;
	int r;

	if (spare == NULL)
		return false;
	spare_pop(client);
	r = rename_spare(client->queue, spare, id, &err);
	*fd = spare->fd;
	if (r != 0) {
		log_event(EV_queue_error, daemon_log(client->queue->daemon), F_ERR(&err));
		close(spare->fd);
		removal_unlink(client->queue, spare->id, false);
	}
	free(spare);
	return r == 0;
}

static void send_no_file(struct client *client, int code, const char *text)
{
	struct queue_no_file body = {.code = code, .text = span_str(text)};

	ipc_conn_answer(client->conn, &ipc_queue_no_file, 0, &body, -1);
}

static void handed_free(struct handed *file)
{
	buf_fini(&file->envelope);
	free(file);
}

static void discard(struct queue *queue, uint64_t id, int fd)
{
	close(fd);
	removal_unlink(queue, id, false);
}

static int hand_out(struct client *client, struct err *err)
{
	struct handed *file = calloc(1, sizeof(*file));
	struct queue_file body;
	int r;

	if (file == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	r = take_spare(client, &file->id, &file->fd) ? 0 : create_file(client->queue, &file->id, &file->fd, err);
	if (r != 0) {
		free(file);
		return r;
	}
	buf_init(&file->envelope, SPOOL_ENVELOPE_MAX);
	body.id = file->id;
	r = ipc_conn_send(client->conn, &ipc_queue_file, 0, &body, file->fd);
	if (r != 0) {
		discard(client->queue, file->id, file->fd);
		handed_free(file);
		return err_set(err, r, "a file could not be handed out: %s", err_text(r));
	}
	file->next = client->files;
	client->files = file;
	client->queue->handed_count++;
	return 0;
}

/* Whatever fails here is a fault of this machine, not of the message: the client is told to come again. */
static int code_for_client(int code)
{
	return code == 0 || err_is_temp(code) ? code : E_IO;
}

static bool may_have_one(const struct client *client)
{
	return client->queue->handed_count < client->queue->handed_max / 8 * client->role->eighths;
}

/* What a client asked for it gets, now or when others have given back theirs: else it would wait for ever. */
static void give_owed(struct client *client)
{
	struct err err;

	while (client->conn != NULL && client->owed > 0 && may_have_one(client)) {
		int r = hand_out(client, &err);

		if (r != 0) {
			client->owed = 0;
			log_event(EV_queue_error, daemon_log(client->queue->daemon), F_ERR(&err));
			send_no_file(client, code_for_client(r), err.text);
			return;
		}
		client->owed--;
	}
}

static void handed_back(struct queue *queue)
{
	queue->handed_count--;
	for (struct client *client = queue->clients; client != NULL; client = client->next)
		give_owed(client);
}

static void take_request(struct client *client, uint32_t count)
{
	unsigned room = client->queue->handed_max - client->owed;

	client->owed += count < room ? count : room;
	give_owed(client);
}

/* The caller says handed_back when it has done with it. */
static struct handed *take_handed(struct client *client, uint64_t id)
{
	for (struct handed **link = &client->files; *link != NULL; link = &(*link)->next)
		if ((*link)->id == id) {
			struct handed *file = *link;

			*link = file->next;
			return file;
		}
	return NULL;
}

static struct handed *find_handed(struct client *client, uint64_t id)
{
	struct handed *file = client->files;

	while (file != NULL && file->id != id)
		file = file->next;
	return file;
}

/* ---- files that serve again ---- */

static struct client *client_find(struct queue *queue, uint32_t number)
{
	struct client *client = queue->clients;

	while (client != NULL && client->number != number)
		client = client->next;
	return client;
}

static bool is_welcome(const struct client *client)
{
	return client != NULL && client->conn != NULL && client->queue->spare_count < client->queue->spare_max && !client->queue->halting;
}

void accept_retire(struct message *m, bool durable)
{
	struct queue *queue = m->queue;
	struct client *client = m->client != 0 && !m->lent ? client_find(queue, m->client) : NULL;
	struct spare *spare = is_welcome(client) ? calloc(1, sizeof(*spare)) : NULL;
	struct err err;
	bool rested = true;

	/* Also when it is removed: should that fail, a start knows it for one that is done with. */
	if (m->fd >= 0 && spool_retire(m->fd, &rested, &err) != 0)
		rested = true;
	/* Were the power to fail while a file with the mark is written over, it would be a damaged message. */
	if (spare == NULL || rested) {
		free(spare);
		removal_unlink(queue, m->id, durable);
		return;
	}
	if (durable)
		removal_sync_soon(queue, m->id);
	*spare = (struct spare){.id = m->id, .fd = m->fd};
	m->fd = -1;
	*client->spares_tail = spare;
	client->spares_tail = &spare->next;
	queue->spare_count++;
}

/* From the internet's side only recipients that auth has called ours, by its signature: smtpd cannot invent one. */
static int check_envelope(struct client *client, const struct spool_envelope *e, struct err *err)
{
	int64_t now = grant_now();

	if (e->source != client->role->source)
		return err_set(err, E_DENIED, "%s may not say where a message comes from", client->role->name);
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct spool_recipient *r = &e->recipients[i];

		if (!r->local && r->account == 0 && client->role->remote)
			continue;
		if (!r->local || !grant_check(client->queue->grant_key, GRANT_RECIPIENT, r->account, r->quota, r->canonical, now, r->grant))
			return err_set(err, E_DENIED, "recipient %zu has no valid grant", i);
	}
	return 0;
}

static void send_committed(struct client *client, uint64_t id, int code, const char *text)
{
	struct queue_committed body = {.id = id, .code = code_for_client(code), .text = span_str(text)};

	if (client->conn == NULL)
		return;

	ipc_conn_answer(client->conn, &ipc_queue_committed, 0, &body, -1);
}

static void client_release(struct client *client)
{
	if (client->conn != NULL || client->commits > 0)
		return;
	*client->link = client->next;
	if (client->next != NULL)
		client->next->link = client->link;
	free(client);
}

static void commit_free(struct commit *commit)
{
	if (commit->client != NULL) {
		handed_back(commit->queue);
		commit->client->commits--;
		client_release(commit->client);
	}
	pool_free(&commit->pool);
	free(commit);
}

static void commit_failed(struct commit *commit, struct disk_job *job)
{
	char text[SPOOL_ID_TEXT];

	spool_id_format(job->id, text);
	log_event(EV_queue_error, daemon_log(commit->queue->daemon), F_STR("qid", text), F_ERR(&job->err));
	discard(commit->queue, job->id, job->fd);
	if (commit->client != NULL)
		send_committed(commit->client, job->id, job->code, job->err.text);
	if (commit->done != NULL)
		commit->done(commit->arg, job->code);
	commit_free(commit);
}

static void on_committed(struct disk_job *job)
{
	struct commit *commit = job->arg;
	struct queue *queue = commit->queue;
	struct spool_file file = {.id = job->id, .content = job->commit.content, .ahead = job->commit.ahead, .envelope = commit->envelope};
	uint32_t client = commit->client != NULL ? commit->client->number : 0;
	uint32_t sender = message_sender(queue, &commit->envelope);
	struct message *message;
	bool has_room;

	if (job->code != 0) {
		commit_failed(commit, job);
		return;
	}
	queue->accepted++;
	memcpy(file.check, job->commit.check, sizeof(file.check));
	if (commit->client != NULL)
		send_committed(commit->client, job->id, 0, "");
	if (commit->done != NULL)
		commit->done(commit->arg, 0);
	has_room = message_has_room(queue, sender);
	message = message_new(queue, job->fd, commit->pool, &file);
	commit->pool = NULL; /* the message's, or gone with it */
	commit_free(commit);
	if (message == NULL) {
		close(job->fd);
		schedule_add(queue, file.id, queue_now(queue) + 1, false);
		return;
	}
	message->client = client;
	if (has_room || schedule_is_early(message)) { /* what is early only gets its mark */
		message_run(message);
		return;
	}
	message->next = queue_now(queue) + 1;
	message_rest(message);
}

/*
 * Who writes a message says when it arrived by the machine's clock. When that is not queue's time the difference is kept beside it; what
 * lies below a minute is the time that the message took.
 */
static int32_t ahead_of(const struct commit *commit)
{
	int64_t ahead = commit->envelope.arrived - queue_now(commit->queue);

	if (ahead > -60 && ahead < 60)
		return 0;
	return ahead < INT32_MIN ? INT32_MIN : ahead > INT32_MAX ? INT32_MAX : (int32_t)ahead;
}

/* envelope: encoded; copied into the job and, for the message in memory, decoded from a pooled copy. */
static int commit_begin(struct commit *commit, uint64_t id, int fd, uint64_t content, struct span envelope)
{
	struct disk_job *job = calloc(1, sizeof(*job));

	if (job == NULL)
		return E_NOMEM;
	buf_init(&job->envelope, SPOOL_ENVELOPE_MAX);
	buf_add_span(&job->envelope, envelope);
	if (buf_failed(&job->envelope)) {
		buf_fini(&job->envelope);
		free(job);
		return E_NOMEM;
	}
	job->kind = DISK_COMMIT;
	job->id = id;
	job->fd = fd;
	job->commit = (struct spool_commit){.id = id, .content = content, .envelope = buf_span(&job->envelope), .ahead = ahead_of(commit)};
	job->done = on_committed;
	job->arg = commit;
	disk_submit(commit->queue->disk, job);
	return 0;
}

static struct commit *commit_new(struct span envelope, struct err *err)
{
	struct commit *commit = calloc(1, sizeof(*commit));
	struct span copy;

	if (commit != NULL)
		commit->pool = pool_new(NULL, 4 * SPOOL_ENVELOPE_MAX);
	if (commit == NULL || commit->pool == NULL)
		goto nomem;
	copy = pool_span(commit->pool, envelope);
	if (copy.ptr == NULL)
		goto nomem;
	if (spool_envelope_decode(copy, commit->pool, &commit->envelope, err) == 0)
		return commit;
	commit_free(commit);
	return NULL;
nomem:
	if (commit != NULL)
		commit_free(commit);
	err_set(err, E_NOMEM, "out of memory");
	return NULL;
}

/* A wrong envelope costs the peer its connection: our own daemons do not make one. */
static int take_commit(struct client *client, const struct queue_commit *body)
{
	struct handed *file = take_handed(client, body->id);
	struct commit *commit;
	struct err err = {0};
	int r;

	if (file == NULL) { /* of a queue before this one: no reason that others lose their answers */
		send_committed(client, body->id, E_UNAVAILABLE, "the file is not one of this queue's");
		return 0;
	}
	buf_add_span(&file->envelope, body->envelope);
	commit = buf_failed(&file->envelope) ? NULL : commit_new(buf_span(&file->envelope), &err);
	r = commit ? check_envelope(client, &commit->envelope, &err) : err.code ? err.code : file->envelope.starved ? E_NOMEM : E_TOOBIG;
	if (commit != NULL) {
		commit->queue = client->queue;
		commit->client = client;
		client->commits++;
	}
	if (r == 0)
		r = commit_begin(commit, file->id, file->fd, body->content, buf_span(&file->envelope));
	if (r != 0) {
		log_event(EV_queue_error, daemon_log(client->queue->daemon), F_STR("role", client->role->name), F_ERR(&err));
		send_committed(client, file->id, r, err.text);
		discard(client->queue, file->id, file->fd);
		if (commit != NULL)
			commit_free(commit); /* gives it back */
		else
			handed_back(client->queue);
	}
	handed_free(file);
	return r == E_CORRUPT ? E_PROTO : 0;
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct client *client = arg;
	struct handed *file;

	(void)conn;
	if (m->type == &ipc_queue_take) {
		take_request(client, ((const struct queue_take *)(const void *)m->body)->count);
		return 0;
	}
	if (m->type == &ipc_queue_commit)
		return take_commit(client, (const void *)m->body);
	if (m->type == &ipc_queue_envelope) {
		const struct queue_envelope *body = (const void *)m->body;

		file = find_handed(client, body->id);
		if (file == NULL) /* of a queue before this one: its commit is answered */
			return 0;
		buf_add_span(&file->envelope, body->part);
		return buf_failed(&file->envelope) && !file->envelope.starved ? E_TOOBIG : 0; /* else the commit fails */
	}
	file = take_handed(client, ((const struct queue_discard *)(const void *)m->body)->id);
	if (file == NULL)
		return 0;
	discard(client->queue, file->id, file->fd);
	handed_free(file);
	handed_back(client->queue);
	return 0;
}

/* What the client did not commit never existed; commits under way go on without it. */
static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct client *client = arg;

	(void)conn;
	client->conn = NULL;
	while (client->files != NULL) {
		struct handed *file = take_handed(client, client->files->id);

		discard(client->queue, file->id, file->fd);
		handed_free(file);
		handed_back(client->queue);
	}
	while (client->spares != NULL) {
		struct spare *spare = spare_pop(client);

		discard(client->queue, spare->id, spare->fd);
		free(spare);
	}
	client_release(client);
}

static const struct ipc_conn_callbacks client_callbacks = {on_message, on_closed};

static const struct role *role_find(struct span name)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (span_eq(span_str(roles[i].name), name))
			return &roles[i];
	return NULL;
}

void client_new(struct queue *queue, struct span name, int fd)
{
	const struct role *role = role_find(name);
	struct client *client = role != NULL ? calloc(1, sizeof(*client)) : NULL;

	if (client == NULL) {
		close(fd);
		return;
	}
	client->queue = queue;
	client->number = ++queue->last_client;
	client->spares_tail = &client->spares;
	client->role = role;
	client->conn = ipc_conn_new(daemon_base(queue->daemon), fd, &ipc_service_queue, TO_SERVICE, &client_callbacks, client);
	if (client->conn == NULL) {
		free(client);
		return;
	}
	client->next = queue->clients;
	client->link = &queue->clients;
	if (client->next != NULL)
		client->next->link = &client->next;
	queue->clients = client;
}

int accept_own(struct queue *queue, struct span content, const struct spool_envelope *envelope,
    void (*done)(void *arg, int code), void *arg)
{
	struct commit *commit = NULL;
	struct err err = {0};
	struct buf wire;
	uint64_t id = 0;
	int fd = -1;
	int r;

	buf_init(&wire, SPOOL_ENVELOPE_MAX);
	r = spool_envelope_encode(envelope, &wire);
	if (r == 0)
		r = create_file(queue, &id, &fd, &err);
	if (r == 0 && !write_whole(fd, content))
		r = err_set_errno(&err, errno, "writing a notification");
	if (r == 0) {
		commit = commit_new(buf_span(&wire), &err);
		r = commit ? 0 : E_NOMEM;
	}
	if (r == 0) {
		commit->queue = queue;
		commit->done = done;
		commit->arg = arg;
		r = commit_begin(commit, id, fd, content.len, buf_span(&wire));
	}
	if (r != 0) {
		log_event(EV_queue_error, daemon_log(queue->daemon), F_ERR(&err));
		if (commit != NULL)
			commit_free(commit);
		if (fd >= 0)
			discard(queue, id, fd);
	}
	buf_fini(&wire);
	return r;
}
