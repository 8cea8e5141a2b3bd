/* keys: private keys, and signatures by them. It has no network, no file system, and no way to open anything. */
#include "keys/ring.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"
#include "proc/daemon.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Who may ask: decided by who is connected, which master says. */
static const char *const users[] = {"smtpd", "submission", "imapd"};

enum {
	KEYS_BURST = 8, /* signatures in one turn, so that floods at one daemon do not keep another waiting */
	KEYS_WARNINGS = 20, /* lines of the log at a time: of the certificates that end first */
	KEYS_LOOK = 3600, /* seconds between two looks whether a day is over */
};

struct keys {
	struct daemon *daemon;
	struct ring *now, *before; /* a daemon that has not yet reloaded asks by the keys of before */
	uint64_t total;
	uint32_t peers;
	char note[TLS_WARNING_MAX + 330];
	int64_t warned_ms; /* since boot */
	struct event *look;
};

static void answer(struct keys *keys, struct ipc_conn *conn, uint32_t id, const struct keys_sign *ask)
{
	struct tls_question question = {.algorithm = (enum tls_algorithm)ask->algorithm, .digest = (enum tls_digest)ask->digest, .data = ask->data};
	unsigned char signature[TLS_SIGNATURE_MAX];
	struct keys_signed body = {0};
	const struct tls_key *key;
	size_t len = 0;

	memcpy(question.key, ask->key.ptr, sizeof(question.key));
	key = ring_find(keys->now, question.key);
	if (key == NULL)
		key = ring_find(keys->before, question.key);
	body.code = key ? tls_key_sign(key, &question, signature, &len) : E_NOTFOUND;
	body.signature = span_of(signature, len);
	keys->total += body.code == 0;
	ipc_conn_send(conn, &ipc_keys_signed, id, &body, -1);
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	const struct keys_sign *ask = (const void *)m->body;

	if (m->type != &ipc_keys_sign || ask->key.len != TLS_FINGERPRINT)
		return E_DENIED;
	answer(arg, conn, m->id, ask);
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	struct keys *keys = arg;

	(void)conn;
	keys->peers--;
}

static const struct ipc_conn_callbacks peer_callbacks = {on_message, on_closed};

static void keys_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct keys *keys = daemon_state(daemon);
	struct ipc_conn *conn;

	(void)service;
	(void)role;
	if (!serving) {
		close(fd);
		return;
	}
	conn = ipc_conn_new(daemon_base(daemon), fd, &ipc_service_keys, TO_SERVICE, &peer_callbacks, keys);
	if (conn == NULL)
		return;
	ipc_conn_burst(conn, KEYS_BURST);
	keys->peers++;
}

static void warn(struct keys *keys)
{
	char text[TLS_WARNING_MAX + 300];
	size_t at = 0;

	keys->warned_ms = clock_boot_ms();
	for (int lines = 0; lines < KEYS_WARNINGS && ring_warning(keys->now, &at, clock_wall(), text, sizeof(text)); lines++)
		log_event(EV_tls_certificate_old, daemon_log(keys->daemon), F_STR("warning", text));
}

/* Who reads the log of the last days must find it there. */
static void warn_daily(struct keys *keys)
{
	if (clock_boot_ms() - keys->warned_ms >= (int64_t)86400 * 1000)
		warn(keys);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	warn_daily(arg);
}

/* The one that ends first, and how many more there are to be told of. */
static void note(struct keys *keys)
{
	char text[TLS_WARNING_MAX + 300];
	size_t at = 0, more = 0;

	keys->note[0] = '\0';
	if (!ring_warning(keys->now, &at, clock_wall(), keys->note, sizeof(keys->note)))
		return;
	while (ring_warning(keys->now, &at, clock_wall(), text, sizeof(text)))
		more++;
	if (more > 0) {
		size_t len = strlen(keys->note);

		snprintf(keys->note + len, sizeof(keys->note) - len, "; %zu more: mailwain tls show", more);
	}
}

/* The files are read here, before the sandbox, from sealed memory that master hands over; and again at a reload. */
static int keys_prepare(struct daemon *daemon, struct err *err)
{
	struct keys *keys = daemon_state(daemon);
	int r;

	keys->daemon = daemon;
	r = ring_load(daemon, NULL, NULL, &keys->now, err);
	if (r == 0)
		warn(keys);
	return r;
}

static int keys_confined(struct daemon *daemon, struct err *err)
{
	struct keys *keys = daemon_state(daemon);
	struct timeval tv = {.tv_sec = KEYS_LOOK};

	keys->look = event_new(daemon_base(daemon), -1, EV_PERSIST, on_look, keys);
	if (keys->look == NULL || event_add(keys->look, &tv) != 0)
		return err_set(err, E_NOMEM, "no memory for the event loop");
	return 0;
}

static int keys_reload(struct daemon *daemon, struct err *err)
{
	struct keys *keys = daemon_state(daemon);
	struct ring *fresh;
	int r;

	/* TLS is taken away by a restart only: until then the daemons serve what they have. */
	if (!conf_is_set(daemon_conf(daemon), CONF_tls_certificate, NULL))
		return 0;
	r = ring_load(daemon, keys->now, keys->before, &fresh, err);
	if (r != 0)
		return r;
	ring_free(&keys->before);
	keys->before = keys->now;
	keys->now = fresh;
	warn(keys);
	return 0;
}

static void keys_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct keys *keys = daemon_state(daemon);

	stats->connections = keys->peers;
	stats->total = keys->total;
	note(keys);
	warn_daily(keys);
	stats->note = span_str(keys->note);
}

int main(void)
{
	static struct keys keys;
	struct daemon_spec spec = {.name = "keys",
	    .profile = profile_find("keys"),
	    .users = users,
	    .user_count = sizeof(users) / sizeof(users[0]),
	    .prepare = keys_prepare,
	    .confined = keys_confined,
	    .reload = keys_reload,
	    .peer = keys_peer,
	    .stats = keys_stats,
	    .state = &keys};

	return daemon_run(&spec);
}
