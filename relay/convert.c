/* A message for a server that takes 7 bits alone: whole in memory, made fit piece by piece (lib/mime/convert.h). */
#include "relay/relay.h"

#include "mime/convert.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct conversion {
	struct relay *relay;
	struct mime_converter *converter;
	struct buf piece;
	char *whole; /* NULL: the job has it in memory anyway */
	size_t size;
};

void convert_free(struct conversion **cp)
{
	struct conversion *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	c->relay->converting -= c->size;
	mime_converter_free(&c->converter);
	buf_fini(&c->piece);
	free(c->whole);
	free(c);
}

static int read_whole(const struct job *job, struct conversion *c, struct err *err)
{
	size_t done = 0;

	if (job->message.size > RELAY_CONVERT_MAX - job->relay->converting)
		return err_set(err, E_BUSY, "Too many messages are converted for servers without 8BITMIME at once");
	c->size = (size_t)job->message.size;
	job->relay->converting += c->size;
	c->whole = malloc(c->size + 1);
	if (c->whole == NULL)
		return err_set(err, E_NOMEM, "No memory to convert the message for a server without 8BITMIME");
	while (done < c->size) {
		ssize_t n = pread(job->fd, c->whole + done, c->size - done, (off_t)done);

		if (n < 0)
			return err_set_errno(err, errno, "The message's file");
		if (n == 0)
			return err_set(err, E_CORRUPT, "The message's file is shorter than its envelope says");
		done += (size_t)n;
	}
	return 0;
}

static int begin(struct job *job, struct conversion *c, struct err *err)
{
	int r = job->fd >= 0 ? read_whole(job, c, err) : 0;

	if (r != 0)
		return r;
	c->converter = mime_converter_new(c->whole != NULL ? span_of(c->whole, c->size) : job->content);
	if (c->converter == NULL)
		return err_set(err, E_NOMEM, "No memory to convert the message for a server without 8BITMIME");
	if (mime_converter_facts(c->converter)->left)
		return err_set(err, E_CONTENT, "The server does not take 8BITMIME, and the message has octets above 127 where they cannot be converted");
	return 0;
}

int convert_begin(struct job *job, struct err *err)
{
	struct conversion *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return err_set(err, E_NOMEM, "No memory to convert the message for a server without 8BITMIME");
	c->relay = job->relay;
	buf_init(&c->piece, 4 * MIME_CONVERT_PIECE);
	r = begin(job, c, err);
	if (r != 0) {
		convert_free(&c);
		return r;
	}
	job->conversion = c;
	job->message.eightbit = job->message.binary = false;
	job->message.size = 0; /* what it will be nobody knows before its end */
	return 0;
}

int convert_read(struct conversion *c, struct span *piece, bool *last, struct err *err)
{
	int r;

	buf_clear(&c->piece);
	r = mime_converter_next(c->converter, &c->piece);
	*piece = buf_span(&c->piece);
	*last = r == 0;
	return r < 0 ? err_set(err, r, "No memory to convert the message for a server without 8BITMIME") : 0;
}
