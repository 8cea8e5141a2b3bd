/* What the files of the control requests share. */
#ifndef MW_QUEUE_CONTROL_H
#define MW_QUEUE_CONTROL_H

#include "queue/filter.h"

struct control_reply;

/* ---- control.c ---- */
/* The message of this id, as text; loaded: it was read for this, message_free gives it back. E_SYNTAX, E_NOTFOUND, those of spool_read. */
int queue_control_message(struct queue *queue, struct span id, struct message **message, bool *loaded, struct err *err);
/* Of a command that met with this. */
unsigned queue_control_exit(int code);

/* ---- change.c ---- */
/* args: of the command, its verb the second; ids: how many of the others are ids. False: the verb changes nothing. */
bool queue_control_change(struct queue *queue, struct control_reply *reply, const struct span *args, struct filter *filter, size_t ids);

/* ---- list.c ---- */
void queue_control_list(struct queue *queue, struct control_reply *reply, const struct filter *filter);
/* The row of one recipient, with what was answered last. */
void queue_control_row_recipient(struct control_reply *reply, const struct message *message, size_t recipient);
enum { QUEUE_LEFT = 100 };
/* Behind an answer about all messages: what is not known yet, or nothing. As it is before the first is looked at. */
void queue_control_left(const struct queue *queue, char out[QUEUE_LEFT]);

/* ---- show.c ---- */
/* What the row of a recipient has more than one of a list. */
void queue_control_add_envelope(struct buf *out, const struct message *message, uint32_t recipient);
/* A row for each thing that was written down about it. */
void queue_control_attempts(struct control_reply *reply, const struct message *message);

#endif
