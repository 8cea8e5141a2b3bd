/* A reload: all daemons take over the new settings, or all keep the old ones. */
#include "master/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/control.h"

#include <event2/event.h>
#include <sysexits.h>

enum {
	RELOAD_WAIT = 10, /* seconds; a daemon that has not answered by then has refused */
	RELOAD_LOOK = 2,  /* seconds between two looks at the files */
	/* A list that aliases include may be a user's, who could have everything read again all the time. */
	RELOAD_OFTEN = 20,		/* changes within RELOAD_SPAN_MS, past which they are taken over every RELOAD_SLOW_MS */
	RELOAD_SPAN_MS = 600 * 1000,
	RELOAD_SLOW_MS = 60 * 1000,	/* and the longest that a change is waited for to be at rest */
};

/* ---- what only a restart changes ---- */

static const enum conf_setting laid_out_at_start[] = {CONF_data_directory, CONF_spool_directory, CONF_run_directory,
    CONF_user_prefix, CONF_control_group, CONF_log_format, CONF_smtpd_workers, CONF_imapd_workers, CONF_spool_syncs,
    CONF_durability, CONF_password_hashes, CONF_aliases_allow};

static void add_item(struct buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add_item(struct buf *out, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_add_str(out, buf_len(out) > 0 ? ", " : "waits for a restart: ");
	buf_add_str(out, text);
}

/* The listeners that one configuration has and the other has not. */
static void add_listeners(const struct conf *in, const struct conf *not_in, const char *what, struct buf *out)
{
	for (size_t i = 0; i < conf_listener_count(in); i++) {
		const struct conf_listener *l = conf_listener(in, i);

		if (conf_listener_find(not_in, l->service, l->address) == NULL)
			add_item(out, "%s listen %.*s on %.*s", what, SPAN_ARG(l->service), SPAN_ARG(l->address));
	}
}

static void list_changes(const struct conf *now, const struct conf *then, struct buf *out)
{

	for (size_t i = 0; i < sizeof(laid_out_at_start) / sizeof(laid_out_at_start[0]); i++)
		if (!span_eq(conf_text(now, laid_out_at_start[i], NULL), conf_text(then, laid_out_at_start[i], NULL)))
			add_item(out, "%s", conf_setting_info(laid_out_at_start[i])->name);
	if (conf_has_system_users(now) && !conf_has_system_users(then))
		add_item(out, "the first domain with accounts system");
	add_listeners(now, then, "new", out);
	add_listeners(then, now, "removed", out);
	if (!conf_is_set(now, CONF_tls_certificate, NULL) && conf_is_set(then, CONF_tls_certificate, NULL))
		add_item(out, "removed tls");
}

void reload_pending_restart(const struct master *master, struct buf *out)
{
	struct buf list;

	buf_init(&list, 1024);
	list_changes(master->now.conf, master->started, &list);
	if (buf_len(&list) > 0)
		buf_printf(out, "%s%.*s", buf_len(out) > 0 ? "; " : "", SPAN_ARG(buf_span(&list)));
	buf_fini(&list);
}

/* ---- the reload ---- */

static void retire(struct master *master, struct master_settings *settings)
{
	if (settings->conf == master->started)
		settings->conf = NULL; /* kept: it says what the start laid out */
	settings_free(settings);
}

static void hand_out(struct master *master, bool wait)
{
	master->generation++;
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];
		struct err err = {0};

		if (child_reload(child, &err) != 0 && wait)
			master->reload.failure = err;
		if (!wait)
			child->asked = 0;
	}
}

static void reply_reloaded(struct master *master)
{
	struct buf text;

	if (master->reload.reply == NULL)
		return;
	buf_init(&text, 2048);
	reload_pending_restart(master, &text);
	aliases_note(master, &text);
	control_reply_done(master->reload.reply, EX_OK, "reloaded%s%.*s", buf_len(&text) > 0 ? "; " : "", SPAN_ARG(buf_span(&text)));
	buf_fini(&text);
}

static void refused(struct control_reply *reply, const struct err *err)
{
	log_event(EV_master_reload_refused, NULL, F_ERR(err));
	log_flush();
	if (reply != NULL)
		control_reply_done(reply, EX_CONFIG, "%s; the old configuration stays", err->text);
}

static void finish(struct master *master)
{
	struct master_reload *reload = &master->reload;
	struct err err;

	evtimer_del(reload->timer);
	reload->running = false;
	if (reload->failure.code != 0) {
		struct master_settings bad = master->now;

		master->now = reload->before;
		master_open_log(master, master->now.conf, &err);
		hand_out(master, false);
		refused(reload->reply, &reload->failure);
		retire(master, &bad);
	} else {
		log_event(EV_master_reload, NULL, F_U64("generation", master->generation));
		log_flush();
		reply_reloaded(master);
		retire(master, &reload->before);
	}
	reload->reply = NULL;
	if (reload->again) {
		struct control_reply *next = reload->next;

		reload->again = false;
		reload->next = NULL;
		master_reload(master, next);
	}
}

static void check(struct master *master)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].asked != 0)
			return;
	finish(master);
}

void reload_on_timer(int fd, short what, void *arg)
{
	struct master *master = arg;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];

		if (child->asked != 0)
			err_set(&master->reload.failure, E_TIMEOUT, "%s has not answered for %d seconds", child->kind->name, RELOAD_WAIT);
		child->asked = 0;
	}
	finish(master);
}

void reload_child_changed(struct master *master, const struct child *child)
{
	if (!master->reload.running)
		return;
	if (child->reload_failed && master->reload.failure.code == 0)
		master->reload.failure = child->failure;
	check(master);
}

static int load(struct master *master, struct master_settings *next, struct err *err)
{
	int r = settings_load(&master->instance, &master->now, next, err);

	if (r != 0)
		return r;
	r = master_open_log(master, next->conf, err);
	if (r != 0)
		settings_free(next);
	return r;
}

static void begin(struct master *master, const struct master_settings *next, struct control_reply *reply)
{
	struct master_reload *reload = &master->reload;
	struct timeval tv = {.tv_sec = RELOAD_WAIT};

	reload->running = true;
	reload->reply = reply;
	reload->failure = (struct err){0};
	reload->restless_ms = 0;
	evtimer_add(reload->timer, &tv);
	reload->before = master->now;
	master->now = *next;
	hand_out(master, true);
	check(master);
}

void master_reload(struct master *master, struct control_reply *reply)
{
	struct master_reload *reload = &master->reload;
	struct master_settings next;
	struct err err = {0};

	/* What is being handed out may be older than what is asked for now. */
	if (reload->running && (reply == NULL || reload->next == NULL)) {
		reload->again = true;
		if (reply != NULL)
			reload->next = reply;
		return;
	}
	if (reload->running) {
		control_reply_done(reply, EX_TEMPFAIL, "a reload is under way; try again");
		return;
	}
	if (load(master, &next, &err) != 0) {
		refused(reply, &err);
		return;
	}
	begin(master, &next, reply);
}

/* ---- certificates and aliases that others change ---- */

static bool is_too_often(struct master_reload *reload)
{
	int64_t now = clock_monotonic_ms();

	if (now - reload->span_ms > RELOAD_SPAN_MS) {
		reload->span_ms = now;
		reload->changes = 0;
	}
	if (reload->changes >= RELOAD_OFTEN && now - reload->last_ms < RELOAD_SLOW_MS)
		return true;
	reload->changes++;
	reload->last_ms = now;
	return false;
}

/*
 * A change is taken over when it has been at rest for one look: certificate and key are two files. But not for ever: whoever owns a list that
 * aliases include could keep it from being at rest, and a renewed certificate from being seen.
 */
static bool is_at_rest(struct master_reload *reload, uint64_t before)
{
	int64_t now = clock_monotonic_ms();

	if (reload->seen == before) {
		reload->restless_ms = 0;
		return true;
	}
	if (reload->restless_ms == 0)
		reload->restless_ms = now;
	if (now - reload->restless_ms < RELOAD_SLOW_MS)
		return false;
	reload->restless_ms = 0;
	return true;
}

/* The configuration is not read again: what is being written there is not meant yet. */
static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct master *master = arg;
	struct master_reload *reload = &master->reload;
	struct master_settings next;
	uint64_t before = reload->seen;
	struct err err = {0};

	(void)fd;
	(void)what;
	if (master->stopping || reload->running)
		return;
	if (!settings_files_changed(&master->now, &reload->seen) || reload->seen == reload->tried) {
		reload->restless_ms = 0;
		return;
	}
	if (!is_at_rest(reload, before) || is_too_often(reload))
		return;
	reload->tried = reload->seen;
	log_event(EV_tls_reload, NULL, F_U64("generation", master->generation + 1));
	if (settings_renew(&master->instance, &master->now, &next, &err) != 0)
		refused(NULL, &err);
	else
		begin(master, &next, NULL);
}

int reload_watch_files(struct master *master, struct err *err)
{
	struct timeval tv = {.tv_sec = RELOAD_LOOK};

	master->reload.watch = event_new(master->base, -1, EV_PERSIST, on_look, master);
	if (master->reload.watch == NULL || event_add(master->reload.watch, &tv) != 0)
		return err_set(err, E_NOMEM, "no memory for the event loop");
	return 0;
}

void reload_abandon(struct master *master)
{
	if (!master->reload.running)
		return;
	evtimer_del(master->reload.timer);
	master->reload.running = false;
	if (master->reload.reply != NULL)
		control_reply_done(master->reload.reply, EX_TEMPFAIL, "the suite is stopping");
	master->reload.reply = NULL;
}
