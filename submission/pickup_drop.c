/*
 * The drop: letters that sendmail(1) wrote down itself because nobody took them (doc/spool.md). Anybody may put anything there.
 * What is not a plain file of its owner's alone, readable for our group and whole, gets a name of its own and is left to
 * the administrator. A letter goes when queue has it: a crash in between gives a second copy, never none.
 */
#include "submission/pickup.h"

#include "base/log.h"
#include "local/drop.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DROP_NAME = 64, DROP_POOL_MAX = 4 * 1024 * 1024 };

/* One of its letters that is under way. */
struct dropped {
	struct dropped *next;
	struct pickup *pickup;
	uid_t uid;
	char name[DROP_NAME];
};

/* How much of a user's lies there: as far as this pass has come, and in the pass before. */
struct owner {
	uid_t uid;
	unsigned letters, letters_before;
	uint64_t octets, octets_before;
};

/* A pass looks at every name there is, in pieces of a turn each. */
struct drop {
	struct pickup *pickup;
	DIR *pass;	/* NULL: none is under way */
	/* Another one must follow: */
	bool soon;	/* for letters that found no place */
	bool later;	/* for one that its owner does not let us open */
	bool troubled;	/* later all the same: queue took one not, or the disk did not let us */
	bool full;	/* the pass waits for a letter to end */
	struct event *turn, *news;
	int watch;
	struct dropped *busy;
	unsigned busy_count;
	struct owner owners[PICKUP_DROP_OWNERS];
	size_t owner_count;
};

static void log_bad(const struct pickup *pickup, const char *name, uid_t uid, const char *why)
{
	log_event(EV_pickup_bad_file, daemon_log(pickup->daemon), F_STR("file", name), F_U64("uid", uid), F_STR("reason", why));
}

static void turn_in(struct drop *drop, int ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (!drop->pickup->halting)
		evtimer_add(drop->turn, &tv);
}

/* ---- how much of whose ---- */

static void count_letter(struct drop *drop, const struct stat *st)
{
	size_t i = 0;

	while (i < drop->owner_count && drop->owners[i].uid != st->st_uid)
		i++;
	if (i == PICKUP_DROP_OWNERS)
		return;
	if (i == drop->owner_count)
		drop->owners[drop->owner_count++] = (struct owner){.uid = st->st_uid};
	drop->owners[i].letters++;
	drop->owners[i].octets += (uint64_t)st->st_size;
}

/* At the end of a pass. */
static void count_anew(struct drop *drop)
{
	size_t kept = 0;

	for (size_t i = 0; i < drop->owner_count; i++) {
		const struct owner *o = &drop->owners[i];

		if (o->letters > 0)
			drop->owners[kept++] = (struct owner){.uid = o->uid, .letters_before = o->letters, .octets_before = o->octets};
	}
	drop->owner_count = kept;
}

bool drop_is_full(const struct pickup *pickup, uid_t uid)
{
	const struct drop *drop = pickup->drop;

	for (size_t i = 0; i < drop->owner_count && uid != 0; i++) {
		const struct owner *o = &drop->owners[i];

		if (o->uid == uid)
			return o->letters >= PICKUP_DROP_LETTERS || o->letters_before >= PICKUP_DROP_LETTERS || o->octets >= PICKUP_DROP_OCTETS ||
			       o->octets_before >= PICKUP_DROP_OCTETS;
	}
	return false;
}

/* ---- one file ---- */

/*
 * Its name is changed so that it is not looked at again. What it holds stays; pipes and sockets hold nothing, and a daemon that
 * must not make them cannot rename them either (landlock(7)).
 */
static void set_aside(struct drop *drop, const char *name, uid_t uid, const char *why)
{
	char bad[DROP_NAME + 8];
	struct stat st;

	snprintf(bad, sizeof(bad), "%s%s", DROP_BAD, name);
	if (renameat2(AT_FDCWD, name, AT_FDCWD, bad, RENAME_NOREPLACE) != 0) {
		snprintf(bad, sizeof(bad), "%s", name);
		if (lstat(name, &st) == 0 && !S_ISREG(st.st_mode))
			unlink(name);
	}
	log_bad(drop->pickup, bad, uid, why);
}

static const char *fault_of(const struct stat *st, uint64_t message_size)
{
	if (!S_ISREG(st->st_mode))
		return "not a plain file";
	if (st->st_nlink != 1)
		return "it has other names: it may be another's file";
	if (st->st_gid != getegid() || (st->st_mode & 07777) != DROP_FILE_MODE)
		return "its group or mode is not what sendmail gives";
	if (st->st_size < 0 || (uint64_t)st->st_size > message_size + DROP_HEAD_MAX)
		return "larger than any message may be";
	return NULL;
}

/* st: what the name stood for. By the time it is opened it may be something else: what was opened counts. Opening never waits (O_NONBLOCK: a pipe, a lease). */
static int open_file(const char *name, uint64_t message_size, struct stat *st, const char **fault)
{
	int fd;

	*fault = fault_of(st, message_size);
	if (*fault != NULL)
		return -1;
	fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (fstat(fd, st) != 0 || (*fault = fault_of(st, message_size)) != NULL) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int read_head(int fd, uint64_t size, struct pool *pool, struct letter *letter, size_t *len, struct err *err)
{
	size_t want = size < DROP_HEAD_MAX ? (size_t)size : DROP_HEAD_MAX;
	char *head = malloc(want + 1);
	ssize_t n = head != NULL ? pread(fd, head, want, 0) : -1;
	struct span text;
	int r;

	if (n < 0) {
		r = head == NULL ? err_set(err, E_NOMEM, "out of memory") : err_set_errno(err, errno, "reading");
		free(head);
		return r;
	}
	/* Only the head is kept. */
	text = span_of(head, (size_t)n);
	text = pool_span(pool, span_sub(text, 0, drop_head_length(text)));
	free(head);
	return text.ptr != NULL ? drop_decode(text, pool, letter, len, err) : err_set(err, E_NOMEM, "out of memory");
}

static struct dropped **find_busy(struct drop *drop, const char *name)
{
	struct dropped **link = &drop->busy;

	while (*link != NULL && strcmp((*link)->name, name) != 0)
		link = &(*link)->next;
	return link;
}

/* The pass may be over by now. */
static void put_off(struct drop *drop)
{
	drop->troubled = true;
	if (drop->pass == NULL)
		turn_in(drop, PICKUP_DROP_RETRY_MS);
}

static void on_done(void *arg, int code, const char *qid, const char *text)
{
	struct dropped *d = arg;
	struct drop *drop = d->pickup->drop;
	struct dropped **link = find_busy(drop, d->name);

	(void)qid;
	*link = d->next;
	drop->busy_count--;
	if (code == 0 && unlink(d->name) != 0 && errno != ENOENT) {
		log_bad(d->pickup, d->name, d->uid, strerror(errno));
		put_off(drop); /* it is known to be taken as long as this process lives */
	}
	if (code != 0 && err_is_temp(code))
		put_off(drop);
	else if (code != 0)
		set_aside(drop, d->name, d->uid, text);
	free(d);
	if (drop->full) {
		drop->full = false;
		turn_in(drop, 0);
	}
}

/* Another pass may see more. ENOENT: there is nothing to be seen. */
static void not_seen(struct drop *drop, const char *name)
{
	if (errno == ENOENT)
		return;
	log_bad(drop->pickup, name, 0, strerror(errno));
	drop->troubled = true;
}

static bool has_room(const struct drop *drop, uid_t uid)
{
	unsigned count = 0;

	for (const struct dropped *d = drop->busy; d != NULL; d = d->next)
		count += d->uid == uid;
	return uid == 0 || count < PICKUP_DROP_USER;
}

static void take_letter(struct drop *drop, const char *name, int fd, const struct stat *st)
{
	struct pool *pool = pool_new(NULL, DROP_POOL_MAX);
	struct dropped *d = calloc(1, sizeof(*d));
	struct letter letter;
	struct err err = {0};
	size_t head = 0;
	int r = pool != NULL && d != NULL ? read_head(fd, (uint64_t)st->st_size, pool, &letter, &head, &err) : E_NOMEM;

	if (r == 0 && job_runs(drop->pickup, st->st_uid, letter.handover))
		r = E_BUSY; /* its sender has not waited for an answer that will come */
	if (r != 0) {
		if (err_is_temp(r))
			drop->troubled = true;
		else
			set_aside(drop, name, st->st_uid, err.text);
		if (r != E_BUSY && err_is_temp(r))
			log_bad(drop->pickup, name, st->st_uid, err_text(r));
		pool_free(&pool);
		free(d);
		close(fd);
		return;
	}
	if (st->st_mtim.tv_sec > 0 && st->st_mtim.tv_sec < clock_wall())
		letter.written = st->st_mtim.tv_sec;
	*d = (struct dropped){.next = drop->busy, .pickup = drop->pickup, .uid = st->st_uid};
	span_copy(span_str(name), d->name, sizeof(d->name));
	drop->busy = d;
	drop->busy_count++;
	job_start(drop->pickup, &letter, pool, st->st_uid, fd, head, (uint64_t)st->st_size, on_done, d);
}

static void look_at(struct drop *drop, const char *name)
{
	uint64_t size = conf_u64(daemon_conf(drop->pickup->daemon), CONF_message_size, NULL);
	const char *fault;
	bool busy = *find_busy(drop, name) != NULL;
	struct stat st = {0};
	int fd;

	if (lstat(name, &st) != 0) {
		if (!busy)
			not_seen(drop, name);
		return;
	}
	count_letter(drop, &st); /* also one that is on its way: it waits here until it is taken */
	if (busy)
		return;
	if (!has_room(drop, st.st_uid)) {
		drop->soon = true;
		return;
	}
	fd = open_file(name, size, &st, &fault);
	if (fd < 0 && fault != NULL)
		set_aside(drop, name, st.st_uid, fault);
	else if (fd < 0 && (errno == EWOULDBLOCK || errno == EACCES))
		drop->later = true; /* its owner keeps it from us */
	else if (fd < 0)
		not_seen(drop, name);
	else
		take_letter(drop, name, fd, &st);
}

/* What its writer did not finish was never accepted. */
static void sweep(const char *name)
{
	struct stat st;

	if (lstat(name, &st) == 0 && !S_ISDIR(st.st_mode) && clock_wall() - st.st_mtim.tv_sec > PICKUP_DROP_WRITING_S)
		unlink(name);
}

/* Names are looked at without asking the file: a directory could be where a file system of somebody's own begins. */
static void look_at_entry(struct drop *drop, const struct dirent *entry)
{
	const char *name = entry->d_name;
	bool plain = entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN;

	if (strlen(name) >= DROP_NAME)
		return;
	if (strncmp(name, DROP_READY, strlen(DROP_READY)) == 0) {
		if (plain)
			look_at(drop, name);
		else
			set_aside(drop, name, 0, "not a plain file");
	} else if (strncmp(name, DROP_WRITING, strlen(DROP_WRITING)) == 0 && plain) {
		sweep(name);
	}
}

/* ---- passes ---- */

static void pass_end(struct drop *drop)
{
	closedir(drop->pass);
	drop->pass = NULL;
	count_anew(drop);
	if (drop->troubled || (drop->later && !drop->soon))
		turn_in(drop, PICKUP_DROP_RETRY_MS);
	else if (drop->soon)
		turn_in(drop, PICKUP_DROP_SOON_MS);
}

static void pass_begin(struct drop *drop)
{
	drop->soon = drop->later = drop->troubled = false;
	drop->pass = opendir(".");
	if (drop->pass == NULL) {
		not_seen(drop, ".");
		turn_in(drop, PICKUP_DROP_RETRY_MS);
	}
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct drop *drop = arg;

	(void)fd;
	(void)what;
	if (drop->pass == NULL)
		pass_begin(drop);
	for (int i = 0; i < PICKUP_DROP_TURN && drop->pass != NULL; i++) {
		const struct dirent *entry;

		if (drop->busy_count >= PICKUP_DROP_JOBS) {
			drop->full = true;
			return;
		}
		errno = 0;
		entry = readdir(drop->pass);
		if (entry == NULL) {
			if (errno != 0)
				not_seen(drop, ".");
			pass_end(drop);
			return;
		}
		look_at_entry(drop, entry);
	}
	if (drop->pass != NULL)
		turn_in(drop, 0);
}

static void on_news(evutil_socket_t fd, short what, void *arg)
{
	struct drop *drop = arg;
	char events[4096];

	(void)what;
	while (read(fd, events, sizeof(events)) > 0)
		;
	drop->soon = true;
	if (drop->pass == NULL)
		turn_in(drop, 0);
}

static int check_directory(struct err *err)
{
	struct stat st;

	if (stat(".", &st) != 0)
		return err_set_errno(err, errno, "data-directory/drop");
	if (st.st_uid != geteuid() || st.st_gid != getegid() || (st.st_mode & 07777) != DROP_DIRECTORY_MODE)
		return err_set(err, E_DENIED, "data-directory/drop must belong to the user and group of pickup and have the mode %o", DROP_DIRECTORY_MODE);
	return 0;
}

int drop_open(struct pickup *pickup, struct err *err)
{
	struct drop *drop;
	int r = check_directory(err);

	if (r != 0)
		return r;
	drop = calloc(1, sizeof(*drop));
	if (drop == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	drop->pickup = pickup;
	pickup->drop = drop;
	drop->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (drop->watch < 0 || inotify_add_watch(drop->watch, ".", IN_MOVED_TO) < 0)
		return err_set_errno(err, errno, "watching data-directory/drop");
	drop->turn = evtimer_new(daemon_base(pickup->daemon), on_turn, drop);
	drop->news = event_new(daemon_base(pickup->daemon), drop->watch, EV_READ | EV_PERSIST, on_news, drop);
	if (drop->turn == NULL || drop->news == NULL || event_add(drop->news, NULL) != 0)
		return err_set(err, E_NOMEM, "out of memory");
	turn_in(drop, 0);
	return 0;
}

void drop_close(struct pickup *pickup)
{
	struct drop *drop = pickup->drop;

	event_free(drop->news);
	event_free(drop->turn);
	drop->news = drop->turn = NULL;
	close(drop->watch);
	if (drop->pass != NULL)
		closedir(drop->pass);
	drop->pass = NULL;
}
