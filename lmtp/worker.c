/*
 * One account's deliveries, straight on: take all that waits, write the files,
 * sync them together, file them in one transaction, answer. A delivery is
 * answered only when it is durable (D2 of doc/reliability.md).
 */
#include "lmtp/deliver.h"

#include "base/clock.h"
#include "base/log.h"
#include "proc/fork.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	WORKER_READ = 64 * 1024,
	WORKER_FIRST_MS = 1000, /* for the first delivery to come */
	WORKER_BUFFER = IPC_MESSAGE_MAX, /* serves both: a message and a piece of content */
};

struct delivery {
	uint32_t id;
	int fd;	       /* of a large message; -1: it is in content */
	char *content; /* owned */
	uint64_t size, quota;
	int64_t arrived;
	unsigned char key[STORE_KEY];
	char sender[513], recipient[513], detail[65];
	struct delivery *twin; /* one before it in the batch that has the same key */
	struct store_draft *draft;
	struct store_message filed;
	uint32_t mailbox;
	int code;
	bool duplicate;
	struct err err;
};

struct work {
	int channel;
	uint64_t account;
	struct store *store;
	struct delivery batch[DELIVER_BATCH];
	size_t count;
	struct log_ctx log;
	char account_text[24];
	sigset_t term; /* SIGTERM alone */
	bool worked;   /* it has taken something */
};

static volatile sig_atomic_t worker_told_to_end;

static void on_term(int signal)
{
	(void)signal;
	worker_told_to_end = 1;
}

static void copy(char *out, size_t size, struct span s)
{
	snprintf(out, size, "%.*s", SPAN_ARG(s));
}

/* A small message came with the request; its bytes are lent only until the next one. */
static void take_content(struct delivery *d, struct span content)
{
	if (d->fd >= 0 || d->code != 0)
		return;
	d->content = content.len > 0 ? malloc(content.len) : NULL;
	if (content.len != d->size || content.len == 0)
		d->code = err_set(&d->err, E_PROTO, "delivery without its content");
	else if (d->content == NULL)
		d->code = err_set(&d->err, E_NOMEM, "no memory for a message");
	else
		memcpy(d->content, content.ptr, content.len);
}

static int take(struct work *w, char *buffer, struct err *err)
{
	struct ipc_message m;
	const struct deliver_message *body;
	struct delivery *d;
	int r = ipc_receive(w->channel, &ipc_service_deliver, TO_SERVICE, buffer, &m, err);

	if (r != 0)
		return r;
	if (m.type != &ipc_deliver_message) {
		if (m.fd >= 0)
			close(m.fd);
		return E_PROTO;
	}
	body = (const void *)m.body;
	d = &w->batch[w->count++];
	*d = (struct delivery){.id = m.id, .fd = m.fd, .size = body->size, .quota = body->quota, .arrived = body->arrived};
	if (m.fd_lost)
		d->code = err_set(&d->err, E_NOFILES, "no descriptor free for the message");
	else if (body->key.len != STORE_KEY)
		d->code = err_set(&d->err, E_PROTO, "delivery without a key");
	else
		memcpy(d->key, body->key.ptr, STORE_KEY);
	take_content(d, body->content);
	copy(d->sender, sizeof(d->sender), body->sender);
	copy(d->recipient, sizeof(d->recipient), body->recipient);
	copy(d->detail, sizeof(d->detail), body->detail);
	return 0;
}

/*
 * Whether there is something to take. A SIGTERM that comes between the look at its mark and the wait ends the wait. Who is told to end before he
 * has done anything does first what he was made for: else, where it takes long to begin, nobody would get anything done.
 */
static bool wait_for_work(const struct work *w)
{
	const struct timespec idle = {.tv_sec = DELIVER_IDLE_MS / 1000};
	struct pollfd p = {.fd = w->channel, .events = POLLIN};
	sigset_t before;
	bool found;

	sigprocmask(SIG_BLOCK, &w->term, &before);
	found = !worker_told_to_end && ppoll(&p, 1, &idle, &before) > 0;
	if (worker_told_to_end)
		found = !w->worked && poll(&p, 1, WORKER_FIRST_MS) > 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return found;
}

/* Waits for the first, then takes what is there already. 0; E_CLOSED, E_TIMEOUT: nothing more to do. */
static int take_batch(struct work *w, char *buffer, struct err *err)
{
	int r;

	w->count = 0;
	log_flush();
	if (!wait_for_work(w))
		return E_TIMEOUT;
	for (r = 0; r == 0 && w->count < DELIVER_BATCH;)
		r = take(w, buffer, err);
	w->worked |= w->count > 0;
	return w->count > 0 || r == E_AGAIN ? 0 : r;
}

/* ---- the file ---- */

static int write_content(struct delivery *d, char *buffer)
{
	uint64_t at = 0;

	if (d->content != NULL)
		return store_draft_write(d->draft, span_of(d->content, (size_t)d->size), &d->err);
	while (at < d->size) {
		size_t want = d->size - at < WORKER_READ ? (size_t)(d->size - at) : WORKER_READ;
		ssize_t n = pread(d->fd, buffer, want, (off_t)at);
		int r;

		if (n < 0)
			return err_set_errno(&d->err, errno, "reading the message");
		if (n == 0)
			return err_set(&d->err, E_CORRUPT, "the message is shorter than it was");
		r = store_draft_write(d->draft, span_of(buffer, (size_t)n), &d->err);
		if (r != 0)
			return r;
		at += (uint64_t)n;
	}
	return 0;
}

/* RFC 5321 section 4.4: the last server puts the sender into Return-Path. */
static int write_draft(struct work *w, struct delivery *d, uint32_t mailbox, char *buffer)
{
	char head[1200];
	int n, r = store_draft_new(w->store, mailbox, d->arrived, &d->draft, &d->err);

	if (r != 0)
		return r;
	n = snprintf(head, sizeof(head), "Return-Path: <%s>\r\nDelivered-To: %s\r\n", d->sender, d->recipient);
	r = store_draft_write(d->draft, span_of(head, (size_t)n), &d->err);
	return r == 0 ? write_content(d, buffer) : r;
}

/* ---- which mailbox ---- */

struct choice {
	struct span detail;
	uint32_t id;
};

static int match_detail(void *arg, const struct store_mailbox *m)
{
	struct choice *c = arg;

	if (m->noselect || !span_caseeq(m->name, c->detail))
		return 0;
	c->id = m->id;
	return 1;
}

/* What stands behind the '+' is a mailbox when there is one of that name; nobody can make one from outside. */
static uint32_t choose_mailbox(struct store_txn *txn, const struct delivery *d)
{
	struct store_mailbox inbox;
	struct choice choice = {.detail = span_str(d->detail)};
	struct err err;

	if (choice.detail.len > 0 && store_mailbox_each(txn, match_detail, &choice) == 1)
		return choice.id;
	return store_mailbox_by_name(txn, SPAN_LIT("INBOX"), &inbox, &err) == 0 ? inbox.id : 0;
}

/* ---- one batch ---- */

static void fail_rest(struct work *w, int code, const struct err *err)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->batch[i].code == 0) {
			w->batch[i].code = code;
			w->batch[i].err = *err;
		}
}

/* One message for one mailbox by several addresses: it is written once, not once for each. */
static struct delivery *twin_of(struct work *w, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (w->batch[k].code == 0 && w->batch[k].twin == NULL && memcmp(w->batch[k].key, w->batch[i].key, STORE_KEY) == 0)
			return &w->batch[k];
	return NULL;
}

/* A twin has what became of the one that was written. */
static void settle_twins(struct work *w)
{
	for (size_t i = 0; i < w->count; i++) {
		struct delivery *d = &w->batch[i];

		if (d->twin == NULL)
			continue;
		d->code = d->twin->code;
		d->err = d->twin->err;
		d->duplicate = d->code == 0;
	}
}

static void prepare(struct work *w, char *buffer)
{
	struct store_txn *txn;
	struct err err = {0};
	int r = store_begin(w->store, false, &txn, &err);

	if (r != 0) {
		fail_rest(w, r, &err);
		return;
	}
	for (size_t i = 0; i < w->count; i++) {
		struct delivery *d = &w->batch[i];

		if (d->code != 0)
			continue;
		d->twin = twin_of(w, i);
		d->duplicate = d->twin == NULL && store_delivered(txn, d->key);
		if (!d->duplicate && d->twin == NULL)
			d->mailbox = choose_mailbox(txn, d);
	}
	store_abort(&txn);
	for (size_t i = 0; i < w->count; i++) {
		struct delivery *d = &w->batch[i];

		if (d->code == 0 && !d->duplicate && d->twin == NULL)
			d->code = write_draft(w, d, d->mailbox, buffer);
	}
}

static void sync_all(struct work *w)
{
	struct store_draft *drafts[DELIVER_BATCH];
	struct delivery *of[DELIVER_BATCH];
	int codes[DELIVER_BATCH];
	size_t count = 0;

	for (size_t i = 0; i < w->count; i++)
		if (w->batch[i].code == 0 && w->batch[i].draft != NULL) {
			of[count] = &w->batch[i];
			drafts[count++] = w->batch[i].draft;
		}
	store_drafts_finish(drafts, codes, count);
	for (size_t i = 0; i < count; i++)
		if (codes[i] != 0) {
			of[i]->code = codes[i];
			err_set(&of[i]->err, codes[i], "the message could not be written: %s", err_text(codes[i]));
		}
}

/* A full mailbox is its owner's affair; anything else here is the administrator's. Once for a batch: they fail together. */
static void report_failure(struct work *w)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->batch[i].code != 0 && w->batch[i].code != E_OVERQUOTA) {
			log_event(EV_store_error, &w->log, F_ERR(&w->batch[i].err));
			return;
		}
}

static void file_all(struct work *w)
{
	struct store_txn *txn;
	struct err err = {0};
	int r = store_begin(w->store, true, &txn, &err);

	for (size_t i = 0; i < w->count && r == 0; i++) {
		struct delivery *d = &w->batch[i];

		if (d->code != 0 || d->draft == NULL)
			continue;
		store_set_quota(w->store, d->quota);
		d->code = store_append(txn, d->draft, d->mailbox, 0, NULL, 0, d->key, &d->filed, &d->err);
		if (d->code == E_EXISTS) {
			d->code = 0;
			d->duplicate = true;
		} else if (d->code != 0 && d->code != E_OVERQUOTA && d->code != E_LIMIT && d->code != E_CANNOT && d->code != E_NOTFOUND) {
			r = d->code; /* the transaction itself is broken */
			err = d->err;
		}
	}
	if (r == 0)
		r = store_commit(&txn, &err);
	else if (txn != NULL)
		store_abort(&txn);
	if (r != 0) {
		log_event(EV_store_error, &w->log, F_ERR(&err));
		fail_rest(w, r, &err);
	}
}

/* Whatever goes wrong here is this machine's fault, not the sender's: mail must wait for it, never bounce. */
static int code_for_queue(int code)
{
	return err_is_temp(code) ? code : E_IO;
}

static int answer_all(struct work *w)
{
	int r = 0;

	for (size_t i = 0; i < w->count; i++) {
		struct delivery *d = &w->batch[i];
		struct deliver_result result = {.code = code_for_queue(d->code), .duplicate = d->duplicate, .mailbox = d->code == 0 ? d->mailbox : 0,
		    .uid = d->code == 0 ? d->filed.uid : 0, .text = span_str(d->code == 0 ? "" : d->err.text)};

		if (d->code == 0 && !d->duplicate && d->draft != NULL) {
			store_draft_kept(d->draft);
			log_event(EV_store_delivered, &w->log, F_U64("mailbox", d->mailbox), F_U64("uid", d->filed.uid), F_U64("size", d->filed.size));
		}
		store_draft_free(&d->draft);
		free(d->content);
		if (d->fd >= 0)
			close(d->fd);
		if (r == 0)
			r = ipc_send(w->channel, &ipc_deliver_result, d->id, &result, -1);
		/* A full channel empties when queue has read: nothing is lost by waiting. */
		while (r == E_AGAIN || r == E_NOMEM) {
			struct pollfd p = {.fd = w->channel, .events = POLLOUT};

			poll(&p, 1, 1000);
			r = ipc_send(w->channel, &ipc_deliver_result, d->id, &result, -1);
		}
	}
	return r;
}

static int work_loop(struct work *w)
{
	char *buffer = malloc(WORKER_BUFFER);
	struct err err = {0};
	int r = buffer ? 0 : E_NOMEM;

	while (r == 0) {
		r = take_batch(w, buffer, &err);
		if (r != 0 || w->count == 0)
			continue;
		prepare(w, buffer);
		sync_all(w);
		report_failure(w);
		file_all(w);
		settle_twins(w);
		r = answer_all(w);
	}
	free(buffer);
	return r == E_CLOSED || r == E_TIMEOUT ? 0 : r;
}

static bool is_told_to_end(void)
{
	return worker_told_to_end;
}

/* For a worker that has nothing more to do. */
static void tidy(struct work *w, unsigned undo_days)
{
	struct err err = {0};

	if (store_tidy(w->store, undo_days, is_told_to_end, &err) != 0)
		log_event(EV_store_error, &w->log, F_ERR(&err));
}

static int worker_open(struct work *w, int dir, struct err *err)
{
	struct store_options options = {.create = true};
	bool rebuilt;
	int r = store_open(&w->store, dir, &options, &rebuilt, err);

	if (r == 0 && rebuilt)
		log_event(EV_store_rebuilt, &w->log, F_STR("reason", "the index was damaged or lost"));
	return r;
}

int worker_main(int channel, int dir, uint64_t account, unsigned undo_days)
{
	struct work *w = calloc(1, sizeof(*w));
	struct sigaction ignore = {.sa_handler = SIG_DFL};
	struct err err = {0};
	int r;

	if (w == NULL)
		return EX_OSERR;
	fork_ready(SIGTERM, on_term);
	sigaction(SIGCHLD, &ignore, NULL);
	sigemptyset(&w->term);
	sigaddset(&w->term, SIGTERM);
	fcntl(channel, F_SETFL, O_NONBLOCK);
	w->channel = channel;
	w->account = account;
	snprintf(w->account_text, sizeof(w->account_text), "%llu", (unsigned long long)account);
	w->log = (struct log_ctx){.key = "account", .value = span_str(w->account_text)};
	r = proc_confine_account(profile_find("worker"), dir, &err);
	if (r == 0)
		r = worker_open(w, dir, &err);
	if (r == 0)
		r = work_loop(w);
	if (r == 0)
		tidy(w, undo_days);
	if (r != 0)
		log_event(EV_store_error, &w->log, F_ERR(&err));
	log_flush();
	store_close(&w->store);
	return r == 0 ? EX_OK : EX_TEMPFAIL;
}
