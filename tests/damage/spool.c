/* Files of the spool: each is read as queue reads it, before a message is tried. */
#include "tests/damage/damage.h"

#include "spool/spool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SPOOL_FILES = 200 };

struct was {
	char path[PATH]; /* below queue/ */
	struct span content;
	struct spool_file file;
};

static struct was all[SPOOL_FILES];
static size_t count;
static unsigned char key[SPOOL_KEY];
static struct pool *pool;

struct reading {
	struct outcome *out;
	const char *root;
	const struct damage *damage;
};

static int read_file(const char *root, const char *path, struct pool *in, struct spool_file *file, struct span *content, struct err *err)
{
	char full[2 * PATH];
	const char *base = strrchr(path, '/');
	uint64_t id;
	char *bytes;
	int fd, r;

	if (base == NULL || !spool_id_parse(span_str(base + 1), &id))
		die("%s is no spool file", path);
	snprintf(full, sizeof(full), "%s/%s", root, path);
	fd = open(full, O_RDONLY);
	if (fd < 0)
		return E_NOTFOUND;
	r = spool_read(fd, id, key, true, in, file, err);
	if (r == 0) {
		bytes = pool_alloc(in, (size_t)file->content + 1);
		if (bytes == NULL || pread(fd, bytes, (size_t)file->content, 0) != (ssize_t)file->content)
			r = E_IO;
		else
			*content = span_of(bytes, (size_t)file->content);
	}
	close(fd);
	return r;
}

void spool_learn(const char *world)
{
	char root[2 * PATH];
	struct files files;
	struct span secret;
	struct err err;

	snprintf(root, sizeof(root), "%s/spool", world);
	secret = file_load(root, "key");
	if (secret.len != sizeof(key))
		die("the world's spool has no key");
	memcpy(key, secret.ptr, sizeof(key));
	pool = pool_new(NULL, 0);
	snprintf(root, sizeof(root), "%s/spool/queue", world);
	files_list(root, &files);
	for (size_t i = 0; i < files.count && count < SPOOL_FILES; i++) {
		struct was *w = &all[count];

		snprintf(w->path, sizeof(w->path), "%s", files.paths[i]);
		if (read_file(root, w->path, pool, &w->file, &w->content, &err) == 0)
			count++;
	}
	files_free(&files);
	if (count == 0)
		die("the world's spool is empty");
}

static bool same_recipient(const struct spool_recipient *a, const struct spool_recipient *b)
{
	return span_eq(a->address, b->address) && span_eq(a->orcpt, b->orcpt) && a->notify == b->notify && a->account == b->account && a->quota == b->quota &&
	       span_eq(a->canonical, b->canonical) && span_eq(a->detail, b->detail) && span_eq(a->grant, b->grant) && a->local == b->local;
}

static bool same_envelope(const struct spool_envelope *a, const struct spool_envelope *b)
{
	if (a->source != b->source || a->arrived != b->arrived || !span_eq(a->sender, b->sender) || !span_eq(a->envid, b->envid) || a->ret != b->ret ||
	    a->body != b->body || a->smtputf8 != b->smtputf8 || !span_eq(a->client, b->client) || !span_eq(a->helo, b->helo) || a->recipient_count != b->recipient_count)
		return false;
	for (size_t i = 0; i < a->recipient_count; i++)
		if (!same_recipient(&a->recipients[i], &b->recipients[i]))
			return false;
	return true;
}

static bool same_record(const struct spool_record *a, const struct spool_record *b)
{
	return a->status == b->status && a->recipient == b->recipient && a->attempts == b->attempts && a->when == b->when && a->next == b->next && span_eq(a->text, b->text);
}

/* Each record is one that was written, in their order: one that is missing costs an attempt more. */
static bool known_records(const struct spool_file *now, const struct spool_file *was)
{
	size_t at = 0;

	for (size_t i = 0; i < now->record_count; i++) {
		while (at < was->record_count && !same_record(&now->records[i], &was->records[at]))
			at++;
		if (at++ == was->record_count)
			return false;
	}
	return true;
}

static void read_one(struct reading *r, const struct was *w)
{
	bool exchanged = r->damage->way == WAY_EXCHANGE && strcmp(r->damage->other, w->path) == 0, damaged = exchanged || strcmp(r->damage->path, w->path) == 0;
	struct pool *in = pool_new(NULL, 0);
	struct spool_file file;
	struct span content = {0};
	struct err err = {0};
	int code = read_file(r->root, w->path, in, &file, &content, &err);

	if (code != 0) {
		r->out->refused++;
		if (!damaged)
			say_wrong(r->out, "%s, which is not damaged, was refused: %s", w->path, err.text);
		else if (code != E_CORRUPT && r->damage->way != WAY_DELETE)
			say_wrong(r->out, "%s is not set aside but %s: the message would be lost", w->path, err_text(code));
	} else if (!span_eq(content, w->content)) {
		say_wrong(r->out, "%s: wrong mail would be delivered", w->path);
	} else if (!same_envelope(&file.envelope, &w->file.envelope)) {
		say_wrong(r->out, "%s: it would be delivered to others", w->path);
	} else if (!known_records(&file, &w->file) || (!damaged && file.record_count != w->file.record_count)) {
		say_wrong(r->out, "%s has records that were never written", w->path);
	} else if (damaged) {
		r->out->harmless = true;
	}
	pool_free(&in);
}

static void read_spool(void *arg)
{
	struct reading *r = arg;

	for (size_t i = 0; i < count; i++)
		read_one(r, &all[i]);
}

void spool_case(struct chance *c, const char *world, const char *scratch, struct damage *damage, struct outcome *out)
{
	char from[2 * PATH], old[2 * PATH], at[2 * PATH];
	struct reading r = {.out = out, .root = at, .damage = damage};
	struct files files;
	int status;

	snprintf(from, sizeof(from), "%s/spool/queue", world);
	snprintf(old, sizeof(old), "%s/spool.old/queue", world);
	snprintf(at, sizeof(at), "%s/queue", scratch);
	tree_remove(at);
	tree_copy(from, at);
	files_list(at, &files);
	damage_do(c, at, old, all[chance_below(c, count)].path, &files, NULL, damage);
	status = in_child(read_spool, &r);
	if (status != 0)
		say_wrong(out, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "it hangs" : "the process died, status %d", status);
	files_free(&files);
}
