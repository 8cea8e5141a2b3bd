/* fetch: HTTPS requests to the outside for daemons that have no network. It keeps nothing, and opens nothing but connections. */
#include "fetch/fetch.h"

#include "base/clock.h"
#include "net/control.h"
#include "net/ipc_conn.h"
#include "tls/certificate.h"

#include <malloc.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <unistd.h>

/* Who may ask: decided by who is connected, which master says. */
static const char *const users[] = {"auth", "relay"};

/* ---- curl's memory: what it frees may have been a token ---- */

static void wipe_and_free(void *p)
{
	if (p != NULL)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *wiping_realloc(void *old, size_t size)
{
	size_t had = old ? malloc_usable_size(old) : 0;
	void *fresh = size > 0 ? malloc(size) : NULL;

	if (fresh == NULL)
		return NULL;
	if (old != NULL)
		memcpy(fresh, old, had < size ? had : size);
	wipe_and_free(old);
	return fresh;
}

/* ---- peers ---- */

static void send_answer(void *arg, uint32_t id, const struct fetch_answer *answer)
{
	ipc_conn_send(arg, &ipc_fetch_answer, id, answer, -1);
}

static int on_message(void *arg, struct ipc_conn *conn, struct ipc_message *m)
{
	struct fetch *fetch = arg;

	if (m->type == &ipc_fetch_request)
		fetch_begin(fetch, (const void *)m->body, conn, m->id, send_answer, conn);
	else if (m->type == &ipc_fetch_cancel)
		fetch_cancel_one(fetch, conn, m->id);
	else
		return E_PROTO;
	return 0;
}

static void on_closed(void *arg, struct ipc_conn *conn)
{
	fetch_cancel_all(arg, conn);
}

static const struct ipc_conn_callbacks peer_callbacks = {on_message, on_closed};

static void fetch_peer(struct daemon *daemon, struct span service, struct span role, bool serving, int fd)
{
	struct fetch *fetch = daemon_state(daemon);

	(void)role;
	if (serving)
		ipc_conn_new(daemon_base(daemon), fd, &ipc_service_fetch, TO_SERVICE, &peer_callbacks, fetch);
	else if (span_eq(service, SPAN_LIT("dns")))
		dns_service(fetch->dns, fd);
	else
		close(fd);
}

/* ---- whom we believe ---- */

/* master has read the file; none: the machine has no bundle, and then no host is believed. */
static int read_authorities(struct daemon *daemon, X509_STORE *store, struct err *err)
{
	const struct conf *conf = daemon_conf(daemon);
	int fd = daemon_file(daemon, "fetch-authorities");
	struct err why = {0};
	int r = 0;

	if (conf_is_set(conf, CONF_fetch_authorities, NULL))
		r = tls_store_read(store, fd, "fetch-authorities", &why);
	else if (fd >= 0)
		tls_store_read_system(store, fd);
	return r == 0 ? 0 : err_set(err, r, "%.*s: %s", SPAN_ARG(conf_origin(conf, CONF_fetch_authorities, NULL)), why.text);
}

static int load_authorities(struct daemon *daemon, X509_STORE **out, struct err *err)
{
	X509_STORE *store = X509_STORE_new();
	int r = store != NULL ? read_authorities(daemon, store, err) : err_set(err, E_NOMEM, "no memory for TLS");

	if (r != 0)
		X509_STORE_free(store);
	else
		*out = store;
	return r;
}

static int fetch_reload(struct daemon *daemon, struct err *err)
{
	struct fetch *fetch = daemon_state(daemon);
	X509_STORE *fresh;
	int r = load_authorities(daemon, &fresh, err);

	if (r != 0)
		return r;
	X509_STORE_free(fetch->authorities);
	fetch->authorities = fresh;
	fetch->since_ms = clock_monotonic_ms();
	return 0;
}

/* ---- the daemon ---- */

/* What curl and OpenSSL read from files they read here. */
static int fetch_prepare(struct daemon *daemon, struct err *err)
{
	struct fetch *fetch = daemon_state(daemon);

	fetch->daemon = daemon;
	fetch->tail = &fetch->first;
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wipe_and_free, wiping_realloc, strdup, calloc) != CURLE_OK)
		return err_set(err, E_CANNOT, "libcurl does not start");
	fetch->since_ms = clock_monotonic_ms();
	return load_authorities(daemon, &fetch->authorities, err);
}

static int fetch_confined(struct daemon *daemon, struct err *err)
{
	struct fetch *fetch = daemon_state(daemon);
	int r;

	fetch->dns = dns_new(daemon_base(daemon));
	r = fetch->dns ? loop_init(fetch, err) : err_set(err, E_NOMEM, "no memory for names");
	if (r == 0)
		fetch->control = control_server_new(daemon, fetch_control, fetch);
	return r;
}

static void fetch_stats(struct daemon *daemon, struct master_stats *stats)
{
	struct fetch *fetch = daemon_state(daemon);

	stats->connections = fetch->running;
	stats->total = fetch->total;
}

int main(void)
{
	static struct fetch fetch;
	struct daemon_spec spec = {.name = "fetch",
	    .profile = profile_find("fetch"),
	    .users = users,
	    .user_count = sizeof(users) / sizeof(users[0]),
	    .prepare = fetch_prepare,
	    .confined = fetch_confined,
	    .reload = fetch_reload,
	    .peer = fetch_peer,
	    .stats = fetch_stats,
	    .state = &fetch};

	return daemon_run(&spec);
}
