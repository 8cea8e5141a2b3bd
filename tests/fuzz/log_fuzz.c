/*
 * Log lines: whatever stands in a value, an event is one line of printable text; as
 * JSON it is JSON.
 *
 * Input: a byte; 'j': as JSON. Then two values, a line end between them.
 */
#include "tests/fuzz/fuzz.h"

#include "base/log.h"

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

void fuzz_one(struct span input)
{
	bool json = fuzz_byte(&input) == 'j';
	struct span first = fuzz_until(&input, '\n');
	struct log_ctx ctx = {.key = "user", .value = first};
	char line[16384];
	int fd = memfd_create("log", MFD_CLOEXEC);
	ssize_t n;

	fuzz_assert(fd >= 0);
	log_init(fd, LOG_LEVEL_DEBUG, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
	log_event(EV_imap_command, &ctx, F_SPAN("command", input), F_U64("n", input.len));
	log_flush();
	n = pread(fd, line, sizeof(line), 0);
	close(fd);
	/* Too many in one second: none is written. */
	if (n <= 0)
		return;
	fuzz_assert((size_t)n < sizeof(line) && line[n - 1] == '\n');
	for (ssize_t i = 0; i + 1 < n; i++)
		fuzz_assert(line[i] >= ' ' && (unsigned char)line[i] < 0x7f);
	if (json)
		look_at_json(line, (size_t)n - 1);
}
