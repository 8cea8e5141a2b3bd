/* To pickup when it answers, else into the drop: whoever calls sendmail does not come again. */
#include "submission/sendmail.h"

#include "base/whole.h"
#include "ipc/ipc.h"
#include "local/drop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { HANDOVER_MS = 30000, COPY_PIECE = 32 * 1024 };

/* ---- the socket ---- */

static int connect_to_pickup(const struct caller *caller, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = HANDOVER_MS / 1000};
	int fd;

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/sendmail.sock", caller->instance.run) >= (int)sizeof(address.sun_path))
		return err_set(err, E_TOOBIG, "the path of %s is too long for a socket", caller->instance.run);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	err_set_errno(err, errno, "%s", address.sun_path);
	close(fd);
	return err->code;
}

static int send_letter(int fd, const struct letter *letter, const struct content *content)
{
	struct pickup_letter body = {.handover = span_of(letter->handover, LETTER_HANDOVER), .size = content->size, .user = letter->user, .sender_given = letter->sender_given,
	    .sender = letter->sender, .full_name = letter->full_name, .ret = letter->ret, .envid = letter->envid};
	int r = 0;

	for (size_t i = 0; i < letter->recipient_count && r == 0; i++) {
		const struct letter_recipient *of = &letter->recipients[i];
		struct pickup_recipient recipient = {.address = of->address, .notify = of->notify, .orcpt = of->orcpt};

		r = ipc_send(fd, &ipc_pickup_recipient, 0, &recipient, -1);
	}
	return r == 0 ? ipc_send(fd, &ipc_pickup_letter, 0, &body, content->fd) : r;
}

/* 0: it is in the queue. A temporary error: pickup did not take it, or is not to be heard. */
static int ask_pickup(const struct caller *caller, const struct letter *letter, const struct content *content, char qid[16], struct err *err)
{
	char *buffer = malloc(IPC_MESSAGE_MAX);
	struct ipc_message m;
	int fd = buffer != NULL ? connect_to_pickup(caller, err) : err_set(err, E_NOMEM, "out of memory");
	int r = fd < 0 ? fd : 0;

	/* An answer may be there before it was asked: there are too many. */
	if (r == 0)
		(void)send_letter(fd, letter, content);
	if (r == 0)
		r = ipc_receive(fd, &ipc_service_pickup, TO_CLIENT, buffer, &m, err);
	if (r == E_AGAIN)
		err_set(err, r, "Mailwain does not answer");
	if (r == 0) {
		const struct pickup_answer *answer = (const void *)m.body;

		r = answer->code;
		span_copy(answer->qid, qid, 16);
		err_set(err, r, "%.*s", SPAN_ARG(answer->text));
	} else if (!err_is_temp(r)) {
		r = err->code = E_UNAVAILABLE; /* nothing was said about the message */
	}
	if (fd >= 0)
		close(fd);
	free(buffer);
	return r;
}

/* ---- the drop ---- */

static int copy_content(int to, const struct content *content, struct err *err)
{
	char room[COPY_PIECE];
	uint64_t at = 0;

	while (at < content->size) {
		ssize_t n = pread(content->fd, room, sizeof(room), (off_t)at);

		if (n <= 0)
			return err_set_errno(err, n < 0 ? errno : EIO, "reading the message");
		if (!write_whole(to, span_of(room, (size_t)n)))
			return err_set_errno(err, errno, "writing into the drop");
		at += (uint64_t)n;
	}
	return 0;
}

/* Its own mode, whatever the caller's umask is: pickup reads it by its group. */
static int write_file(int fd, struct span head, const struct content *content, struct err *err)
{
	if (!write_whole(fd, head))
		return err_set_errno(err, errno, "writing into the drop");
	if (copy_content(fd, content, err) != 0)
		return err->code;
	if (fchmod(fd, DROP_FILE_MODE) != 0 || fsync(fd) != 0)
		return err_set_errno(err, errno, "writing into the drop");
	return 0;
}

static void file_name(const struct letter *letter, const char *prefix, char out[64])
{
	int len = snprintf(out, 64, "%s", prefix);

	for (size_t i = 0; i < LETTER_HANDOVER; i++)
		len += snprintf(out + len, 64 - (size_t)len, "%02x", letter->handover[i]);
}

/*
 * Content first, then its name, then both are on the disk: nobody but pickup may open the directory to sync it, and a sync of a file that was
 * renamed takes the rename along (doc/spool.md, "The drop").
 */
static int drop_letter(const struct caller *caller, const struct letter *letter, const struct content *content, struct err *err)
{
	char writing[64], ready[64];
	int dir = open(caller->drop, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1, r;
	struct buf head;

	if (dir < 0)
		return err_set_errno(err, errno, "%s", caller->drop);
	buf_init(&head, DROP_HEAD_MAX);
	file_name(letter, DROP_WRITING, writing);
	file_name(letter, DROP_READY, ready);
	r = drop_encode(letter, &head);
	if (r != 0)
		err_set(err, r, "%s", r == E_SYNTAX ? "a line end in an address or a name" : err_text(r));
	errno = 0;
	if (r == 0)
		fd = openat(dir, writing, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (r == 0 && fd < 0)
		r = err_set_errno(err, errno, "%s", caller->drop);
	if (r == 0)
		r = write_file(fd, buf_span(&head), content, err);
	if (r == 0 && (renameat(dir, writing, dir, ready) != 0 || fsync(fd) != 0))
		r = err_set_errno(err, errno, "writing into the drop");
	if (r != 0 && fd >= 0) {
		unlinkat(dir, writing, 0);
		unlinkat(dir, ready, 0);
	}
	if (fd >= 0)
		close(fd);
	close(dir);
	buf_fini(&head);
	return r;
}

/* ---- both ---- */

static int prepare(struct letter *letter, const struct content *content, struct err *err)
{
	if (getrandom(letter->handover, LETTER_HANDOVER, 0) != LETTER_HANDOVER)
		return err_set_errno(err, errno, "getrandom");
	if (fcntl(content->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
		return err_set_errno(err, errno, "sealing the message");
	return 0;
}

enum handover_result handover(const struct caller *caller, struct letter *letter, const struct content *content, char qid[16], struct err *err)
{
	struct err first = {0}, then = {0};

	qid[0] = '\0';
	if (prepare(letter, content, err) != 0)
		return HANDOVER_REFUSED;
	if (ask_pickup(caller, letter, content, qid, &first) == 0)
		return HANDOVER_QUEUED;
	*err = first;
	/* E_RATE: as much of this user's waits in the drop as may. */
	if (!err_is_temp(first.code) || first.code == E_RATE)
		return HANDOVER_REFUSED;
	if (drop_letter(caller, letter, content, &then) == 0)
		return HANDOVER_DROPPED;
	err_set(err, first.code, "%.110s; nor could it be kept for later: %.110s", first.text, then.text);
	return HANDOVER_REFUSED;
}
