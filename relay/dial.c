#include "relay/dial.h"

#include "net/connect.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

/* One connection under way. */
struct dial_try {
	struct dial *dial;
	struct connecting *connecting; /* NULL: not under way */
	size_t which;
};

struct dial {
	struct event_base *base;
	struct event *stagger;
	struct dial_address addresses[DIAL_ADDRESSES_MAX];
	struct dial_try tries[DIAL_ADDRESSES_MAX];
	size_t count, begun, open;
	struct err why;
	dial_done *done;
	void *arg;
};

static void on_connected(void *arg, int fd, const struct err *why);

/* No memory for one counts as a failure of it. */
static void begin_next(struct dial *d)
{
	struct timeval tv = {.tv_sec = DIAL_STAGGER_MS / 1000, .tv_usec = DIAL_STAGGER_MS % 1000 * 1000};
	struct dial_try *try = &d->tries[d->begun];
	const struct dial_address *a = &d->addresses[d->begun];

	try->dial = d;
	try->which = d->begun++;
	try->connecting = connect_begin(d->base, &a->to, a->from.ss_family != AF_UNSPEC ? &a->from : NULL, DIAL_CONNECT_MS, on_connected, try);
	d->open += try->connecting != NULL;
	if (try->connecting == NULL)
		err_set(&d->why, E_NOMEM, "no memory for a connection");
	if (d->begun < d->count)
		evtimer_add(d->stagger, &tv);
}

static void finish(struct dial *d, int fd, size_t which)
{
	dial_done *done = d->done;
	void *arg = d->arg;
	struct err why = d->why;

	dial_cancel(&d);
	done(arg, fd, which, &why);
}

static void on_connected(void *arg, int fd, const struct err *why)
{
	struct dial_try *try = arg;
	struct dial *d = try->dial;

	try->connecting = NULL;
	d->open--;
	if (fd >= 0) {
		finish(d, fd, try->which);
		return;
	}
	if (d->why.code != E_NOFILES && d->why.code != E_NOMEM)
		d->why = *why;
	while (d->open == 0 && d->begun < d->count)
		begin_next(d);
	if (d->open == 0)
		finish(d, -1, try->which);
}

static void on_stagger(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;

	(void)fd;
	(void)what;
	if (d->begun < d->count)
		begin_next(d);
	if (d->open == 0)
		finish(d, -1, d->begun - 1);
}

struct dial *dial_begin(struct event_base *base, const struct dial_address *addresses, size_t count, dial_done *done, void *arg)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	d->base = base;
	d->count = count < DIAL_ADDRESSES_MAX ? count : DIAL_ADDRESSES_MAX;
	for (size_t i = 0; i < d->count; i++)
		d->addresses[i] = addresses[i];
	d->done = done;
	d->arg = arg;
	d->stagger = evtimer_new(base, on_stagger, d);
	if (d->stagger == NULL) {
		dial_cancel(&d);
		return NULL;
	}
	begin_next(d);
	if (d->open == 0) /* no memory: told in a turn of its own */
		event_active(d->stagger, EV_TIMEOUT, 0);
	return d;
}

void dial_cancel(struct dial **dial)
{
	struct dial *d = *dial;

	*dial = NULL;
	if (d == NULL)
		return;
	for (size_t i = 0; i < d->begun; i++)
		connect_cancel(&d->tries[i].connecting);
	if (d->stagger != NULL)
		event_free(d->stagger);
	free(d);
}
