/* keys: private keys, and signatures by them. It has no network, no file system, and no way to open anything. */
#include "keys/ring.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/ipc_conn.h"
#include "proc/daemon.h"

#include <stdlib.h>
#include <unistd.h>

/* Who may ask: decided by who is connected, which master says. */
static const char *const users[] = {"smtpd", "submission", "imapd"};

enum { KEYS_BURST = 8 }; /* signatures in one turn, so that floods at one daemon do not keep another waiting */

struct keys {
	struct daemon *daemon;
	struct ring *now, *before; /* a daemon that has not yet reloaded asks by the keys of before */
	uint64_t total;
	uint32_t peers;
	char note[TLS_WARNING_MAX + 300];
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
	ring_warning(keys->now, clock_wall(), keys->note, sizeof(keys->note));
	if (keys->note[0] != '\0')
		log_event(EV_tls_certificate_old, daemon_log(keys->daemon), F_STR("warning", keys->note));
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
	ring_warning(keys->now, clock_wall(), keys->note, sizeof(keys->note));
	stats->note = span_sub(span_str(keys->note), 0, 128);
}

int main(void)
{
	static struct keys keys;
	struct daemon_spec spec = {.name = "keys",
	    .profile = profile_find("keys"),
	    .users = users,
	    .user_count = sizeof(users) / sizeof(users[0]),
	    .prepare = keys_prepare,
	    .reload = keys_reload,
	    .peer = keys_peer,
	    .stats = keys_stats,
	    .state = &keys};

	return daemon_run(&spec);
}
