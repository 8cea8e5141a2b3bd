/* What the files of the control requests share. */
#ifndef MW_QUEUE_CONTROL_H
#define MW_QUEUE_CONTROL_H

#include "queue/filter.h"

struct control_reply;

/* ---- list.c ---- */
void queue_control_list(struct queue *queue, struct control_reply *reply, const struct filter *filter);
/* The row of one recipient, with what was answered last. */
void queue_control_row_recipient(struct control_reply *reply, const struct message *message, size_t recipient);
/* Behind an answer about all messages: what is not known yet, or nothing. */
void queue_control_left(const struct queue *queue, char *out, size_t size);

#endif
