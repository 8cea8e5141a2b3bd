/*
 * A session that waits in IDLE puts what it holds into one message for its spawner and ends; when there is something
 * to do, another process takes it up again. The client does not notice.
 */
#include "imapd/session.h"

#include "imap/runs.h"
#include "ipc/ipc.h"

/* More octets, in a mailbox of very many gaps, or more messages than this: the process stays. */
enum { HIBERNATE_UIDS_MAX = 8192, HIBERNATE_MESSAGES_MAX = 4 * 1024 * 1024 };

static bool take_uids(struct span in, struct view *view)
{
	uint32_t first, last = 0;

	while (in.len > 0) {
		if (!imap_runs_take(&in, &first, &last) || last - first >= HIBERNATE_MESSAGES_MAX - view->count ||
		    !view_reserve(view, view->count + (last - first) + 1))
			return false;
		for (uint64_t uid = first; uid <= last; uid++)
			view->uids[view->count++] = (uint32_t)uid;
	}
	return true;
}

bool session_hibernate(struct session *s, int64_t left_ms)
{
	const struct view *view = &s->view;
	struct wake_hibernate body = {.user = span_str(s->user), .remote = span_str(s->remote), .tag = span_str(s->tag),
	    .left_ms = left_ms > 0 ? (uint64_t)left_ms : 0, .commands = s->commands, .mailbox = view->mailbox, .read_only = view->read_only,
	    .unsaved = view_is_unsaved(view), .uidvalidity = view->uidvalidity, .modseq = view->modseq, .recent_from = view->recent_from,
	    .recent_saved = view->recent_saved, .keywords = view->keywords};
	struct buf uids;

	if (buf_len(&s->in) > 0 || buf_len(&s->out) > 0 || view->count > HIBERNATE_MESSAGES_MAX)
		return false;
	buf_init(&uids, HIBERNATE_UIDS_MAX);
	imap_runs_put(view->uids, view->count, &uids);
	body.uids = buf_span(&uids);
	s->hibernates = !buf_failed(&uids) && ipc_send(s->wake, &ipc_wake_hibernate, 0, &body, s->fd) == 0;
	buf_fini(&uids);
	return s->hibernates;
}

bool session_resume(struct session *s, struct span state)
{
	const struct wake_hibernate *body;
	struct ipc_message m;
	struct err err;

	if (ipc_decode(&ipc_service_wake, TO_SERVICE, state, &m, &err) != 0 || m.type != &ipc_wake_hibernate)
		return false;
	body = (const void *)m.body;
	span_copy(body->tag, s->tag, sizeof(s->tag));
	s->commands = body->commands;
	s->view = (struct view){.mailbox = body->mailbox, .read_only = body->read_only, .uidvalidity = body->uidvalidity, .modseq = body->modseq,
	    .generation = VIEW_RESUMED, .recent_from = body->recent_from, .recent_saved = body->recent_saved, .keywords = body->keywords};
	return take_uids(body->uids, &s->view);
}
