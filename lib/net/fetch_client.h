/*
 * Questions to the fetch process, each with a deadline, answered on the event loop. What fetch did not answer because it died
 * is asked again when it is back.
 */
#ifndef MW_NET_FETCH_CLIENT_H
#define MW_NET_FETCH_CLIENT_H

#include "ipc/ipc.h"

struct daemon;
struct fetch_client;

enum {
	FETCH_ASKS_MAX = 256,	 /* of one client at once */
	FETCH_GRACE_MS = 2000, /* an answer may come so much later than the request's own time */
};

/* The answer is borrowed until it returns. */
typedef void fetch_answered(void *arg, const struct fetch_answer *answer);

/* NULL: no memory. */
struct fetch_client *fetch_client_new(struct daemon *daemon);
/* The channel, made or made again; owns fd. */
void fetch_client_connect(struct fetch_client *client, int fd);
/*
 * done is called once, never before this returns. Number of the question, for fetch_forget; 0: too many are asked already, or
 * there is no memory, and done is not called.
 */
uint32_t fetch_ask(struct fetch_client *client, const struct fetch_request *ask, fetch_answered *done, void *arg);
void fetch_forget(struct fetch_client *client, uint32_t question);

#endif
