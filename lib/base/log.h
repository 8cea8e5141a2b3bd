/*
 * Log events: named in events.def, with fields, escaped here.
 *
 * A line is `event key=value ...`; the sink (master) puts time, daemon and pid
 * before it. A value from outside can neither end the line nor forge a field:
 * anything but plain printable ASCII makes it a quoted string with \xNN.
 */
#ifndef MW_BASE_LOG_H
#define MW_BASE_LOG_H

#include "err.h"
#include "span.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVELS };

enum log_event_id {
#define EVENT(name, level, sentence) EV_##name,
#include "events.def"
#undef EVENT
	EV_COUNT
};

enum log_field_type { LOG_FIELD_SPAN, LOG_FIELD_U64, LOG_FIELD_I64 };

struct log_field {
	const char *key;
	enum log_field_type type;
	union {
		struct span span;
		uint64_t u64;
		int64_t i64;
	} value;
};

#define F_SPAN(k, s) ((struct log_field){.key = (k), .type = LOG_FIELD_SPAN, .value.span = (s)})
#define F_STR(k, s)  F_SPAN(k, span_str(s))
#define F_U64(k, n)  ((struct log_field){.key = (k), .type = LOG_FIELD_U64, .value.u64 = (n)})
#define F_I64(k, n)  ((struct log_field){.key = (k), .type = LOG_FIELD_I64, .value.i64 = (n)})
#define F_ERR(e)     F_STR("error", (e)->text)

/*
 * What every line of a session or transaction carries. parent is borrowed and
 * must outlive the child.
 */
struct log_ctx {
	const struct log_ctx *parent;
	const char *key; /* NULL: nothing of its own */
	struct span value;
};

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/*
 * fd: where lines go: a datagram socket to master's sink, or any file. Lines
 * are kept until log_flush() or until 4 KiB have gathered, so that a busy loop
 * makes one system call a turn. level: what is less important is not logged.
 */
void log_init(int fd, enum log_level level, enum log_format format);
void log_set_level(enum log_level level);

/* ctx may be NULL. Fields end with the macro's terminator. Rate limited per event. */
#define log_event(id, ctx, ...)                                                                    \
	log_event_fields((id), (ctx), (const struct log_field[]){__VA_ARGS__, {.key = NULL}})
void log_event_fields(enum log_event_id id, const struct log_ctx *ctx, const struct log_field *fields);

/* Never blocks: what the sink does not take is dropped and counted. */
void log_flush(void);

/* How often event id came since the start, whether or not it was written. */
uint64_t log_event_count(enum log_event_id id);
/* "error", "warn", "info", "debug". Static. */
const char *log_level_name(enum log_level level);
/* "error", "warn", "info", "debug"; anything else leaves the level as it is. */
void log_set_level_name(struct span name);

#endif
