/* Secrets of session tickets: drawn here for each period, dealt to the daemons whose clients have TLS, and forgotten after the period that follows. */
#include "master/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"

#include <event2/event.h>

enum { TICKETS_LOOK = 2 }; /* seconds between two looks at the clock: a timer would not count the hours that a machine sleeps */

static void draw(struct master *master)
{
	memcpy(master->tickets.before, master->tickets.now, sizeof(master->tickets.before));
	randombytes_buf(master->tickets.now, sizeof(master->tickets.now));
	master->tickets_ms = clock_boot_ms();
}

/* A daemon that was taken over can open the tickets of its own clients, not those of another kind's. */
static void derive(const unsigned char of[TLS_TICKET_SECRET], const char *kind, unsigned char out[TLS_TICKET_SECRET])
{
	crypto_generichash(out, TLS_TICKET_SECRET, (const unsigned char *)kind, strlen(kind), of, TLS_TICKET_SECRET);
}

int tickets_send(struct child *child)
{
	struct tls_tickets secrets;
	struct master_secret body = {.name = SPAN_LIT("tickets"), .value = span_of(&secrets, sizeof(secrets))};
	int r;

	derive(child->master->tickets.now, child->kind->name, secrets.now);
	derive(child->master->tickets.before, child->kind->name, secrets.before);
	r = ipc_conn_send(child->conn, &ipc_master_secret, 0, &body, -1);
	explicit_bzero(&secrets, sizeof(secrets));
	return r;
}

/* Who cannot be told goes on with what it has: that is what the others have from the period before. */
static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct master *master = arg;

	(void)fd;
	(void)what;
	if (clock_boot_ms() - master->tickets_ms < (int64_t)TLS_TICKET_PERIOD * 1000)
		return;
	draw(master);
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].kind->tickets && master->children[i].conn != NULL)
			tickets_send(&master->children[i]);
	log_event(EV_tls_tickets, NULL, F_U64("hours", TLS_TICKET_PERIOD / 3600));
}

int tickets_begin(struct master *master, struct err *err)
{
	struct timeval tv = {.tv_sec = TICKETS_LOOK};

	draw(master);
	draw(master);
	master->tickets_look = event_new(master->base, -1, EV_PERSIST, on_look, master);
	if (master->tickets_look == NULL || event_add(master->tickets_look, &tv) != 0)
		return err_set(err, E_NOMEM, "no memory for the event loop");
	return 0;
}
