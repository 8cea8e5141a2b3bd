/*
 * A session that waits in IDLE puts what it holds into one message for its spawner and ends; when there is something
 * to do, another process takes it up again. The client does not notice.
 *
 * The list of UIDs goes as runs: for each the numbers that are left out in front of it, and its length less one, as
 * integers of seven bits an octet, lowest first, the eighth bit for "more follows".
 */
#include "imapd/session.h"

#include "ipc/ipc.h"

#include <stdlib.h>

enum { HIBERNATE_UIDS_MAX = 8192 }; /* more, in a mailbox of very many gaps: the process stays */

static void put_number(struct buf *out, uint32_t n)
{
	for (; n > 0x7f; n >>= 7)
		buf_add_char(out, (char)(n | 0x80));
	buf_add_char(out, (char)n);
}

static bool take_number(struct span *in, uint32_t *out)
{
	uint64_t n = 0;

	for (unsigned shift = 0; in->len > 0 && shift < 35; shift += 7) {
		unsigned char c = (unsigned char)in->ptr[0];

		*in = span_from(*in, 1);
		n |= (uint64_t)(c & 0x7f) << shift;
		if ((c & 0x80) == 0) {
			*out = (uint32_t)n;
			return n <= UINT32_MAX;
		}
	}
	return false;
}

void hibernate_put_uids(const uint32_t *uids, size_t count, struct buf *out)
{
	uint32_t next = 1;

	for (size_t i = 0, run; i < count; i += run) {
		for (run = 1; i + run < count && uids[i + run] == uids[i] + run; run++)
			;
		put_number(out, uids[i] - next);
		put_number(out, (uint32_t)run - 1);
		next = uids[i] + (uint32_t)run;
	}
}

bool hibernate_take_uids(struct span in, struct view *view)
{
	uint64_t next = 1;

	view->count = 0;
	while (in.len > 0) {
		uint32_t gap, more;

		if (!take_number(&in, &gap) || !take_number(&in, &more) || next + gap + more > UINT32_MAX)
			return false;
		if (!view_reserve(view, view->count + more + 1))
			return false;
		for (uint64_t uid = next + gap; uid <= next + gap + more; uid++)
			view->uids[view->count++] = (uint32_t)uid;
		next += (uint64_t)gap + more + 1;
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

	if (buf_len(&s->in) > 0 || buf_len(&s->out) > 0)
		return false;
	buf_init(&uids, HIBERNATE_UIDS_MAX);
	hibernate_put_uids(view->uids, view->count, &uids);
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
	    .generation = UINT64_MAX, .recent_from = body->recent_from, .recent_saved = body->recent_saved, .keywords = body->keywords};
	return hibernate_take_uids(body->uids, &s->view);
}
