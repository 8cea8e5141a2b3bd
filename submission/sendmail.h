/* sendmail(1): run by anybody, with nobody's rights but their own. It asks pickup to take a message, or lays it into the drop. */
#ifndef MW_SUBMISSION_SENDMAIL_H
#define MW_SUBMISSION_SENDMAIL_H

#include "base/buf.h"
#include "conf/conf.h"
#include "control/paths.h"
#include "local/arguments.h"
#include "local/letter.h"

struct caller {
	struct instance instance;
	char drop[INSTANCE_PATH + 128];
	struct span hostname;	/* borrows conf, or "localhost" */
	uint64_t message_size, header_size;
	uint32_t received_lines;
	struct conf *conf;	/* NULL: it could not be read, and the defaults hold */
	char user[LETTER_NAME], full_name[LETTER_NAME];
};

/* A message in memory, as a file that is sealed before it is handed over. */
struct content {
	int fd;
	uint64_t size;
};

/* ---- sendmail_handover.c ---- */
enum handover_result { HANDOVER_QUEUED, HANDOVER_DROPPED, HANDOVER_REFUSED };

/*
 * content: sealed here; stays the caller's. letter: its handover is set here. *text: the queue's id, or why not. HANDOVER_DROPPED: pickup did not take it
 * now, and it is safe in the drop. HANDOVER_REFUSED: err.
 */
enum handover_result handover(const struct caller *caller, struct letter *letter, const struct content *content, char qid[16], struct err *err);

/* ---- sendmail_content.c ---- */
int content_open(struct content *content, struct err *err);
int content_write(struct content *content, struct span bytes, struct err *err);
void content_close(struct content *content);
/*
 * Standard input to its end, or to a lone dot. head: the first octets of it, as far as they go into it. E_TOOBIG, E_IO.
 */
int content_read(struct content *content, uint64_t most, bool dot, struct buf *head, struct err *err);

/* ---- sendmail_smtp.c ---- */
/* -bs: SMTP on standard input and output. Returns the exit status. */
int smtp_run(const struct caller *caller);

/* ---- sendmail_queue.c: they return the exit status ---- */
int queue_list(const struct caller *caller);
int queue_flush(const struct caller *caller);

#endif
