#include "log.h"

#include "buf.h"
#include "clock.h"
#include "json.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LOG_BATCH = 4096,      /* bytes gathered before a write */
	LOG_LINE_MAX = 8192,   /* one line, escapes included */
	LOG_VALUE_MAX = 1024,  /* bytes of one outside value that are shown */
	LOG_RATE_MAX = 20000,  /* lines a second per INFO event: bounds a flood, not a busy server */
	LOG_RATE_WARN_MAX = 100,
	LOG_RATE_REFUSED_MAX = 100, /* of connections: anyone can cause thousands, and a line costs more than the refusal */
};

struct log_event_info {
	const char *name;
	enum log_level level;
};

static const struct log_event_info log_events[EV_COUNT] = {
#define EVENT(name, level, sentence) [EV_##name] = {#name, LOG_LEVEL_##level},
#include "events.def"
#undef EVENT
};

/* One per process: the log is the process's own. */
static struct {
	int fd;
	enum log_level level;
	enum log_format format;
	struct buf batch;
	uint64_t count[EV_COUNT];
	uint32_t in_second[EV_COUNT];
	int64_t second;
	uint64_t dropped;
} log_state = {.fd = STDERR_FILENO, .level = LOG_LEVEL_INFO, .batch = {.max = LOG_BATCH + LOG_LINE_MAX}};

void log_init(int fd, enum log_level level, enum log_format format)
{
	log_state.fd = fd;
	log_state.level = level;
	log_state.format = format;
}

void log_set_level(enum log_level level)
{
	log_state.level = level;
}

static bool log_enabled(enum log_event_id id)
{
	return log_events[id].level <= log_state.level;
}

static bool log_is_plain(struct span value)
{
	if (value.len == 0)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
			return false;
	}
	return true;
}

static void log_add_quoted(struct buf *out, struct span value)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];

		if (c == '"' || c == '\\') {
			buf_add_char(out, '\\');
			buf_add_char(out, (char)c);
		} else if (c < ' ' || c >= 0x7f) {
			buf_printf(out, "\\x%02x", c);
		} else {
			buf_add_char(out, (char)c);
		}
	}
	buf_add_char(out, '"');
}

static void log_add_key(struct buf *out, const char *key)
{
	if (log_state.format == LOG_FORMAT_JSON) {
		buf_add_str(out, ",\"");
		buf_add_str(out, key);
		buf_add_str(out, "\":");
	} else {
		buf_add_char(out, ' ');
		buf_add_str(out, key);
		buf_add_char(out, '=');
	}
}

static void log_add_text(struct buf *out, struct span value)
{
	value = span_sub(value, 0, LOG_VALUE_MAX);
	if (log_state.format == LOG_FORMAT_JSON)
		json_add_string(out, value);
	else if (log_is_plain(value))
		buf_add_span(out, value);
	else
		log_add_quoted(out, value);
}

static void log_add_field(struct buf *out, const struct log_field *field)
{
	log_add_key(out, field->key);
	if (field->type == LOG_FIELD_U64)
		buf_add_u64(out, field->value.u64);
	else if (field->type == LOG_FIELD_I64)
		buf_printf(out, "%lld", (long long)field->value.i64);
	else
		log_add_text(out, field->value.span);
}

static void log_add_ctx(struct buf *out, const struct log_ctx *ctx)
{
	if (ctx == NULL)
		return;
	log_add_ctx(out, ctx->parent);
	if (ctx->key != NULL) {
		log_add_key(out, ctx->key);
		log_add_text(out, ctx->value);
	}
}

static uint32_t log_rate_max(enum log_event_id id)
{
	if (id == EV_smtp_refused || id == EV_imap_refused)
		return LOG_RATE_REFUSED_MAX;
	return log_events[id].level >= LOG_LEVEL_INFO ? LOG_RATE_MAX : LOG_RATE_WARN_MAX;
}

/* False when this event has had its share of the current second. */
static bool log_within_rate(enum log_event_id id)
{
	int64_t now = clock_monotonic_ms() / 1000;

	if (now != log_state.second) {
		log_state.second = now;
		memset(log_state.in_second, 0, sizeof(log_state.in_second));
	}
	if (log_state.in_second[id] >= log_rate_max(id)) {
		log_state.dropped++;
		return false;
	}
	log_state.in_second[id]++;
	return true;
}

static void log_render(enum log_event_id id, const struct log_ctx *ctx, const struct log_field *fields)
{
	struct buf *out = &log_state.batch;
	const struct log_event_info *info = &log_events[id];

	if (log_state.format == LOG_FORMAT_JSON) {
		buf_printf(out, "\"event\":\"%s\",\"level\":\"%s\"", info->name,
		    log_level_name(info->level));
	} else {
		if (info->level <= LOG_LEVEL_WARN)
			buf_printf(out, "%s: ", log_level_name(info->level));
		buf_add_str(out, info->name);
	}
	log_add_ctx(out, ctx);
	for (; fields->key != NULL; fields++)
		log_add_field(out, fields);
	buf_add_char(out, '\n');
}

void log_event_fields(enum log_event_id id, const struct log_ctx *ctx, const struct log_field *fields)
{
	size_t before = buf_len(&log_state.batch);

	log_state.count[id]++;
	if (!log_enabled(id) || !log_within_rate(id))
		return;
	log_render(id, ctx, fields);
	/* A line that is too long goes alone: what an outsider sends must not take others' lines with it. */
	if (buf_failed(&log_state.batch)) {
		buf_cut(&log_state.batch, before);
		log_state.dropped++;
	}
	if (buf_len(&log_state.batch) >= LOG_BATCH)
		log_flush();
}

static ssize_t log_send(struct span bytes)
{
	ssize_t n = send(log_state.fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno == ENOTSOCK)
		n = write(log_state.fd, bytes.ptr, bytes.len);
	return n;
}

void log_flush(void)
{
	uint64_t dropped = log_state.dropped;

	if (buf_len(&log_state.batch) == 0)
		return;
	if (log_send(buf_span(&log_state.batch)) < 0)
		log_state.dropped++;
	buf_clear(&log_state.batch);
	if (dropped > 0 && dropped == log_state.dropped) {
		log_state.dropped = 0;
		log_event(EV_log_dropped, NULL, F_U64("lines", dropped));
	}
}

uint64_t log_event_count(enum log_event_id id)
{
	return log_state.count[id];
}

const char *log_level_name(enum log_level level)
{
	static const char *const names[LOG_LEVELS] = {"error", "warn", "info", "debug"};

	return names[level];
}

void log_set_level_name(struct span name)
{
	for (int i = LOG_LEVEL_ERROR; i < LOG_LEVELS; i++)
		if (span_eq(name, span_str(log_level_name((enum log_level)i))))
			log_set_level((enum log_level)i);
}
