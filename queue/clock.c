/*
 * Queue's clock (clock.h), and where it is noticed and said that the machine's clock was set. It is written down now and then, so that a
 * start goes on from there (doc/spool.md, the clock).
 */
#include "queue/clock.h"
#include "queue/queue.h"
#include "queue/waiting.h"

#include "base/log.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CLOCK_FILE "clock"
#define CLOCK_NEW "clock.new"
#define CLOCK_ASIDE "corrupt/clock"
#define BOOT_FILE "/proc/sys/kernel/random/boot_id"

enum {
	CLOCK_LOOK_S = 5,
	CLOCK_JUMP_MS = 10 * 1000, /* less is a clock that is kept right */
};

struct save {
	struct queue *queue;
	struct buf text;
};

void queue_clock_boot(struct queue_clock *clock)
{
	int fd = open(BOOT_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, clock->boot, sizeof(clock->boot) - 1);

	if (fd >= 0)
		close(fd);
	clock->boot[n > 0 ? n : 0] = '\0';
	clock->boot[strcspn(clock->boot, "\n")] = '\0';
}

static void read_clocks(const struct queue_clock *clock, struct spool_clock *out)
{
	*out = (struct spool_clock){.queue_ms = queue_clock_ms(clock), .wall_ms = clock_wall_ms(), .since_boot_ms = clock_boot_ms()};
	memcpy(out->boot, clock->boot, sizeof(out->boot));
}

/* ---- it is written down ---- */

static void save(struct queue *queue);

/* By a thread. */
static void write_down(struct disk_job *job)
{
	struct save *s = job->arg;

	job->code = queue_write_file(CLOCK_FILE, CLOCK_NEW, buf_span(&s->text), &job->err);
}

static void save_free(struct save *s)
{
	buf_fini(&s->text);
	free(s);
}

static void on_written(struct disk_job *job)
{
	struct save *s = job->arg;
	struct queue *queue = s->queue;

	save_free(s);
	queue->clock.saving = false;
	if (job->code != 0)
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("file", CLOCK_FILE), F_ERR(&job->err));
	if (queue->clock.changed)
		save(queue);
}

/* What cannot be written now is written the next time. */
static void save(struct queue *queue)
{
	struct queue_clock *clock = &queue->clock;
	struct save *s = queue->halting || clock->saving ? NULL : calloc(1, sizeof(*s));
	struct spool_clock c;

	clock->changed = clock->saving;
	if (s == NULL)
		return;
	read_clocks(clock, &c);
	s->queue = queue;
	buf_init(&s->text, SPOOL_CLOCK_SIZE);
	clock->saved_ms = c.queue_ms;
	clock->saving = spool_clock_encode(&c, queue->key, &s->text) == 0 && disk_work(queue->disk, 0, write_down, on_written, s);
	if (!clock->saving)
		save_free(s);
}

/* ---- it is looked at ---- */

/* The sender's wish is a time by the machine's clock: what has come by it now, is due. Its file says it. */
static void look_at_wishes(struct queue *queue)
{
	for (size_t i = 0; i < waiting_count(queue->waiting); i++) {
		struct waiting *w = waiting_at(queue->waiting, i);

		if (w->wished && !w->held)
			schedule_wish(queue, w);
	}
}

static void look(struct queue *queue, const char *while_it)
{
	struct queue_clock *clock = &queue->clock;
	int64_t ahead = clock_wall_ms() - queue_clock_ms(clock), by = ahead - clock->ahead_ms;

	clock->ahead_ms = ahead;
	if (by > -CLOCK_JUMP_MS && by < CLOCK_JUMP_MS)
		return;
	log_event(EV_clock_jumped, daemon_log(queue->daemon), F_I64("seconds", by / 1000), F_STR("while", while_it), F_I64("ahead", ahead / 1000));
	look_at_wishes(queue);
	save(queue);
}

void queue_clock_look(struct queue *queue)
{
	look(queue, "running");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct queue *queue = arg;

	(void)fd;
	(void)what;
	look(queue, "running");
	if (queue_clock_ms(&queue->clock) - queue->clock.saved_ms >= SPOOL_CLOCK_SAVE_MS / 2)
		save(queue);
}

/* ---- the start ---- */

static int load(struct queue *queue, struct spool_clock *out)
{
	struct err err = {0};
	struct buf text;
	int r;

	buf_init(&text, SPOOL_CLOCK_SIZE + 1);
	r = queue_read_file(CLOCK_FILE, SPOOL_CLOCK_SIZE + 1, &text, &err);
	if (r == 0)
		r = spool_clock_decode(buf_span(&text), queue->key, out, &err);
	buf_fini(&text);
	if (r == E_CORRUPT)
		queue_set_file_aside(queue, CLOCK_FILE, CLOCK_ASIDE, &err);
	else if (r != 0 && r != E_NOTFOUND)
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("file", CLOCK_FILE), F_ERR(&err));
	return r;
}

int queue_clock_start(struct queue *queue, struct err *err)
{
	struct queue_clock *clock = &queue->clock;
	struct timeval tv = {.tv_sec = CLOCK_LOOK_S};
	struct spool_clock before, c;
	int64_t extra_ms;

	read_clocks(clock, &c);
	clock->base_ms = spool_clock_begin(c.wall_ms) - c.since_boot_ms;
	clock->ahead_ms = 0;
	if (load(queue, &before) == 0) {
		clock->base_ms = spool_clock_resume(&before, &c, &extra_ms) - c.since_boot_ms;
		clock->ahead_ms = before.wall_ms - before.queue_ms - extra_ms;
	}
	look(queue, "stopped");
	clock->timer = event_new(daemon_base(queue->daemon), -1, EV_PERSIST, on_timer, queue);
	return clock->timer != NULL && event_add(clock->timer, &tv) == 0 ? 0 : err_set(err, E_NOMEM, "no memory for a timer");
}

void queue_clock_settle(struct queue *queue)
{
	struct queue_clock *clock = &queue->clock;
	int64_t by = spool_clock_begin(clock_wall_ms()) - queue_clock_ms(clock);

	if (queue->recovery == NULL && waiting_count(queue->waiting) == 0 && by > 0) {
		clock->base_ms += by;
		clock->ahead_ms -= by;
	}
	save(queue);
}
