/*
 * Destinations that an administrator has paused, in a file of their own beside the messages (doc/spool.md): they stay so over a restart.
 * The file is written whole, under another name first; what is damaged is set aside, and then nothing is paused.
 */
#include "queue/destination.h"


#include <stdlib.h>

#define PAUSED_FILE "paused"
#define PAUSED_NEW "paused.new"
#define PAUSED_ASIDE "corrupt/paused"

struct paused {
	struct span names[SPOOL_PAUSED_MAX];
	size_t count, all; /* all: also those that had no room */
	const struct destination *changed; /* counts as paused when `pause` says so */
	bool pause;
};

/* ---- writing ---- */

static void collect(void *arg, struct destination *d)
{
	struct paused *p = arg;

	if (!(d == p->changed ? p->pause : d->paused))
		return;
	if (p->all++ < SPOOL_PAUSED_MAX)
		p->names[p->count++] = span_str(d->key);
}

static int write_list(struct destination *d, bool pause, struct err *err)
{
	struct paused *p = calloc(1, sizeof(*p));
	struct buf text;
	int r;

	if (p == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	p->changed = d;
	p->pause = pause;
	buf_init(&text, SPOOL_PAUSED_SIZE);
	destination_each(d->queue, collect, p);
	if (p->all > SPOOL_PAUSED_MAX)
		r = err_set(err, E_LIMIT, "more than %d destinations would be paused", SPOOL_PAUSED_MAX);
	else if ((r = spool_paused_encode(p->names, p->count, d->queue->key, &text)) != 0)
		err_set(err, r, "%s", err_text(r));
	else
		r = queue_write_file(PAUSED_FILE, PAUSED_NEW, buf_span(&text), err);
	buf_fini(&text);
	free(p);
	return r;
}

/* A directory whose sync failed has the new list all the same: what was refused is not to come with the next start. */
int pause_set(struct destination *d, bool pause, struct err *err)
{
	struct err ignored;
	int r = write_list(d, pause, err);

	if (r == 0)
		d->paused = pause;
	else
		(void)write_list(d, d->paused, &ignored);
	return r;
}

/* ---- at the start ---- */

static int take(struct queue *queue, struct span text, struct err *err)
{
	struct paused *p = calloc(1, sizeof(*p));
	int r = p != NULL ? spool_paused_decode(text, queue->key, p->names, &p->count, err) : err_set(err, E_NOMEM, "out of memory");

	for (size_t i = 0; r == 0 && i < p->count; i++) {
		struct destination *d = destination_get(queue, p->names[i]);

		if (d == NULL)
			r = err_set(err, E_NOMEM, "out of memory");
		else
			d->paused = true;
	}
	free(p);
	return r;
}

int pause_load(struct queue *queue, struct err *err)
{
	struct buf text;
	int r;

	buf_init(&text, SPOOL_PAUSED_SIZE);
	r = queue_read_file(PAUSED_FILE, SPOOL_PAUSED_SIZE, &text, err);
	if (r == 0)
		r = take(queue, buf_span(&text), err);
	buf_fini(&text);
	if (r == E_CORRUPT)
		queue_set_file_aside(queue, PAUSED_FILE, PAUSED_ASIDE, err);
	return r == E_CORRUPT || r == E_NOTFOUND ? 0 : r;
}

static void count_one(void *arg, struct destination *d)
{
	*(unsigned *)arg += d->paused;
}

unsigned pause_count(struct queue *queue)
{
	unsigned count = 0;

	if (queue->destinations != NULL)
		destination_each(queue, count_one, &count);
	return count;
}
