#include "master/sink.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

enum {
	SINK_DATAGRAM = 16384,
	SINK_BURST = 128,	    /* datagrams a turn */
	SINK_DRAIN = 8192,	    /* more than a socket holds: whoever writes without pause does not keep master here */
	SINK_OUT_MAX = 256 * 1024,  /* gathered before a write */
	SINK_SOCKET = 4 * 1024 * 1024,
};

/* Where the lines of one daemon and its children come in. */
struct source {
	struct source *next, **link;
	struct sink *sink;
	struct event *event;
	int fd;
};

struct sink {
	struct event_base *base;
	struct source *sources;
	sink_namer *namer;
	void *arg;
	int out_fd; /* -1: syslog */
	bool owns_out;
	bool json;
	struct buf out;
	uint64_t lost; /* lines the target did not take */
};

static void sink_write_out(struct sink *sink)
{
	struct span all = buf_span(&sink->out);

	if (all.len > 0 && sink->out_fd >= 0 && write(sink->out_fd, all.ptr, all.len) < 0)
		sink->lost++; /* a full /var/log loses log lines, never mail */
	buf_clear(&sink->out);
}

/* Of a line as log.c makes it: "error: ..." or "event":"name","level":"error". */
static int sink_priority(struct span line, bool json)
{
	static const struct {
		const char *text, *json;
		int priority;
	} levels[] = {{"error: ", "\"error\"", LOG_ERR}, {"warn: ", "\"warn\"", LOG_WARNING}, {NULL, NULL, 0}};
	static const char key[] = ",\"level\":";
	size_t comma = span_find(line, ',');
	struct span level = span_from(line, comma + sizeof(key) - 1);

	for (int i = 0; levels[i].text != NULL; i++)
		if (json ? span_startswith(level, span_str(levels[i].json)) : span_startswith(line, span_str(levels[i].text)))
			return levels[i].priority;
	return LOG_INFO;
}

/* Syslog puts a time of its own before text. */
static void sink_prefix(struct sink *sink, const char *name, pid_t pid)
{
	int64_t now = clock_wall_ms();
	time_t seconds = (time_t)(now / 1000);
	struct tm tm;
	char when[32];

	gmtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	if (sink->json)
		buf_printf(&sink->out, "{\"time\":\"%s.%03dZ\",\"daemon\":\"%s\",\"pid\":%d,", when,
		    (int)(now % 1000), name, (int)pid);
	else if (sink->out_fd >= 0)
		buf_printf(&sink->out, "%s.%03dZ %s[%d] ", when, (int)(now % 1000), name, (int)pid);
	else
		buf_printf(&sink->out, "%s[%d] ", name, (int)pid);
}

/* Ours are escaped already, in JSON all but UTF-8; a daemon that was taken over may send what moves the cursor of whoever reads the log. */
static bool is_plain(struct span line, bool json)
{
	while (line.len > 0) {
		int32_t cp = utf8_next(&line);

		if (cp < ' ' || (cp >= 0x7f && (!json || cp < 0xa0)))
			return false;
	}
	return true;
}

static void sink_add_plain(struct sink *sink, struct span line)
{
	for (size_t i = 0; i < line.len; i++) {
		unsigned char c = (unsigned char)line.ptr[i];

		if (c >= ' ' && c < 0x7f)
			buf_add_char(&sink->out, (char)c);
		else
			buf_printf(&sink->out, "\\x%02x", c);
	}
}

/* Text that is no event of ours (a sanitizer's report, a libc message) is shown as it is. */
static void sink_line(struct sink *sink, const char *name, pid_t pid, struct span line)
{
	if (line.len == 0)
		return;
	sink_prefix(sink, name, pid);
	if (sink->json && (line.ptr[0] != '"' || !is_plain(line, true))) {
		buf_add_str(&sink->out, "\"text\":");
		json_add_string(&sink->out, line);
	} else if (is_plain(line, sink->json)) {
		buf_add_span(&sink->out, line);
	} else {
		sink_add_plain(sink, line);
	}
	if (sink->json)
		buf_add_char(&sink->out, '}');
	if (sink->out_fd >= 0) {
		buf_add_char(&sink->out, '\n');
		return;
	}
	syslog(LOG_MAIL | sink_priority(line, sink->json), "%.*s", SPAN_ARG(buf_span(&sink->out)));
	buf_clear(&sink->out);
}

static void sink_split(struct sink *sink, pid_t pid, struct span lines)
{
	const char *name = sink->namer(sink->arg, pid);

	while (lines.len > 0) {
		size_t end = span_find(lines, '\n');

		sink_line(sink, name ? name : "worker", pid, span_sub(lines, 0, end));
		lines = span_from(lines, end + 1);
	}
	if (buf_failed(&sink->out) || buf_len(&sink->out) > SINK_OUT_MAX / 2)
		sink_write_out(sink);
}

static void source_free(struct source *source)
{
	*source->link = source->next;
	if (source->next != NULL)
		source->next->link = source->link;
	if (source->event != NULL)
		event_free(source->event);
	close(source->fd);
	free(source);
}

/* One message; false when there is none. The end, all who could write having gone, has no octets and no sender; an empty message has one. */
static bool source_take(struct source *source, bool *ended)
{
	char data[SINK_DATAGRAM];
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.room,
	    .msg_controllen = sizeof(control.room)};
	struct ucred cred = {0};
	ssize_t n = recvmsg(source->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*ended = n < 0 ? errno != EAGAIN && errno != EINTR : n == 0 && CMSG_FIRSTHDR(&msg) == NULL;
	if (n < 0 || *ended)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	sink_split(source->sink, cred.pid, span_of(data, (size_t)n));
	return true;
}

static void source_on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct source *source = arg;
	struct sink *sink = source->sink;
	bool ended = false;

	(void)fd;
	(void)what;
	for (int i = 0; i < SINK_BURST && source_take(source, &ended); i++)
		;
	if (ended)
		source_free(source);
	sink_write_out(sink);
}

/*
 * Each daemon has a socket of its own: whoever has one end of a socket may shut it, fill it or make its buffer small,
 * and a daemon that was taken over must not silence the others.
 */
int sink_source(struct sink *sink, int *write_fd, struct err *err)
{
	struct source *source = calloc(1, sizeof(*source));
	int fds[2], on = 1, size = SINK_SOCKET;

	if (source == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
		free(source);
		return err_set_errno(err, errno, "socketpair of the log");
	}
	setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	if (setsockopt(fds[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	source->sink = sink;
	source->fd = fds[0];
	source->next = sink->sources;
	source->link = &sink->sources;
	if (source->next != NULL)
		source->next->link = &source->next;
	sink->sources = source;
	source->event = event_new(sink->base, fds[0], EV_READ | EV_PERSIST, source_on_ready, source);
	if (source->event == NULL || event_add(source->event, NULL) != 0) {
		source_free(source);
		close(fds[1]);
		return err_set(err, E_NOMEM, "no memory for the log");
	}
	*write_fd = fds[1];
	return 0;
}

static int sink_open_target(struct sink *sink, const char *target, struct err *err)
{
	if (strcmp(target, "syslog") == 0) {
		openlog("mailwain", LOG_NDELAY, LOG_MAIL);
		sink->out_fd = -1;
		return 0;
	}
	if (strcmp(target, "stderr") == 0) {
		sink->out_fd = STDERR_FILENO;
		return 0;
	}
	if (strncmp(target, "file:", 5) != 0)
		return err_set(err, E_SYNTAX, "log %s: must be syslog, stderr or file:PATH", target);
	sink->out_fd = open(target + 5, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (sink->out_fd < 0)
		return err_set_errno(err, errno, "log file %s", target + 5);
	sink->owns_out = true;
	return 0;
}

int sink_open(struct event_base *base, const char *target, bool json, sink_namer *namer, void *arg,
    struct sink **out, struct err *err)
{
	struct sink *sink = calloc(1, sizeof(*sink));
	int r;

	if (sink == NULL)
		return err_set(err, E_NOMEM, "no memory for the log");
	buf_init(&sink->out, SINK_OUT_MAX);
	sink->base = base;
	sink->namer = namer;
	sink->arg = arg;
	sink->json = json;
	r = sink_open_target(sink, target, err);
	if (r != 0) {
		free(sink);
		return r;
	}
	*out = sink;
	return 0;
}

int sink_reopen(struct sink *sink, const char *target, struct err *err)
{
	int before = sink->out_fd;
	bool owned = sink->owns_out;
	int r;

	sink_drain(sink);
	sink->owns_out = false;
	r = sink_open_target(sink, target, err);
	if (r == 0) {
		if (owned)
			close(before);
	} else {
		sink->out_fd = before;
		sink->owns_out = owned;
	}
	return r;
}

void sink_drain(struct sink *sink)
{
	bool ended;

	for (struct source *source = sink->sources; source != NULL; source = source->next)
		for (int i = 0; i < SINK_DRAIN && source_take(source, &ended); i++)
			;
	sink_write_out(sink);
}

void sink_close(struct sink **sinkp)
{
	struct sink *sink = *sinkp;

	if (sink == NULL)
		return;
	*sinkp = NULL;
	sink_drain(sink);
	while (sink->sources != NULL)
		source_free(sink->sources);
	if (sink->owns_out)
		close(sink->out_fd);
	buf_fini(&sink->out);
	free(sink);
}
