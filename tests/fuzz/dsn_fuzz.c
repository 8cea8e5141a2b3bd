/*
 * Delivery status notifications: whatever stands in the envelope and in the answers of servers, the report is one message of
 * three parts with just the fields that belong there, and goes to the sender alone.
 *
 * Input: a byte of options; sender, envelope id, then a line for each recipient: address, original recipient and the last
 * answer, tabs between; an empty line; the message.
 */
#include "tests/fuzz/fuzz.h"

#include "base/log.h"
#include "base/utf8.h"
#include "mime/structure.h"
#include "queue/queue.h"
#include "tests/daemon.h"

#include <sys/mman.h>
#include <unistd.h>

enum { OPTION_KIND = 3, OPTION_FULL = 4, OPTION_UTF8 = 8, RECIPIENTS = 8, HEADER_FIELDS = 8 /* and one more where a part has UTF-8 */ };

static const char config[] = "config-version 1\nhostname mx.example\n";

/* ---- what the rest of the queue would do ---- */

static struct {
	struct span sender;
	bool asked;
	size_t recipients;
} expected;

struct message *message_find(struct queue *queue, uint64_t id)
{
	(void)queue, (void)id;
	return NULL;
}

int64_t schedule_age(const struct message *message)
{
	(void)message;
	return INT32_MAX; /* a delay is always told of */
}

void message_free(struct message *message)
{
	(void)message;
}

void message_remove(struct message *message)
{
	(void)message;
}

void record_rest(struct message *message)
{
	(void)message;
}

void message_step(struct message *message)
{
	(void)message;
}

void schedule_add(struct queue *queue, uint64_t id, int64_t next, bool held)
{
	(void)queue, (void)id, (void)next, (void)held;
}

/* ---- the report ---- */

static void look_at_lines(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		fuzz_assert(s.ptr[i] != '\0');
		fuzz_assert((s.ptr[i] == '\r') == (i + 1 < s.len && s.ptr[i + 1] == '\n'));
		fuzz_assert(s.ptr[i] != '\n' || (i > 0 && s.ptr[i - 1] == '\r'));
	}
}

/* How many fields; each line is one, or goes on one. */
static size_t count_fields(struct span header)
{
	struct mime_field field;
	size_t count = 0, octets = 0;

	while (mime_field_next(&header, &field)) {
		count++;
		octets += field.whole.len;
	}
	fuzz_assert(octets > 0);
	return count;
}

/* Groups of fields, an empty line between: of the message, then one for each recipient. */
static void look_at_status(struct span s)
{
	size_t groups = 0;

	while (s.len > 0) {
		const char *end = memmem(s.ptr, s.len, "\r\n\r\n", 4);
		struct span group = end ? span_of(s.ptr, (size_t)(end - s.ptr) + 2) : s;
		size_t fields;

		s = span_from(s, group.len + 2);
		if (group.len <= 2)
			continue;
		fields = count_fields(group);
		fuzz_assert(groups == 0 ? fields == 2 || fields == 3 : fields >= 4 && fields <= 8);
		groups++;
	}
	fuzz_assert(groups == 1 + expected.recipients);
}

static void look_at_report(struct span text)
{
	struct pool *pool = pool_new(NULL, MIME_MEMORY_MAX);
	const struct mime_part *root = mime_structure_parse(text, pool), *part;
	struct span before;

	fuzz_assert(root != NULL && root->kind == MIME_MULTIPART);
	fuzz_assert(count_fields(mime_part_header(text, root)) == HEADER_FIELDS + (utf8_is_ascii(span_from(text, root->body_offset)) ? 0u : 1u));
	part = root->first_child;
	fuzz_assert(part != NULL && part->next != NULL && part->next->next != NULL && part->next->next->next == NULL);
	part = part->next;
	look_at_status(span_sub(text, part->body_offset, part->body_size));
	before = span_sub(text, 0, part->next->body_offset);
	look_at_lines(before);
	fuzz_assert(utf8_is_valid(before)); /* whatever a host answers */
	pool_free(&pool);
}

int accept_own(struct queue *queue, struct span content, const struct spool_envelope *envelope, void (*done)(void *arg, int code), void *arg)
{
	(void)queue;
	fuzz_assert(envelope->sender.len == 0 && envelope->recipient_count == 1 && envelope->source == SPOOL_FROM_BOUNCE);
	fuzz_assert_same(envelope->recipients[0].address, expected.sender.len > 0 ? expected.sender : SPAN_LIT("postmaster"));
	look_at_report(content);
	expected.asked = true;
	done(arg, 0);
	return 0;
}

/* ---- one message ---- */

static size_t read_recipients(struct span *input, struct spool_recipient *recipients, struct recipient_state *states)
{
	size_t count = 0;

	while (input->len > 0 && count < RECIPIENTS) {
		struct span line = fuzz_until(input, '\n');

		if (line.len == 0)
			break;
		recipients[count] = (struct spool_recipient){.address = fuzz_until(&line, '\t'), .orcpt = fuzz_until(&line, '\t')};
		states[count++] = (struct recipient_state){.status = SPOOL_FAILED, .tried = (int64_t)count, .text = line};
	}
	return count;
}

static int file_of(struct span content)
{
	int fd = memfd_create("message", MFD_CLOEXEC);

	fuzz_assert(fd >= 0 && write(fd, content.ptr, content.len) == (ssize_t)content.len);
	return fd;
}

void fuzz_one(struct span input)
{
	static const uint32_t all[RECIPIENTS] = {0, 1, 2, 3, 4, 5, 6, 7};
	struct spool_recipient recipients[RECIPIENTS];
	struct recipient_state states[RECIPIENTS];
	unsigned options = fuzz_byte(&input);
	struct queue queue = {0};
	struct message m = {.queue = &queue, .id = 12345, .states = states};
	struct spool_envelope *e = &m.file.envelope;
	struct err err;

	if (conf == NULL) {
		log_init(-1, LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
		fuzz_assert(conf_parse(span_str(config), "fuzz", &conf, &err) == 0);
	}
	e->sender = fuzz_until(&input, '\n');
	e->envid = fuzz_until(&input, '\n');
	e->ret = options & OPTION_FULL ? SPOOL_RET_FULL : SPOOL_RET_HDRS;
	e->smtputf8 = options & OPTION_UTF8;
	e->recipients = recipients;
	e->recipient_count = (uint32_t)read_recipients(&input, recipients, states);
	if (e->recipient_count == 0)
		return;
	m.fd = file_of(input);
	m.file.content = input.len;
	expected.sender = e->sender;
	expected.recipients = e->recipient_count;
	expected.asked = false;
	/* A notification that fails is told to postmaster, and one to postmaster to nobody. */
	if (dsn_send(&m, (enum dsn_kind)(options % OPTION_KIND), all, e->recipient_count) == 0)
		fuzz_assert(expected.asked);
	else
		fuzz_assert(!expected.asked && e->sender.len == 0);
	close(m.fd);
}
