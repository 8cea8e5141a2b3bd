/* auth's directory: an address leads where it led, or nobody is told anything of it. */
#include "tests/damage/damage.h"

#include "auth/directory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { ENTRIES = 200 };

struct entry {
	char address[DIRECTORY_ADDRESS_MAX + 1];
	enum directory_kind kind;
	struct account account;
	struct buf targets;
};

struct truth {
	struct entry entries[ENTRIES];
	size_t count;
	char domains[ENTRIES][256];
	size_t domain_count;
};

static struct truth *now_truth, *old_truth;
static struct hints hints;

static int learn_account(void *arg, const struct account *account)
{
	struct truth *t = arg;
	struct entry *e = &t->entries[t->count++];

	e->kind = DIRECTORY_ACCOUNT;
	e->account = *account;
	snprintf(e->address, sizeof(e->address), "%s", account->address);
	return t->count == ENTRIES;
}

static int learn_alias(void *arg, struct span address, struct span targets)
{
	struct truth *t = arg;
	struct entry *e = &t->entries[t->count++];

	e->kind = DIRECTORY_ALIAS;
	span_copy(address, e->address, sizeof(e->address));
	buf_init(&e->targets, DIRECTORY_ALIAS_MAX);
	buf_add_span(&e->targets, targets);
	return t->count == ENTRIES;
}

static int learn_domain(void *arg, struct span name)
{
	struct truth *t = arg;

	span_copy(name, t->domains[t->domain_count++], sizeof(t->domains[0]));
	return t->domain_count == ENTRIES;
}

void directory_learn(const char *world, const char *scratch)
{
	static const char *const names[] = {"directory", "directory.old"};
	struct truth **const truths[] = {&now_truth, &old_truth};
	char data[2 * PATH];

	for (int i = 0; i < 2; i++) {
		struct truth *t = *truths[i] = calloc(1, sizeof(*t));
		char from[2 * PATH], at[2 * PATH];
		struct directory *d;
		struct err err;

		snprintf(from, sizeof(from), "%s/%s", world, names[i]);
		snprintf(at, sizeof(at), "%s/learn", scratch);
		tree_remove(at);
		tree_copy(from, at);
		if (directory_open(at, &d, &err) != 0 || directory_is_damaged(d))
			die("the world's directory: %s", err.text);
		directory_account_each(d, learn_account, t);
		directory_alias_each(d, learn_alias, t);
		directory_domain_each(d, learn_domain, t);
		directory_close(&d);
		tree_remove(at);
		if (t->count == 0)
			die("the world's directory is empty");
	}
	snprintf(data, sizeof(data), "%s/directory", world);
	live_ranges(data, &hints);
}

struct reading {
	struct outcome *out;
	const char *at;
	const struct truth *truth;
	bool lost; /* the file itself */
};

static bool same_account(const struct account *a, const struct account *b)
{
	return a->id == b->id && a->quota == b->quota && a->created == b->created && a->disabled == b->disabled && strcmp(a->address, b->address) == 0 &&
	       strcmp(a->name, b->name) == 0 && strcmp(a->credentials.hash, b->credentials.hash) == 0 &&
	       strcmp(a->credentials.scram_sha_256, b->credentials.scram_sha_256) == 0;
}

static void look_up(struct reading *r, struct directory *d, const struct entry *e)
{
	struct account account = {0};
	struct buf targets;
	enum directory_kind kind;

	buf_init(&targets, DIRECTORY_ALIAS_MAX);
	kind = directory_find(d, span_str(e->address), &account, &targets);
	if (kind == DIRECTORY_ERROR)
		r->out->refused++;
	else if (kind == DIRECTORY_NONE && !r->lost)
		say_wrong(r->out, "%s is said not to be there", e->address);
	else if (kind != DIRECTORY_NONE && kind != e->kind)
		say_wrong(r->out, "%s is another thing than it was", e->address);
	else if (kind == DIRECTORY_ACCOUNT && !same_account(&account, &e->account))
		say_wrong(r->out, "%s is another account than it was", e->address);
	else if (kind == DIRECTORY_ALIAS && !span_eq(buf_span(&targets), buf_span(&e->targets)))
		say_wrong(r->out, "%s leads elsewhere than it did", e->address);
	buf_fini(&targets);
}

static int known_account(void *arg, const struct account *account)
{
	struct reading *r = arg;

	for (size_t i = 0; i < r->truth->count; i++)
		if (r->truth->entries[i].kind == DIRECTORY_ACCOUNT && same_account(account, &r->truth->entries[i].account))
			return 0;
	say_wrong(r->out, "an account %s that was not there is listed", account->address);
	return 1;
}

static void read_directory(void *arg)
{
	struct reading *r = arg;
	struct account added = {.address = "added@example.com"}, first;
	struct directory *d;
	struct err err = {0};
	int code = directory_open(r->at, &d, &err);

	if (code != 0) { /* auth says so and does not start */
		r->out->died = true;
		say_log(r->out, err.text);
		if (code != E_CORRUPT)
			say_wrong(r->out, "the directory cannot be opened: %s", err.text);
		return;
	}
	for (size_t i = 0; i < r->truth->count; i++)
		look_up(r, d, &r->truth->entries[i]);
	for (size_t i = 0; i < r->truth->domain_count && !r->lost; i++)
		if (!directory_domain_has(d, span_str(r->truth->domains[i])))
			say_wrong(r->out, "the domain %s is said not to be ours", r->truth->domains[i]);
	directory_account_each(d, known_account, r);
	r->out->harmless = r->out->refused == 0 && !directory_is_damaged(d);
	/* A change works or is refused; it makes nothing wrong. */
	directory_reserve(d, 1000);
	code = directory_account_add(d, &added, &err);
	if (code == 0 && (directory_account_get(d, span_str(added.address), &first) != 0 || first.id != added.id || added.id <= 1000))
		say_wrong(r->out, "an account that was added is not there, or has a number that was taken");
	for (size_t i = 0; i < r->truth->count; i++)
		look_up(r, d, &r->truth->entries[i]);
	directory_close(&d);
}

void directory_case(struct chance *c, const char *world, const char *scratch, struct damage *damage, struct outcome *out)
{
	char from[2 * PATH], old[2 * PATH], at[2 * PATH];
	struct reading r = {.out = out, .at = at, .truth = now_truth};
	bool data = chance_below(c, 8) != 0;
	struct files files;
	int status;

	snprintf(from, sizeof(from), "%s/directory", world);
	snprintf(old, sizeof(old), "%s/directory.old", world);
	snprintf(at, sizeof(at), "%s/directory", scratch);
	tree_remove(at);
	tree_copy(from, at);
	files_list(at, &files);
	damage_do(c, at, old, data ? "data.mdb" : "lock.mdb", &files, data ? &hints : NULL, damage);
	if (data && damage->way == WAY_OLD)
		r.truth = old_truth;
	/* Without its file auth begins a new one: nothing tells it that there was another. */
	r.lost = (data || damage->way == WAY_EXCHANGE) && (damage->way == WAY_DELETE || damage->way == WAY_EMPTY || (damage->way == WAY_TRUNCATE && damage->size == 0));
	status = in_child(read_directory, &r);
	if (status != 0)
		say_wrong(out, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "it hangs" : "the process died, status %d", status);
	files_free(&files);
}
