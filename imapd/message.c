#include "imapd/message.h"

#include "mime/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- bytes ---- */

void message_bytes_close(struct message_bytes *b)
{
	if (b->map != NULL)
		munmap(b->map, b->map_size);
	b->map = NULL;
	b->bytes = (struct span){0};
}

void message_bytes_free(struct message_bytes *b)
{
	message_bytes_close(b);
	free(b->buffer);
	b->buffer = NULL;
}

static int read_small(struct message_bytes *b, int fd, size_t size, struct err *err)
{
	size_t at = 0;

	if (b->buffer == NULL)
		b->buffer = malloc(MESSAGE_READ_MAX);
	if (b->buffer == NULL)
		return err_set(err, E_NOMEM, "no memory to read a message");
	while (at < size) {
		ssize_t n = pread(fd, b->buffer + at, size - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(err, errno, "reading a message file");
		if (n == 0)
			return err_set(err, E_CORRUPT, "a message file became shorter");
		at += (size_t)n;
	}
	b->bytes = span_of(b->buffer, size);
	return 0;
}

static int map_large(struct message_bytes *b, int fd, size_t size, struct err *err)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

	if (map == MAP_FAILED)
		return err_set_errno(err, errno, "mapping a message file");
	b->map = map;
	b->map_size = size;
	b->bytes = span_of(map, size);
	return 0;
}

static int open_bytes(struct session *s, const struct store_message *m, struct message_bytes *out, struct err *err)
{
	int fd, r = store_file_open(s->store, m, &fd, err);

	if (r != 0)
		return r;
	r = m->size <= MESSAGE_READ_MAX ? read_small(out, fd, m->size, err) : map_large(out, fd, m->size, err);
	close(fd);
	return r;
}

/* A large one is fetched in pieces, one command each: it is looked at once. */
static int verify_bytes(struct session *s, const struct store_message *m, const struct message_bytes *b, struct err *err)
{
	int r;

	if (m->size > MESSAGE_READ_MAX && s->verified == m->number)
		return 0;
	r = store_file_verify(m, b->bytes, err);
	if (r == 0 && m->size > MESSAGE_READ_MAX)
		s->verified = m->number;
	return r;
}

static int opened(struct session *s, const struct store_message *m, struct message_bytes *out, int r, const struct err *err)
{
	if (r == 0)
		return 0;
	message_bytes_close(out);
	log_event(r == E_CORRUPT ? EV_store_corrupt : EV_store_error, &s->log, F_U64("mailbox", s->view.mailbox), F_U64("uid", m->uid), F_ERR(err));
	return r;
}

int message_bytes_open(struct session *s, const struct store_message *m, struct message_bytes *out, struct err *err)
{
	int r;

	message_bytes_close(out);
	r = open_bytes(s, m, out, err);
	if (r == 0)
		r = verify_bytes(s, m, out, err);
	return opened(s, m, out, r, err);
}

int message_header_open(struct session *s, const struct store_message *m, const struct store_facts *facts, struct message_bytes *out,
    struct err *err)
{
	int r;

	message_bytes_close(out);
	r = open_bytes(s, m, out, err);
	if (r == 0)
		r = store_header_verify(m, facts, out->bytes, err);
	return opened(s, m, out, r, err);
}

/* ---- records and facts ---- */

/* A few are looked up one by one; for many the whole mailbox is read at once. */
enum { LOAD_SINGLY = 16 };

int messages_load(struct session *s, struct store_txn *txn, const uint32_t *uids, size_t count, struct pool *pool,
    struct store_message **out, size_t *found, struct err *err)
{
	struct store_message *all;
	size_t total, at = 0;
	int r = 0;

	*found = 0;
	*out = NULL;
	if (count == 0)
		return 0;
	if (count <= LOAD_SINGLY) {
		*out = pool_array(pool, count, sizeof(**out));
		for (size_t i = 0; i < count && *out != NULL && (r == 0 || r == E_NOTFOUND); i++) {
			r = store_message_get(txn, s->view.mailbox, uids[i], &(*out)[*found], err);
			*found += r == 0;
		}
		if (*out == NULL)
			return err_set(err, E_NOMEM, "no memory for %zu messages", count);
		return r == E_NOTFOUND ? 0 : r;
	}
	r = store_message_list(txn, s->view.mailbox, 0, pool, &all, &total, err);
	for (size_t i = 0; i < count && r == 0; i++) {
		while (at < total && all[at].uid < uids[i])
			at++;
		if (at < total && all[at].uid == uids[i])
			all[(*found)++] = all[at++]; /* never behind where it is read */
	}
	*out = all;
	return r;
}

int message_facts(struct session *s, struct store_txn *txn, const struct store_message *m, struct message_bytes *bytes,
    struct store_facts *out, struct err *err)
{
	int r = store_facts_get(txn, m->number, out, err);

	pool_reset(s->message_pool);
	if (r != E_NOTFOUND && r != E_CORRUPT)
		return r;
	if (r == E_CORRUPT)
		log_event(EV_store_corrupt, &s->log, F_U64("mailbox", s->view.mailbox), F_U64("uid", m->uid), F_ERR(err));
	if (bytes->bytes.ptr == NULL)
		r = message_bytes_open(s, m, bytes, err);
	else
		r = 0;
	if (r == 0)
		r = store_facts_find(bytes->bytes, m->arrived, s->message_pool, out, err);
	return r;
}

/* ---- sections ---- */

static bool is_wanted(const struct imap_section *section, struct span name)
{
	bool listed = false;

	for (size_t i = 0; i < section->field_count && !listed; i++)
		listed = span_caseeq(section->fields[i], name);
	return listed == (section->kind == IMAP_SECTION_FIELDS);
}

static void gather_fields(const struct imap_section *section, struct span header, struct buf *fields)
{
	struct mime_field field;

	buf_clear(fields);
	while (mime_field_next(&header, &field))
		if (is_wanted(section, field.name))
			buf_add_span(fields, field.whole);
	buf_add_str(fields, "\r\n");
}

/* The part whose header and text HEADER and TEXT mean: of a message/rfc822 part, the message in it (section 6.4.5). */
static bool message_in(struct span parts, uint64_t size, size_t index, struct mime_place *place)
{
	return place->kind == MIME_MESSAGE && mime_parts_get(parts, index + 1, size, place);
}

bool section_find(const struct imap_section *section, struct span bytes, struct span parts, struct buf *fields, struct span *out)
{
	struct mime_place place;
	size_t index = 0;

	*out = bytes;
	if (section->depth == 0 && section->kind == IMAP_SECTION_WHOLE)
		return true;
	if (!mime_parts_find(parts, bytes.len, section->path, section->depth, &place, &index))
		return false;
	if (section->kind == IMAP_SECTION_WHOLE) {
		*out = span_sub(bytes, place.body_offset, place.body_size);
		return true;
	}
	if (section->kind != IMAP_SECTION_MIME && section->depth > 0 && !message_in(parts, bytes.len, index, &place))
		return false;
	if (section->kind == IMAP_SECTION_TEXT) {
		*out = span_sub(bytes, place.body_offset, place.body_size);
		return true;
	}
	*out = span_sub(bytes, place.header_offset, place.header_size);
	if (section->kind == IMAP_SECTION_FIELDS || section->kind == IMAP_SECTION_FIELDS_NOT) {
		gather_fields(section, *out, fields);
		*out = buf_span(fields);
	}
	return true;
}
