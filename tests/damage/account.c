/*
 * An account whose files are damaged. Several processes open it, one after the other: each reads everything, the first also runs what `store check` does,
 * the second files, flags and expunges. A process may be refused what is damaged, and may die of the index; the last one must find all in order.
 */
#include "tests/damage/truth.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 4, ADDED = 5, NUMBERS = 256 };

static struct truth *now_truth, *old_truth;
static struct hints hints;

/* What the processes of one case tell each other and the judge. */
struct reading {
	struct outcome out;
	const struct truth *truth;
	const struct damage *damage;
	int round;
	bool opened, rebuilt;
	unsigned index_errors, file_errors;
	uint64_t refused[NUMBERS]; /* message files that were not served */
	unsigned added;		   /* messages filed since, told as done */
	uint32_t expunged_uid, flagged_uid; /* of INBOX; 0: not yet */
	uint64_t expunged_number;
	int faults; /* of store_check */
	unsigned named, unnamed; /* its lines that name what was damaged, and others */
	bool index_hit, lost; /* the damage is to the index; it is gone */
	bool finished;
};

static void added_text(unsigned n, char out[128])
{
	snprintf(out, 128, "Subject: added %u\r\n\r\nfiled after the damage\r\n", n);
}

static bool is_added(const struct reading *r, struct span content)
{
	char text[128];

	for (unsigned n = 0; n <= r->added; n++) { /* the last one may have been filed without a word */
		added_text(n, text);
		if (span_eq(content, span_str(text)))
			return true;
	}
	return false;
}

/* ---- one message ---- */

static bool is_damaged_file(const struct reading *r, uint64_t number)
{
	char digits[20];

	snprintf(digits, sizeof(digits), "/%016llx.", (unsigned long long)number);
	return strstr(r->damage->path, digits) != NULL || (r->damage->way == WAY_EXCHANGE && strstr(r->damage->other, digits) != NULL);
}

static void refuse(struct reading *r, uint64_t number, const char *text)
{
	say_log(&r->out, text);
	if (r->file_errors < NUMBERS)
		r->refused[r->file_errors++] = number;
	if (!is_damaged_file(r, number))
		say_wrong(&r->out, "round %d: a message that is not damaged was refused: %s", r->round, text);
}

static void read_content(struct reading *r, struct store *store, const struct store_message *m)
{
	const struct truth_file *file = truth_file(now_truth, m->number);
	char *bytes = malloc((size_t)m->size + 1);
	struct err err;
	struct span content;
	int fd, code = store_file_open(store, m, &fd, &err);

	if (file == NULL)
		file = truth_file(old_truth, m->number);
	if (code == 0) {
		content = span_of(bytes, (size_t)read(fd, bytes, m->size));
		close(fd);
		code = store_file_verify(m, content, &err);
	}
	if (code != 0)
		refuse(r, m->number, err.text);
	else if (file != NULL ? !span_eq(content, file->content) : !is_added(r, content))
		say_wrong(&r->out, "round %d: wrong mail was served: UID %u, file %016llx", r->round, m->uid, (unsigned long long)m->number);
	free(bytes);
}

static void read_facts(struct reading *r, struct store_txn *txn, const struct store_message *m, const struct truth_message *was)
{
	struct store_facts facts;
	struct err err;
	int code = store_facts_get(txn, m->number, &facts, &err);

	if (code == 0 && was->facts != 0 && facts_sum(&facts) != was->facts)
		say_wrong(&r->out, "round %d: wrong facts were served: UID %u", r->round, m->uid);
	if (code != 0 && code != E_NOTFOUND)
		say_log(&r->out, err.text); /* found again from the message */
	if (code != 0 && code != E_NOTFOUND && code != E_CORRUPT)
		say_wrong(&r->out, "round %d: facts: %s", r->round, err.text);
}

/* ---- one mailbox, as it was ---- */

static void compare_message(struct reading *r, const struct store_mailbox *box, const struct store_message *m, const struct truth_message *was)
{
	struct store_message want = was->message;

	if (box->id == 1 && m->uid == r->flagged_uid) {
		want.flags |= STORE_FLAGGED;
		want.modseq = m->modseq;
	}
	if (memcmp(&want, m, sizeof(want)) != 0)
		say_wrong(&r->out, "round %d: %.*s UID %u has other flags, dates or sizes than it had", r->round, SPAN_ARG(box->name), m->uid);
}

static void compare_box(struct reading *r, struct store *store, struct store_txn *txn, const struct store_mailbox *box, const struct truth_box *was)
{
	struct store_message *list;
	struct err err;
	size_t count, known = 0, wanted = 0;
	int code = store_message_list(txn, box->id, 0, txn->pool, &list, &count, &err);

	if (box->uidvalidity != was->box.uidvalidity || box->uidnext < was->box.uidnext || words_sum(box) != was->words || box->use != was->box.use ||
	    box->subscribed != was->box.subscribed || box->noselect != was->box.noselect)
		say_wrong(&r->out, "round %d: %.*s is another mailbox than it was", r->round, SPAN_ARG(box->name));
	if (code == E_CORRUPT) {
		say_log(&r->out, err.text);
		r->index_errors++;
		return;
	}
	if (code != 0)
		say_wrong(&r->out, "round %d: %s", r->round, err.text);
	for (size_t i = 0; i < count; i++) {
		const struct truth_message *m = truth_message(r->truth, box->id, list[i].uid);

		known += m != NULL;
		if (m != NULL) {
			compare_message(r, box, &list[i], m);
			read_facts(r, txn, &list[i], m);
		} else if (list[i].uid < was->box.uidnext) {
			say_wrong(&r->out, "round %d: %.*s UID %u was not there", r->round, SPAN_ARG(box->name), list[i].uid);
		}
		read_content(r, store, &list[i]);
	}
	for (size_t i = 0; i < r->truth->message_count; i++)
		wanted += r->truth->messages[i].box == box->id && (box->id != 1 || r->truth->messages[i].message.uid != r->expunged_uid);
	if (known != wanted)
		say_wrong(&r->out, "round %d: %.*s has %zu of its %zu messages", r->round, SPAN_ARG(box->name), known, wanted);
	if (box->id == 1 && count - known < r->added)
		say_wrong(&r->out, "round %d: a message that was filed since is gone", r->round);
}

/* ---- the account, as it was or made again ---- */

struct walk {
	struct reading *reading;
	struct store *store;
	struct store_txn *txn;
	size_t boxes, messages;
	uint64_t seen[MESSAGES_MAX];
};

static void sound_box(struct walk *w, const struct store_mailbox *box)
{
	const struct truth_box *was = truth_box(w->reading->truth, box->name);

	w->boxes++;
	if (was == NULL)
		say_wrong(&w->reading->out, "round %d: a mailbox %.*s was not there", w->reading->round, SPAN_ARG(box->name));
	else
		compare_box(w->reading, w->store, w->txn, box, was);
}

static bool is_default(struct span name)
{
	static const char *const names[] = {"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_eq(name, span_str(names[i])))
			return true;
	return false;
}

static void remade_box(struct walk *w, const struct store_mailbox *box)
{
	struct reading *r = w->reading;
	const struct truth_box *was = truth_box(now_truth, box->name);
	struct store_message *list;
	struct err err;
	size_t count;

	w->boxes++;
	if (was == NULL)
		was = truth_box(old_truth, box->name);
	if (was == NULL && !is_default(box->name))
		say_wrong(&r->out, "round %d: the new index has a mailbox %.*s that was not there", r->round, SPAN_ARG(box->name));
	/* The copy of the names may be what was damaged: then nothing is known of what was given. */
	if (was != NULL && box->uidvalidity <= was->box.uidvalidity && strstr(r->damage->path, "mailboxes") == NULL)
		say_wrong(&r->out, "round %d: %.*s was made again under a UIDVALIDITY it has had", r->round, SPAN_ARG(box->name));
	if (store_message_list(w->txn, box->id, 0, w->txn->pool, &list, &count, &err) != 0) {
		say_wrong(&r->out, "round %d: the new index: %s", r->round, err.text);
		return;
	}
	for (size_t i = 0; i < count && w->messages < MESSAGES_MAX; i++) {
		w->seen[w->messages++] = list[i].number;
		read_content(r, w->store, &list[i]);
	}
}

static int walk_box(void *arg, const struct store_mailbox *box)
{
	struct walk *w = arg;

	if (w->reading->rebuilt)
		remade_box(w, box);
	else
		sound_box(w, box);
	return 0;
}

static bool was_seen(const struct walk *w, uint64_t number)
{
	for (size_t i = 0; i < w->messages; i++)
		if (w->seen[i] == number)
			return true;
	return false;
}

/* Every file that is not the damaged one is in the new index. */
static void all_is_filed(struct walk *w)
{
	struct reading *r = w->reading;

	for (size_t i = 0; i < now_truth->file_count; i++) {
		const struct truth_file *f = &now_truth->files[i];

		if (!is_damaged_file(r, f->name.number) && f->name.number != r->expunged_number && !was_seen(w, f->name.number) && f->content.len > 0)
			say_wrong(&r->out, "round %d: the new index lacks %s, which is not damaged", r->round, f->path);
	}
}

static int count_subscription(void *arg, struct span name)
{
	(void)name;
	++*(size_t *)arg;
	return 0;
}

static void read_all(struct reading *r, struct store *store)
{
	struct walk *w = calloc(1, sizeof(*w));
	struct err err;
	size_t subscriptions = 0;
	int code;

	w->reading = r;
	w->store = store;
	if (store_begin(store, false, &w->txn, &err) != 0) {
		say_log(&r->out, err.text);
		r->index_errors++;
		free(w);
		return;
	}
	code = store_mailbox_each(w->txn, walk_box, w);
	if (code == E_CORRUPT)
		r->index_errors++;
	else if (code != 0)
		say_wrong(&r->out, "round %d: the mailboxes: %s", r->round, err_text(code));
	else if (r->rebuilt)
		all_is_filed(w);
	else if (w->boxes != r->truth->box_count)
		say_wrong(&r->out, "round %d: %zu of %zu mailboxes", r->round, w->boxes, r->truth->box_count);
	code = store_subscription_each(w->txn, count_subscription, &subscriptions);
	if (code == E_CORRUPT)
		r->index_errors++;
	else if (!r->rebuilt && subscriptions != r->truth->subscription_count)
		say_wrong(&r->out, "round %d: %zu of %zu subscriptions", r->round, subscriptions, r->truth->subscription_count);
	store_abort(&w->txn);
	free(w);
}

/* ---- what is done in it ---- */

static int file_one(struct reading *r, struct store *store, struct err *err)
{
	struct store_draft *draft;
	struct store_message m;
	struct store_txn *txn;
	char text[128];
	int code = store_draft_new(store, 1, 1700000000, &draft, err);

	added_text(r->added, text);
	if (code == 0)
		code = store_draft_write(draft, span_str(text), err);
	if (code == 0)
		code = store_draft_finish(draft, err);
	if (code == 0)
		code = store_begin(store, true, &txn, err);
	if (code == 0) {
		code = store_append(txn, draft, 1, 0, NULL, 0, NULL, &m, err);
		if (code == 0)
			code = store_commit(&txn, err);
		else
			store_abort(&txn);
	}
	if (code == 0) {
		store_draft_kept(draft);
		r->added++;
	}
	store_draft_free(&draft);
	return code;
}

/* The first and the second message of INBOX. */
static int flag_and_expunge(struct reading *r, struct store *store, struct err *err)
{
	struct store_message *list;
	struct store_txn *txn;
	size_t count = 0;
	int code = store_begin(store, true, &txn, err);

	if (code != 0)
		return code;
	code = store_message_list(txn, 1, 0, txn->pool, &list, &count, err);
	if (code == 0 && count > 2) {
		r->flagged_uid = list[0].uid;
		r->expunged_uid = list[1].uid;
		r->expunged_number = list[1].number;
		code = store_change_flags(txn, 1, &r->flagged_uid, 1, STORE_FLAGS_ADD, STORE_FLAGGED, NULL, 0, err);
		if (code == 0)
			code = store_expunge(txn, 1, &r->expunged_uid, 1, err);
	}
	if (code == 0 && count > 2)
		return store_commit(&txn, err);
	store_abort(&txn);
	r->flagged_uid = r->expunged_uid = 0;
	r->expunged_number = 0;
	return code;
}

static void write_some(struct reading *r, struct store *store)
{
	struct err err;
	int code = 0;

	for (int i = 0; i < ADDED && code == 0; i++)
		code = file_one(r, store, &err);
	if (code == 0)
		code = flag_and_expunge(r, store, &err);
	if (code == 0)
		return;
	say_log(&r->out, err.text);
	r->index_errors++;
	if (code != E_CORRUPT && code != E_NOSPACE)
		say_wrong(&r->out, "round %d: a change: %s", r->round, err.text);
}

/* ---- the processes ---- */

static void note_fault(void *arg, const char *text)
{
	struct reading *r = arg;
	char digits[2][20] = {"?", "?"};
	const char *paths[2] = {r->damage->path, r->damage->other};
	bool names = false;

	for (int i = 0; i < 2; i++) {
		const char *base = strrchr(paths[i], '/');

		if (base != NULL && strncmp(paths[i], "mail/", 5) == 0)
			snprintf(digits[i], sizeof(digits[i]), "%.16s", base + 1);
		names = names || strstr(text, digits[i]) != NULL;
	}
	names = names || (r->index_hit && (strstr(text, "index") != NULL || strstr(text, "usage") != NULL || strstr(text, "counts") != NULL));
	names = names || ((strcmp(paths[0], "mailboxes") == 0 || strcmp(paths[1], "mailboxes") == 0) && strstr(text, "mailboxes:") != NULL);
	/* An old index knows neither the newest names nor the newest messages. */
	names = names || (r->damage->way == WAY_OLD && strstr(text, "mailboxes:") != NULL);
	say_log(&r->out, text);
	*(names ? &r->named : &r->unnamed) += 1;
}

static void run_round(void *arg)
{
	struct reading *r = arg;
	struct store_options options = {.create = true};
	int dir = open(".", O_RDONLY | O_DIRECTORY), code;
	bool rebuilt = false;
	struct store *store;
	struct err err = {0};

	code = store_open(&store, dir, &options, &rebuilt, &err);
	if (code != 0) {
		say_wrong(&r->out, "round %d: the account cannot be opened: %s", r->round, err.text);
		return;
	}
	r->opened = true;
	r->rebuilt |= rebuilt;
	if (rebuilt) { /* UIDs are new */
		r->expunged_uid = r->flagged_uid = 0;
		r->expunged_number = 0;
	}
	read_all(r, store);
	if (r->round == 1)
		r->faults = store_check(store, note_fault, r);
	if (r->round == 2)
		write_some(r, store);
	store_close(&store);
	r->finished = true;
}

static void judge_check(struct reading *r)
{
	bool message = strncmp(r->damage->path, "mail/", 5) == 0, nobody_knows = r->damage->way == WAY_DELETE && r->lost;

	if (r->faults < 0)
		say_wrong(&r->out, "store check failed: %s", err_text(r->faults));
	if (r->faults == 0 && (r->index_errors > 0 || r->file_errors > 0) )
		say_wrong(&r->out, "store check found no fault, but something was refused");
	/* A whole copy of another time may be what a kill between its two steps has left. */
	if (strcmp(r->damage->path, "mailboxes") == 0 && r->damage->way != WAY_OLD && !r->index_hit && r->named == 0)
		say_wrong(&r->out, "store check does not name the damaged copy of the names");
	if (message && r->named == 0 && r->faults >= 0 && !nobody_knows)
		say_wrong(&r->out, "store check does not name the damaged message");
	if (r->unnamed > 0)
		say_wrong(&r->out, "store check names what is not damaged");
}

/* More than once in a row is for good. */
static void judge_death(struct reading *r, int status, unsigned *deaths)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		say_wrong(&r->out, "round %d: it hangs", r->round);
	else if (!r->index_hit)
		say_wrong(&r->out, "round %d: the process died, signal %d", r->round, WTERMSIG(status));
	else if (++*deaths > 1)
		say_wrong(&r->out, "round %d: the process died again, signal %d", r->round, WTERMSIG(status));
	r->out.died = true;
	say_log(&r->out, "the process died");
}

static void run_rounds(struct reading *r)
{
	unsigned deaths = 0;

	for (r->round = 1; r->round <= ROUNDS && r->out.wrong[0] == '\0'; r->round++) {
		int status;

		r->index_errors = r->file_errors = 0;
		r->opened = r->finished = false;
		status = in_child(run_round, r);
		if (status != 0) {
			judge_death(r, status, &deaths);
			continue;
		}
		if (r->round == 1)
			judge_check(r);
		r->out.refused += r->file_errors;
		if (r->index_errors > 0 && !r->index_hit)
			say_wrong(&r->out, "round %d: the index is called damaged, and is not", r->round);
		if (r->index_errors > 0 && r->round == ROUNDS)
			say_wrong(&r->out, "round %d: the index was not put in order", r->round);
		if (r->round == 3 && r->index_errors == 0)
			break; /* it was all in order */
	}
	r->out.rebuilt = r->rebuilt;
	r->out.harmless = !r->rebuilt && !r->out.died && r->out.refused == 0 && r->faults == 0;
}

/* ---- a case ---- */

static void pick_file(struct chance *c, const struct files *files, char path[PATH], bool *lmdb)
{
	size_t n = chance_below(c, 20);

	*lmdb = n < 10;
	if (n < 10)
		snprintf(path, PATH, "index/data.mdb");
	else if (n == 10)
		snprintf(path, PATH, "index/lock.mdb");
	else if (n <= 12)
		snprintf(path, PATH, "mailboxes");
	else
		do
			snprintf(path, PATH, "%s", files->paths[chance_below(c, files->count)]);
		while (strncmp(path, "mail/", 5) != 0);
}

/* As a second damage: the index is gone, and what is left must not be believed blindly. */
static void lose_index(struct chance *c, struct reading *r, struct damage *damage)
{
	if (r->index_hit || strcmp(damage->path, "index/lock.mdb") == 0 || chance_below(c, 3) != 0)
		return;
	unlink("index/data.mdb");
	r->index_hit = r->lost = true;
	strncat(damage->text, "; and the index is lost", sizeof(damage->text) - strlen(damage->text) - 1);
}

void account_case(struct chance *c, const char *world, const char *scratch, struct damage *damage, struct outcome *out)
{
	struct reading *r = shared_new(sizeof(*r));
	char from[2 * PATH], old[2 * PATH], at[2 * PATH], path[PATH];
	struct files files, mail = {0};
	bool lmdb;

	snprintf(from, sizeof(from), "%s/account", world);
	snprintf(old, sizeof(old), "%s/account.old", world);
	snprintf(at, sizeof(at), "%s/account", scratch);
	tree_remove(at);
	tree_copy(from, at);
	files_list(at, &files);
	pick_file(c, &files, path, &lmdb);
	for (size_t i = 0; i < files.count; i++)
		if (strncmp(files.paths[i], "mail/", 5) == 0 && (mail.count == 0 || i > 0)) {
			mail.paths = reallocarray(mail.paths, mail.count + 1, sizeof(*mail.paths));
			memcpy(mail.paths[mail.count++], files.paths[i], PATH);
		}
	damage_do(c, at, old, path, strncmp(path, "mail/", 5) == 0 ? &mail : &files, lmdb ? &hints : NULL, damage);
	if (chdir(at) != 0)
		die("no %s", at);
	r->damage = damage;
	r->index_hit = lmdb || strncmp(damage->other, "index/", 6) == 0;
	r->truth = damage->way == WAY_OLD && lmdb ? old_truth : now_truth;
	lose_index(c, r, damage);
	run_rounds(r);
	*out = r->out;
	files_free(&files);
	files_free(&mail);
	munmap(r, sizeof(*r));
}

void account_learn(const char *world, const char *scratch)
{
	static const char *const names[] = {"account", "account.old"};
	struct truth **const truths[] = {&now_truth, &old_truth};
	char index[2 * PATH];

	for (int i = 0; i < 2; i++) {
		char from[2 * PATH], at[2 * PATH];

		snprintf(from, sizeof(from), "%s/%s", world, names[i]);
		snprintf(at, sizeof(at), "%s/learn", scratch);
		tree_remove(at);
		tree_copy(from, at);
		*truths[i] = calloc(1, sizeof(**truths[i]));
		truth_learn(*truths[i], at);
		if (chdir("/") != 0)
			die("/");
		tree_remove(at);
	}
	snprintf(index, sizeof(index), "%s/account/index", world);
	live_ranges(index, &hints);
}
