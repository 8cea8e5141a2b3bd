/* A message in memory, held by its session and by each of its deliveries. It counts until the last of them has let it go. */
#include "lmtp/lmtpd.h"

#include "base/whole.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int lmtp_content_new(struct lmtp_memory *memory, struct lmtp_content **out, struct err *err)
{
	struct lmtp_content *content = calloc(1, sizeof(*content));

	*out = NULL;
	if (content == NULL)
		return err_set(err, E_NOMEM, "memory for the message");
	content->file = memfd_create("message", MFD_CLOEXEC);
	if (content->file < 0) {
		err_set_errno(err, errno, "memory for the message");
		free(content);
		return err->code;
	}
	content->memory = memory;
	content->holders = 1;
	*out = content;
	return 0;
}

int lmtp_content_write(struct lmtp_content *content, struct span bytes, struct err *err)
{
	struct lmtp_memory *memory = content->memory;

	if (bytes.len > memory->max - memory->used)
		return err_set(err, E_LIMIT, "too many messages are under way; try again");
	if (!write_whole(content->file, bytes))
		return err_set_errno(err, errno, "the message in memory");
	content->size += bytes.len;
	memory->used += bytes.len;
	return 0;
}

struct lmtp_content *lmtp_content_hold(struct lmtp_content *content)
{
	content->holders++;
	return content;
}

void lmtp_content_release(struct lmtp_content **contentp)
{
	struct lmtp_content *content = *contentp;

	*contentp = NULL;
	if (content == NULL || --content->holders > 0)
		return;
	close(content->file);
	content->memory->used -= content->size;
	free(content);
}
