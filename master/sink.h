/*
 * The one place where log lines of all daemons arrive and from where they go to
 * a file, stderr or syslog. Who wrote a line is the kernel's word (SCM_CREDENTIALS).
 */
#ifndef MW_MASTER_SINK_H
#define MW_MASTER_SINK_H

#include "base/err.h"

#include <sys/types.h>

struct sink;
struct event_base;

/* The name of the daemon with this pid, or NULL: one of its children. */
typedef const char *sink_namer(void *arg, pid_t pid);

/* target: "syslog", "stderr", "file:PATH". */
int sink_open(struct event_base *base, const char *target, bool json, sink_namer *namer, void *arg,
    struct sink **out, struct err *err);
/* *write_fd: a socket for one daemon's lines; the caller's. The sink lets go of its end when all copies are closed. */
int sink_source(struct sink *sink, int *write_fd, struct err *err);
/* Opens a file target again: after its rotation. */
int sink_reopen(struct sink *sink, const char *target, struct err *err);
/* Takes what is still waiting. */
void sink_drain(struct sink *sink);
void sink_close(struct sink **sink);

#endif
