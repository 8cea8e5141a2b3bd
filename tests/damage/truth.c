#include "tests/damage/truth.h"

#include "base/checksum.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t words_sum(const struct store_mailbox *box)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < STORE_KEYWORDS_MAX; i++)
		sum = checksum(box->keywords[i].ptr, box->keywords[i].len, sum + i);
	return sum;
}

uint64_t facts_sum(const struct store_facts *f)
{
	const struct span texts[4] = {f->envelope, f->body, f->bodystructure, f->parts};
	uint64_t sum = f->header_sum ^ f->header_size ^ (uint64_t)f->sent << 1;

	for (size_t i = 0; i < 4; i++)
		sum = checksum(texts[i].ptr, texts[i].len, sum);
	return sum;
}

const struct truth_box *truth_box(const struct truth *t, struct span name)
{
	for (size_t i = 0; i < t->box_count; i++)
		if (span_eq(span_str(t->boxes[i].name), name))
			return &t->boxes[i];
	return NULL;
}

const struct truth_message *truth_message(const struct truth *t, uint32_t box, uint32_t uid)
{
	for (size_t i = 0; i < t->message_count; i++)
		if (t->messages[i].box == box && t->messages[i].message.uid == uid)
			return &t->messages[i];
	return NULL;
}

const struct truth_file *truth_file(const struct truth *t, uint64_t number)
{
	for (size_t i = 0; i < t->file_count; i++)
		if (t->files[i].name.number == number)
			return &t->files[i];
	return NULL;
}

struct learning {
	struct truth *truth;
	struct store_txn *txn;
};

static int learn_box(void *arg, const struct store_mailbox *box)
{
	struct learning *l = arg;
	struct truth_box *b = &l->truth->boxes[l->truth->box_count++];
	struct store_message *list;
	struct err err;
	size_t count;

	if (l->truth->box_count == BOXES_MAX || store_message_list(l->txn, box->id, 0, l->txn->pool, &list, &count, &err) != 0)
		die("the world's mailboxes cannot be read");
	b->box = *box;
	b->words = words_sum(box);
	span_copy(box->name, b->name, sizeof(b->name));
	for (size_t i = 0; i < count; i++) {
		struct truth_message *m = &l->truth->messages[l->truth->message_count++];
		struct store_facts facts;

		if (l->truth->message_count == MESSAGES_MAX)
			die("the world has too many messages");
		*m = (struct truth_message){.box = box->id, .message = list[i]};
		if (store_facts_get(l->txn, list[i].number, &facts, &err) == 0)
			m->facts = facts_sum(&facts);
	}
	return 0;
}

static int learn_subscription(void *arg, struct span name)
{
	struct truth *t = arg;

	t->subscription_count++;
	t->subscriptions ^= checksum(name.ptr, name.len, 0);
	return 0;
}

static int learn_file(void *arg, const char *path, const struct file_name *name)
{
	struct truth *t = arg;
	struct truth_file *f = &t->files[t->file_count++];

	if (t->file_count == MESSAGES_MAX)
		die("the world has too many files");
	f->name = *name;
	snprintf(f->path, sizeof(f->path), "%s", path);
	f->content = file_load("", path);
	f->expunged = true;
	for (size_t i = 0; i < t->message_count; i++)
		f->expunged = f->expunged && t->messages[i].message.number != name->number;
	return 0;
}

static void learn_nothing(void *arg, const char *text)
{
	(void)arg;
	die("the world is damaged before it begins: %s", text);
}

/* The current directory is the account's. */
void truth_learn(struct truth *t, const char *account)
{
	struct store_options options = {0};
	struct learning l = {.truth = t};
	struct store *store;
	struct err err;
	bool rebuilt;
	int dir;

	if (chdir(account) != 0 || (dir = open(".", O_RDONLY | O_DIRECTORY)) < 0)
		die("no account %s", account);
	if (store_open(&store, dir, &options, &rebuilt, &err) != 0 || rebuilt || store_begin(store, false, &l.txn, &err) != 0)
		die("the world's account cannot be opened: %s", err.text);
	if (store_mailbox_each(l.txn, learn_box, &l) != 0 || store_subscription_each(l.txn, learn_subscription, t) != 0)
		die("the world's mailboxes cannot be read");
	files_each(dir, learn_file, t);
	store_abort(&l.txn);
	store_check(store, learn_nothing, NULL);
	store_close(&store);
	close(dir);
}
