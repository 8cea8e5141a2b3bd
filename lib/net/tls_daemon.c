#include "net/tls_daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/keys_client.h"
#include "proc/daemon.h"
#include "tls/certificate.h"
#include "tls/sign.h"

#include <stdio.h>

enum { FILE_NAME = 300, LIST_TOLD_MS = 24 * 60 * 60 * 1000 };

/* One certificate of the configuration; where: the top level or a domain. */
static int add(struct tls_context *context, struct daemon *daemon, const struct conf_where *where, struct err *err)
{
	const struct conf *conf = daemon_conf(daemon);
	struct span domain = where->domain ? where->domain->name : SPAN_LIT("");
	char file[FILE_NAME], name[256];
	struct err why = {0};
	int r;

	if (!conf_is_set(conf, CONF_tls_certificate, where))
		return 0;
	snprintf(file, sizeof(file), "tls-certificate%s%.*s", domain.len > 0 ? " " : "", SPAN_ARG(domain));
	span_copy(domain, name, sizeof(name));
	r = tls_context_add(context, name, daemon_file(daemon, file), NULL, &why);
	return r == 0 ? 0 : err_set(err, r, "%.*s: %s", SPAN_ARG(conf_origin(conf, CONF_tls_certificate, where)), why.text);
}

static int add_all(struct tls_context *context, struct daemon *daemon, struct err *err)
{
	const struct conf *conf = daemon_conf(daemon);
	int r = add(context, daemon, &(struct conf_where){0}, err);

	for (size_t i = 0; i < conf_domain_count(conf) && r == 0; i++)
		r = add(context, daemon, &(struct conf_where){.domain = conf_domain(conf, i)}, err);
	return r;
}

static int file_of(struct daemon *daemon, enum conf_setting setting)
{
	bool set = conf_is_set(daemon_conf(daemon), setting, &(struct conf_where){0});

	return set ? daemon_file(daemon, conf_setting_info(setting)->name) : -1;
}

/* Lists that are out of date do not keep the suite from starting: they keep people from logging in by certificate. */
static int check_clients(struct daemon *daemon, const struct tls_context_options *options, struct err *err)
{
	char date[TLS_DATE_MAX];
	struct err why = {0};
	int64_t ends;
	int r;

	if (options->authorities < 0)
		return 0;
	r = tls_authorities_check(options->authorities, options->revocations, &ends, &why);
	if (r != 0)
		return err_set(err, r, "%.*s: %s", SPAN_ARG(conf_origin(daemon_conf(daemon), CONF_tls_client_authorities, &(struct conf_where){0})), why.text);
	if (ends < clock_wall())
		log_event(EV_tls_revocations_old, daemon_log(daemon), F_STR("ended", tls_date(ends, date)));
	return 0;
}

/* It was good when it was read, or is not yet: once a day is enough, as anybody can show certificates. */
static void on_old_list(void *arg, const char *what, int64_t when)
{
	struct tls_daemon *tls = arg;
	char date[TLS_DATE_MAX];
	int64_t now = clock_boot_ms();

	if (tls->list_told_ms != 0 && now - tls->list_told_ms < LIST_TOLD_MS)
		return;
	tls->list_told_ms = now;
	log_event(EV_tls_revocations_old, daemon_log(tls->daemon), F_STR(what, tls_date(when, date)));
}

void tls_daemon_secrets(struct tls_daemon *tls, struct daemon *daemon)
{
	tls->have_tickets |= daemon_secret(daemon, "tickets", &tls->tickets, sizeof(tls->tickets));
}

int tls_daemon_load(struct tls_daemon *tls, struct daemon *daemon, const char *protocol, struct tls_context **context, struct err *err)
{
	struct tls_context_options options = {.protocol = protocol, .authorities = file_of(daemon, CONF_tls_client_authorities),
	    .revocations = file_of(daemon, CONF_tls_client_revocations), .on_old_list = on_old_list, .old_list_arg = tls};
	struct tls_context *fresh = NULL;
	int r = tls->signer ? 0 : keys_client_new(daemon, &tls->keys, &tls->signer, err);

	if (r != 0 || !conf_is_set(daemon_conf(daemon), CONF_tls_certificate, &(struct conf_where){0}))
		return r;
	tls_daemon_secrets(tls, daemon);
	options.tickets = tls->have_tickets ? &tls->tickets : NULL;
	options.signer = tls->signer;
	r = check_clients(daemon, &options, err);
	if (r == 0)
		r = tls_context_new(&options, &fresh, err);
	if (r == 0)
		r = add_all(fresh, daemon, err);
	if (r != 0) {
		tls_context_free(&fresh);
		return r;
	}
	tls_context_free(context);
	*context = fresh;
	tls->daemon = daemon;
	tls->list_told_ms = 0;
	return 0;
}

void tls_daemon_connect(struct tls_daemon *tls, int fd)
{
	keys_client_connect(tls->keys, fd);
}
