#include "master/sink.h"

#include "base/clock.h"
#include "base/json.h"

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
	SINK_OUT_MAX = 256 * 1024,  /* gathered before a write */
	SINK_SOCKET = 4 * 1024 * 1024,
};

struct sink {
	struct event *event;
	sink_namer *namer;
	void *arg;
	int read_fd;
	int write_fd;
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
	else
		buf_printf(&sink->out, "%s.%03dZ %s[%d] ", when, (int)(now % 1000), name, (int)pid);
}

/* Text that is no event of ours (a sanitizer's report, a libc message) is shown as it is. */
static void sink_line(struct sink *sink, const char *name, pid_t pid, struct span line)
{
	if (line.len == 0)
		return;
	if (sink->out_fd < 0) {
		syslog(LOG_MAIL | (span_startswith(line, SPAN_LIT("error:")) ? LOG_ERR : LOG_INFO),
		    "%s[%d] %.*s", name, (int)pid, SPAN_ARG(line));
		return;
	}
	sink_prefix(sink, name, pid);
	if (sink->json && line.ptr[0] != '"') {
		buf_add_str(&sink->out, "\"text\":");
		json_add_string(&sink->out, line);
	} else {
		buf_add_span(&sink->out, line);
	}
	buf_add_str(&sink->out, sink->json ? "}\n" : "\n");
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

/* One datagram; false when there is none. */
static bool sink_take(struct sink *sink)
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
	ssize_t n = recvmsg(sink->read_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n <= 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	sink_split(sink, cred.pid, span_of(data, (size_t)n));
	return true;
}

static void sink_on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct sink *sink = arg;

	(void)fd;
	(void)what;
	for (int i = 0; i < SINK_BURST && sink_take(sink); i++)
		;
	sink_write_out(sink);
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
	sink->owns_out = true;
	if (sink->out_fd < 0)
		return err_set_errno(err, errno, "log file %s", target + 5);
	return 0;
}

int sink_open(struct event_base *base, const char *target, bool json, sink_namer *namer, void *arg,
    struct sink **out, int *write_fd, struct err *err)
{
	struct sink *sink = calloc(1, sizeof(*sink));
	int fds[2], on = 1, size = SINK_SOCKET;
	int r;

	if (sink == NULL)
		return err_set(err, E_NOMEM, "no memory for the log");
	buf_init(&sink->out, SINK_OUT_MAX);
	sink->namer = namer;
	sink->arg = arg;
	sink->json = json;
	r = sink_open_target(sink, target, err);
	if (r != 0) {
		free(sink);
		return r;
	}
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) != 0) {
		free(sink);
		return err_set_errno(err, errno, "socketpair of the log");
	}
	setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	if (setsockopt(fds[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	sink->read_fd = fds[0];
	sink->write_fd = fds[1];
	sink->event = event_new(base, fds[0], EV_READ | EV_PERSIST, sink_on_ready, sink);
	if (sink->event == NULL || event_add(sink->event, NULL) != 0) {
		sink_close(&sink);
		return err_set(err, E_NOMEM, "no memory for the log");
	}
	*out = sink;
	*write_fd = fds[1];
	return 0;
}

int sink_reopen(struct sink *sink, const char *target, struct err *err)
{
	int before = sink->owns_out ? sink->out_fd : -1;
	int r = sink_open_target(sink, target, err);

	if (r == 0 && before >= 0)
		close(before);
	else if (r != 0)
		sink->out_fd = before >= 0 ? before : STDERR_FILENO;
	return r;
}

void sink_drain(struct sink *sink)
{
	while (sink_take(sink))
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
	if (sink->event != NULL)
		event_free(sink->event);
	close(sink->read_fd);
	close(sink->write_fd);
	if (sink->owns_out)
		close(sink->out_fd);
	buf_fini(&sink->out);
	free(sink);
}
