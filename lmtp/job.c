#include "lmtp/job.h"

#include "base/json.h"
#include "base/log.h"
#include "base/whole.h"
#include "proc/profile.h"
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

enum { JOB_LINE_MAX = 64 * 1024 };

struct job {
	int out;
	struct buf line;
};

static void line_send(struct job *job)
{
	buf_add_char(&job->line, '\n');
	(void)write_whole(job->out, buf_span(&job->line)); /* the command may have gone away; the work goes on */
	buf_clear(&job->line);
}

static int finish(struct job *job, int exit_code, const char *text)
{
	buf_printf(&job->line, "=%d %s", exit_code, text);
	line_send(job);
	buf_fini(&job->line);
	return EX_OK;
}

static int fail(struct job *job, int r, const struct err *err)
{
	return finish(job, r == E_NOTFOUND ? EX_NOUSER : err_is_temp(r) ? EX_TEMPFAIL : EX_DATAERR, err->text);
}

static void report(void *arg, const char *text)
{
	struct job *job = arg;

	buf_add_str(&job->line, "{\"found\":");
	json_add_string(&job->line, span_str(text));
	buf_add_char(&job->line, '}');
	line_send(job);
}

static int list_mailbox(void *arg, const struct store_mailbox *m)
{
	static const struct {
		uint32_t use;
		const char *name;
	} uses[] = {{STORE_USE_ARCHIVE, "archive"}, {STORE_USE_DRAFTS, "drafts"}, {STORE_USE_JUNK, "junk"}, {STORE_USE_SENT, "sent"},
	    {STORE_USE_TRASH, "trash"}};
	struct job *job = arg;
	const char *use = "";

	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
		if ((m->use & uses[i].use) != 0)
			use = uses[i].name;
	buf_add_str(&job->line, "{\"name\":");
	json_add_string(&job->line, m->name);
	buf_printf(&job->line, ",\"messages\":%u,\"unseen\":%u,\"size\":%llu,\"uidvalidity\":%u,\"uidnext\":%u,\"use\":\"%s\",\"subscribed\":%s}",
	    m->exists, m->unseen, (unsigned long long)m->size, m->uidvalidity, m->uidnext, use, m->subscribed ? "true" : "false");
	line_send(job);
	return 0;
}

static int do_check(struct job *job, struct store *store)
{
	char text[96];
	int faults = store_check(store, report, job);

	if (faults < 0)
		return finish(job, EX_IOERR, "the store could not be read");
	if (faults == 0)
		return finish(job, EX_OK, "no faults");
	snprintf(text, sizeof(text), "%d faults; `store rebuild-index` repairs an index", faults);
	return finish(job, EX_DATAERR, text);
}

static int do_list(struct job *job, struct store *store)
{
	struct store_txn *txn;
	struct err err;
	int r = store_begin(store, false, &txn, &err);

	if (r != 0)
		return fail(job, r, &err);
	r = store_mailbox_each(txn, list_mailbox, job);
	store_abort(&txn);
	if (r != 0)
		return fail(job, err_set(&err, r, "index: the records of the mailboxes are damaged"), &err);
	return finish(job, EX_OK, "");
}

static int do_undo(struct job *job, struct store *store, int64_t since)
{
	struct store_txn *txn;
	struct err err;
	uint32_t count = 0;
	char text[64];
	int r = store_begin(store, true, &txn, &err);

	if (r != 0)
		return fail(job, r, &err);
	r = store_undo(txn, since, &count, &err);
	if (r == 0)
		r = store_commit(&txn, &err);
	else
		store_abort(&txn);
	if (r != 0)
		return fail(job, r, &err);
	snprintf(text, sizeof(text), "%u messages brought back", count);
	return finish(job, EX_OK, text);
}

/* Damage that somebody met before leads to a rebuild at the next opening, which may be this one: who asks for faults wants to know. */
static int job_open(struct job *job, enum job_kind kind, uint64_t account, int dir, struct store **out, struct err *err)
{
	struct store_options options = {.create = true};
	bool rebuilt = false;
	char text[24];
	struct log_ctx log = {.key = "account"};
	int r = store_open(out, dir, &options, &rebuilt, err);

	if (r != 0 || !rebuilt)
		return r;
	snprintf(text, sizeof(text), "%" PRIu64, account);
	log.value = span_str(text);
	log_event(EV_store_rebuilt, &log, F_STR("reason", "the index was damaged or lost"));
	log_flush();
	if (kind == JOB_CHECK)
		report(job, "the index was damaged or lost, and has been made again now; the old one is index.damaged-TIME");
	return 0;
}

int job_main(enum job_kind kind, uint64_t account, int dir, int64_t since, int out)
{
	struct job job = {.out = out};
	struct store *store = NULL;
	struct err err = {0};
	int r = proc_confine_account(profile_find("worker"), dir, &err);

	buf_init(&job.line, JOB_LINE_MAX);
	if (r == 0 && kind == JOB_REBUILD)
		r = store_rebuild(dir, report, &job, &err);
	else if (r == 0)
		r = job_open(&job, kind, account, dir, &store, &err);
	if (r != 0)
		return fail(&job, r, &err);
	switch (kind) {
	case JOB_CHECK:
		r = do_check(&job, store);
		break;
	case JOB_LIST:
		r = do_list(&job, store);
		break;
	case JOB_UNDO:
		r = do_undo(&job, store, since);
		break;
	case JOB_REBUILD:
		r = finish(&job, EX_OK, "the index was made again");
		break;
	}
	store_close(&store);
	return r;
}
