/* An administrator's work on one account, done by a child that is confined to it. */
#ifndef MW_LMTP_JOB_H
#define MW_LMTP_JOB_H

#include "base/span.h"

#include <stdint.h>

enum job_kind { JOB_CHECK, JOB_REBUILD, JOB_LIST, JOB_UNDO };

/*
 * In the child: does it, writes rows as JSON objects to `out`, one a line, and at the end one line "=EXIT sentence".
 * account: its number, for the log; since: of JOB_UNDO. Returns the process's exit status.
 */
int job_main(enum job_kind kind, uint64_t account, int dir, int64_t since, int out);

#endif
