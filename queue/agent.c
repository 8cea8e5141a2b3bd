/*
 * Commands and files of aliases: the agent runs them. There is no delivery key as in a mailbox: what has had the message is
 * written into its file (SPOOL_TARGET_DONE), so that only a crash before that gives a second copy.
 */
#include "queue/queue.h"

#include "base/log.h"
#include "net/ipc_conn.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KIND_FILE = 2 };

/* One message for one command or file. */
struct run {
	struct run *next;
	struct target *target; /* NULL: nobody waits for the result any more */
	uint32_t id;
};

/* ---- runs ---- */

static void run_end(struct run *run, int code, struct span text)
{
	struct target *target = run->target;

	free(run);
	if (target == NULL)
		return;
	target_result(target, code, text);
	target->message->busy--;
	message_step(target->message);
}

static void runs_end(struct run *list, const char *why)
{
	while (list != NULL) {
		struct run *next = list->next;

		run_end(list, E_UNAVAILABLE, span_str(why));
		list = next;
	}
}

static int run_send(struct queue *queue, struct run *run)
{
	struct target *t = run->target;
	struct message *m = t->message;
	struct agent_run body = {.size = m->file.content,
	    .arrived = m->file.envelope.arrived,
	    .sender = target_sender(t),
	    .recipient = m->file.envelope.recipients[t->recipient].address,
	    .detail = t->detail,
	    .kind = t->kind,
	    .name = t->name,
	    .program = t->program,
	    .grant = t->grant};
	int fd, r = message_lend(m, &fd);

	if (r != 0)
		return r;
	run->id = ++queue->last_run;
	r = ipc_conn_send(queue->agent, &ipc_agent_run, run->id, &body, fd);
	close(fd);
	return r;
}

static bool has_room(const struct queue *queue, const struct run *run)
{
	unsigned count = 0;

	for (const struct run *r = queue->runs; r != NULL && run->target != NULL; r = r->next)
		count += r->target != NULL && span_eq(r->target->name, run->target->name);
	return count < QUEUE_RUNS_EACH;
}

/* The oldest that may be sent; NULL. */
static struct run *take_waiting(struct queue *queue)
{
	struct run **link = &queue->runs_waiting, *run;

	while (*link != NULL && !has_room(queue, *link))
		link = &(*link)->next;
	run = *link;
	if (run == NULL)
		return NULL;
	*link = run->next;
	if (*link == NULL)
		queue->runs_tail = link;
	return run;
}

static void pump(struct queue *queue)
{
	struct run *run;

	while (queue->agent != NULL && queue->run_count < QUEUE_RUNS_MAX && (run = take_waiting(queue)) != NULL) {
		int r = run->target != NULL ? run_send(queue, run) : E_CLOSED;

		if (r != 0) {
			run_end(run, err_is_temp(r) ? r : E_UNAVAILABLE, span_str(err_text(r)));
			continue;
		}
		run->next = queue->runs;
		queue->runs = run;
		queue->run_count++;
	}
}

void agent_target(struct target *t)
{
	struct queue *queue = t->message->queue;
	struct run *run;

	/* It asks for no rights. */
	if (t->kind == KIND_FILE && span_eq(t->program, SPAN_LIT("/dev/null")))
		t->note = NOTE_DURABLE; /* a second one does no harm */
	if (t->note == NOTE_DURABLE || target_was_done(t)) {
		target_result(t, 0, SPAN_LIT("done"));
		return;
	}
	run = calloc(1, sizeof(*run));
	if (run == NULL) {
		target_result(t, E_NOMEM, SPAN_LIT(""));
		return;
	}
	run->target = t;
	t->state = TARGET_IN_FLIGHT;
	t->message->busy++;
	if (queue->runs_tail == NULL)
		queue->runs_tail = &queue->runs_waiting;
	*queue->runs_tail = run;
	queue->runs_tail = &run->next;
	pump(queue);
}

static void forget(struct run *run, const struct message *message)
{
	for (; run != NULL; run = run->next)
		if (run->target != NULL && run->target->message == message)
			run->target = NULL;
}

void agent_forget(struct message *message)
{
	if (message->busy == 0)
		return;
	forget(message->queue->runs, message);
	forget(message->queue->runs_waiting, message);
}

bool agent_flying(const struct queue *queue)
{
	return queue->agent != NULL && queue->runs != NULL;
}

void agent_look(struct queue *queue)
{
	struct run *list = queue->runs_waiting;

	if (queue->agent != NULL)
		return;
	queue->runs_waiting = NULL;
	queue->runs_tail = &queue->runs_waiting;
	runs_end(list, "what runs commands of aliases is not there; when aliases-allow has changed the suite must be started again");
}

/* ---- the agent ---- */

static int on_result(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct queue *queue = arg;
	const struct agent_result *body = (const void *)m->body;
	struct run **link = &queue->runs, *run;

	(void)conn;
	if (m->type != &ipc_agent_result)
		return E_PROTO;
	while (*link != NULL && (*link)->id != m->id)
		link = &(*link)->next;
	if (*link == NULL)
		return E_PROTO;
	run = *link;
	*link = run->next;
	queue->run_count--;
	run_end(run, body->code, body->text);
	if (!queue->halting)
		pump(queue);
	queue_try_finish(queue);
	return 0;
}

/* Nobody knows what became of those it had: they are tried again, and may come twice. */
static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct queue *queue = arg;
	struct run *list = queue->runs;

	(void)conn;
	queue->agent = NULL;
	queue->runs = NULL;
	queue->run_count = 0;
	log_event(EV_ipc_peer_lost, NULL, F_STR("service", "agent"));
	daemon_peer_lost(queue->daemon, "agent");
	runs_end(list, "what runs commands of aliases ended before it had an answer");
	queue_try_finish(queue);
}

static const struct ipc_conn_callbacks agent_callbacks = {on_result, on_closed};

void agent_service(struct queue *queue, int fd)
{
	ipc_conn_lose(&queue->agent);
	queue->agent = ipc_conn_new(daemon_base(queue->daemon), fd, &ipc_service_agent, TO_CLIENT, &agent_callbacks, queue);
	pump(queue);
}
