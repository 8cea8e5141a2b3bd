/*
 * Log lines: whatever stands in a value, an event is one line of printable ASCII; as JSON it is
 * JSON, in UTF-8 without what could move a terminal's cursor.
 *
 * Input: a byte; 'j': as JSON. Then two values, a line end between them.
 */
#include "tests/fuzz/fuzz.h"

#include "base/log.h"
#include "base/utf8.h"

#include <jansson.h>
#include <unistd.h>
#include <sys/mman.h>

static void look_at_json(const char *text, size_t len)
{
	struct buf object;
	json_error_t error;
	json_t *json;

	/* The sink puts time, daemon and pid before it. */
	buf_init(&object, len + 2);
	buf_add_char(&object, '{');
	buf_add(&object, text, len);
	buf_add_char(&object, '}');
	json = json_loadb(buf_span(&object).ptr, buf_len(&object), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	fuzz_assert(json_is_object(json) && json_object_size(json) == 5);
	json_decref(json);
	buf_fini(&object);
}

/* C0, DEL and C1 are escaped in either form. */
static void look_at_text(struct span text, bool json)
{
	while (text.len > 0) {
		int32_t cp = utf8_next(&text);

		fuzz_assert(cp >= ' ' && cp != 0x7f && (cp < 0x80 || (json && cp >= 0xa0)));
	}
}

void fuzz_one(struct span input)
{
	bool json = fuzz_byte(&input) == 'j';
	struct span first = fuzz_until(&input, '\n');
	struct log_ctx ctx = {.key = "user", .value = first};
	char lines[16384];
	struct span line;
	int fd = memfd_create("log", MFD_CLOEXEC);
	ssize_t n;

	fuzz_assert(fd >= 0);
	log_init(fd, LOG_LEVEL_DEBUG, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
	log_event(EV_imap_command, &ctx, F_SPAN("command", input), F_U64("n", input.len));
	log_flush();
	n = pread(fd, lines, sizeof(lines), 0);
	close(fd);
	/* Too many in one second: none is written, and a later line has one before it that says how many. */
	if (n <= 0)
		return;
	fuzz_assert((size_t)n < sizeof(lines) && lines[n - 1] == '\n');
	line = span_of(lines, (size_t)n - 1);
	if (span_find(line, '\n') < line.len && memmem(lines, span_find(line, '\n'), "log_dropped", 11) != NULL)
		line = span_from(line, span_find(line, '\n') + 1);
	look_at_text(line, json);
	if (json)
		look_at_json(line.ptr, line.len);
}
