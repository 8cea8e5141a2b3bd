/* Names and places of the spool's files. */
#include "queue/queue.h"

#include "base/encode.h"
#include "base/log.h"
#include "base/whole.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void queue_path(uint64_t id, char out[QUEUE_PATH])
{
	char text[SPOOL_ID_TEXT];

	spool_id_format(id, text);
	snprintf(out, QUEUE_PATH, "queue/%c/%s", text[SPOOL_ID_TEXT - 2], text);
}

void queue_directory(unsigned i, char out[QUEUE_PATH])
{
	char digit[2];

	base32_format(i, 1, digit);
	snprintf(out, QUEUE_PATH, "queue/%s", digit);
}

/* The last digit of its name. */
unsigned queue_directory_of(uint64_t id)
{
	return (unsigned)(id % QUEUE_DIRECTORIES);
}

/* Only what queue itself made: a plain file, its own user's. Never followed, never waited for. */
int queue_open_file(uint64_t id, int flags, int *fd, struct err *err)
{
	char path[QUEUE_PATH];
	struct stat st;
	int r;

	queue_path(id, path);
	*fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return errno == ELOOP ? err_set(err, E_CORRUPT, "is a symbolic link") : err_set_errno(err, errno, "%s", path);
	if (fstat(*fd, &st) != 0)
		r = err_set_errno(err, errno, "%s", path);
	else if (S_ISREG(st.st_mode) && st.st_uid == geteuid())
		return 0;
	else
		r = err_set(err, E_CORRUPT, "is not a plain file of the queue's own");
	close(*fd);
	*fd = -1;
	return r;
}

static int make_directory(const char *path, struct err *err)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_set_errno(err, errno, "mkdir %s in the spool", path);
	return 0;
}

int queue_sync_directory(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (fd < 0 || fsync(fd) != 0)
		r = err_set_errno(err, errno, "sync of %s in the spool", path);
	if (fd >= 0)
		close(fd);
	return r;
}

int queue_make_directories(struct err *err)
{
	int r = make_directory("queue", err);

	if (r == 0)
		r = make_directory("corrupt", err);
	for (unsigned i = 0; i < QUEUE_DIRECTORIES && r == 0; i++) {
		char path[QUEUE_PATH];

		queue_directory(i, path);
		r = make_directory(path, err);
	}
	if (r == 0)
		r = queue_sync_directory("queue", err);
	return r == 0 ? queue_sync_directory(".", err) : r;
}

enum { SECOND_NAME_AGAIN_S = 5 };

/* When it cannot be removed it is looked at again, not only removed: of two such names of a message one is all there is of it. */
static void remove_second_name(struct queue *queue, uint64_t id, const char *path)
{
	char text[SPOOL_ID_TEXT];
	struct err err = {0};

	spool_id_format(id, text);
	if (unlink(path) != 0 && errno != ENOENT) {
		err_set_errno(&err, errno, "unlink of %s, a second name of another message's file", path);
		schedule_add(queue, id, queue_now(queue) + SECOND_NAME_AGAIN_S, false);
	} else {
		err_set(&err, E_CORRUPT, "a second name of another message's file; removed");
	}
	log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("qid", text), F_ERR(&err));
}

/*
 * A file system may bring back the old name of a file beside the new one (btrfs: the directory of one was synced by
 * another message). A message is whole under its own id alone; of a name that leads nowhere else there is only the file.
 */
void queue_set_aside(struct queue *queue, uint64_t id, const char *why)
{
	char from[QUEUE_PATH], text[SPOOL_ID_TEXT], to[32];
	struct stat st;

	spool_id_format(id, text);
	queue_path(id, from);
	if (lstat(from, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink > 1) {
		remove_second_name(queue, id, from);
		return;
	}
	snprintf(to, sizeof(to), "corrupt/%s", text);
	log_event(EV_queue_corrupt, daemon_log(queue->daemon), F_STR("qid", text), F_STR("reason", why), F_STR("moved_to", to));
	if (rename(from, to) != 0)
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("qid", text), F_STR("error", "cannot be moved to corrupt/"));
}

/* ---- small files beside the messages, which are written whole ---- */

static int write_and_sync(int fd, const char *name, struct span text, struct err *err)
{
	if (!write_whole(fd, text))
		return err_set_errno(err, errno, "writing %s in the spool", name);
	return fsync(fd) == 0 ? 0 : err_set_errno(err, errno, "sync of %s in the spool", name);
}

int queue_write_file(const char *name, const char *new_name, struct span text, struct err *err)
{
	int fd = open(new_name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600), r;

	if (fd < 0)
		return err_set_errno(err, errno, "%s in the spool", new_name);
	r = write_and_sync(fd, new_name, text, err);
	close(fd);
	if (r == 0 && rename(new_name, name) != 0)
		r = err_set_errno(err, errno, "renaming %s in the spool", new_name);
	if (r == 0)
		return queue_sync_directory(".", err);
	unlink(new_name);
	return r;
}

static int open_plain(const char *name, int *fd, struct err *err)
{
	struct stat st;
	int r;

	*fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return errno == ELOOP ? err_set(err, E_CORRUPT, "is a symbolic link") : err_set_errno(err, errno, "%s in the spool", name);
	/* What the disk does not tell now says nothing of the file. */
	if (fstat(*fd, &st) != 0)
		r = err_set_errno(err, errno, "%s in the spool", name);
	else
		r = S_ISREG(st.st_mode) ? 0 : err_set(err, E_CORRUPT, "is no plain file");
	if (r != 0)
		close(*fd);
	return r;
}

int queue_read_file(const char *name, size_t size, struct buf *out, struct err *err)
{
	char *room = buf_reserve(out, size);
	ssize_t n;
	int fd = -1, r = room != NULL ? open_plain(name, &fd, err) : err_set(err, E_NOMEM, "out of memory");

	if (r != 0)
		return r;
	n = read(fd, room, size);
	if (n < 0)
		r = err_set_errno(err, errno, "reading %s in the spool", name);
	else
		buf_added(out, (size_t)n);
	close(fd);
	return r;
}

void queue_set_file_aside(struct queue *queue, const char *name, const char *to, const struct err *why)
{
	log_event(EV_queue_corrupt, daemon_log(queue->daemon), F_STR("file", name), F_STR("reason", why->text), F_STR("moved_to", to));
	if (rename(name, to) != 0)
		log_event(EV_queue_error, daemon_log(queue->daemon), F_STR("file", name), F_STR("error", "cannot be moved to corrupt/"));
}

/* ---- the key ---- */

static int make_key(struct queue *queue, struct err *err)
{
	randombytes_buf(queue->key, sizeof(queue->key));
	return queue_write_file("key", "key.new", span_of(queue->key, sizeof(queue->key)), err);
}

/* True when there is a message in it, or that cannot be known: files that are handed out ahead are empty. */
static bool has_message(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	struct stat st;
	bool found = false;

	if (dir == NULL)
		return errno != ENOENT;
	while (!found && (errno = 0, entry = readdir(dir)) != NULL)
		found = entry->d_name[0] != '.' && (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_size > 0);
	found |= errno != 0;
	closedir(dir);
	return found;
}

static bool spool_has_messages(void)
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	char path[16];

	for (size_t i = 0; digits[i] != '\0'; i++) {
		snprintf(path, sizeof(path), "queue/%c", digits[i]);
		if (has_message(path))
			return true;
	}
	return false;
}

int queue_load_key(struct queue *queue, struct err *err)
{
	int fd = open("key", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;
	int r = 0;

	if (fd < 0 && errno != ENOENT)
		return err_set_errno(err, errno, "spool key");
	if (fd < 0 && spool_has_messages())
		return err_set(err, E_CORRUPT, "the spool has messages, but its key file is missing; restore it, or move the directory queue of the spool away");
	if (fd < 0)
		return make_key(queue, err);
	n = read(fd, queue->key, sizeof(queue->key));
	/* A new key would make every message in the spool look damaged. */
	if (n < 0)
		r = err_set_errno(err, errno, "reading the spool key");
	else if (n != (ssize_t)sizeof(queue->key))
		r = err_set(err, E_CORRUPT, "the spool's key file is damaged; restore it from a backup");
	close(fd);
	return r;
}
