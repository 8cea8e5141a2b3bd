/* A message into a memory file. */
#include "submission/sendmail.h"

#include "base/whole.h"
#include "local/lines.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CONTENT_PIECE = 32 * 1024 };

int content_open(struct content *content, struct err *err)
{
	content->size = 0;
	content->fd = memfd_create("mail", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return content->fd >= 0 ? 0 : err_set_errno(err, errno, "a file in memory");
}

void content_close(struct content *content)
{
	if (content->fd >= 0)
		close(content->fd);
	content->fd = -1;
}

int content_write(struct content *content, struct span bytes, struct err *err)
{
	if (!write_whole(content->fd, bytes))
		return err_set_errno(err, errno, "the message does not fit into memory");
	content->size += bytes.len;
	return 0;
}

static int take(struct content *content, uint64_t most, const struct buf *piece, struct buf *head, struct err *err)
{
	struct span bytes = buf_span(piece);

	if (buf_failed(piece))
		return err_set(err, E_NOMEM, "out of memory");
	if (content->size + bytes.len > most)
		return err_set(err, E_TOOBIG, "the message is larger than the %llu octets allowed here", (unsigned long long)most);
	buf_add_span(head, span_sub(bytes, 0, head->max - buf_len(head)));
	if (buf_failed(head))
		return err_set(err, E_NOMEM, "out of memory");
	return content_write(content, bytes, err);
}

int content_read(struct content *content, uint64_t most, bool dot, struct buf *head, struct err *err)
{
	char room[CONTENT_PIECE];
	struct lines lines = {.dot_ends = dot, .from_skip = true};
	struct buf piece;
	ssize_t n = 1;
	int r = 0;

	buf_init(&piece, 2 * CONTENT_PIECE + 16);
	while (r == 0 && n > 0 && !lines.ended) {
		n = read(STDIN_FILENO, room, sizeof(room));
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n < 0) {
			r = err_set_errno(err, errno, "standard input");
			break;
		}
		buf_clear(&piece);
		if (n > 0)
			lines_feed(&lines, span_of(room, (size_t)n), &piece);
		else
			lines_end(&lines, &piece);
		r = take(content, most, &piece, head, err);
	}
	buf_fini(&piece);
	return r;
}
