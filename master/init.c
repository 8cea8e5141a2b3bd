#include "master/init.h"

#include "master/save.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATH_SIZE = 4200 };

static int make_directories(const struct instance *instance, const struct init_options *options, struct err *err)
{
	char path[PATH_SIZE];
	int r;

	snprintf(path, sizeof(path), "%s", instance->conf);
	r = place_make(dirname(path), err);
	if (r == 0)
		r = place_make(instance->run, err);
	snprintf(path, sizeof(path), "%s/empty", instance->run);
	if (r == 0)
		r = place_make(path, err);
	if (r == 0)
		r = places_make(instance->data, options->user_prefix, err);
	if (r == 0)
		r = place_make_owned(instance->spool, options->user_prefix, "queue", 0700, err);
	if (r == 0 && options->trial) {
		snprintf(path, sizeof(path), "%s/log", instance->root);
		r = place_make(path, err);
	}
	return r;
}

/* ---- the configuration ---- */

/* As mailwain.conf(5) has it: quoted when a character of it would mean something there. */
static void write_value(FILE *file, const char *value)
{
	if (strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-:+") == strlen(value)) {
		fputs(value, file);
		return;
	}
	fputc('"', file);
	for (; *value != '\0'; value++) {
		if (*value == '"' || *value == '\\')
			fputc('\\', file);
		fputc(*value, file);
	}
	fputc('"', file);
}

static void write_setting(FILE *file, const char *name, const char *value)
{
	fprintf(file, "%s ", name);
	write_value(file, value);
	fputc('\n', file);
}

static bool has_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* A trial listens on loopback alone and does not get in its user's way; both are settings to be seen. */
static void write_listeners(FILE *file, const struct init_options *options)
{
	static const struct {
		const char *service;
		unsigned port;
	} services[] = {{"smtp", 25}, {"submission", 587}, {"submissions", 465}, {"imap", 143}, {"imaps", 993}};
	const char *address = options->trial ? "127.0.0.1" : "0.0.0.0";
	bool ipv6 = !options->trial && has_ipv6();

	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		fprintf(file, "listen %s on %s:%u { }\n", services[i].service, address,
		    services[i].port + options->port_offset);
		if (ipv6)
			fprintf(file, "listen %s on [::]:%u { }\n", services[i].service,
			    services[i].port + options->port_offset);
	}
	fprintf(file, "# For other mail servers on this machine:\n# listen lmtp on 127.0.0.1:%u { }\n",
	    24 + options->port_offset);
}

static void write_settings(FILE *file, const struct instance *instance, const struct init_options *options,
    const char *certificate, const char *key)
{
	char log[PATH_SIZE];

	fprintf(file, "# Mailwain's configuration; every setting is in mailwain.conf(5).\n"
		      "# `mailwain config check` before `mailwain reload`.\n"
		      "config-version 1\n\nhostname %s\n",
	    options->hostname);
	write_setting(file, "data-directory", instance->data);
	write_setting(file, "spool-directory", instance->spool);
	write_setting(file, "run-directory", instance->run);
	snprintf(log, sizeof(log), "file:%s/log/mailwain.log", instance->root);
	if (options->trial)
		write_setting(file, "log", log);
	if (strcmp(options->user_prefix, "mw-") != 0)
		write_setting(file, "user-prefix", options->user_prefix);
	fputs("tls certificate ", file);
	write_value(file, certificate);
	fputs(" key ", file);
	write_value(file, key);
	fputc('\n', file);
	if (!options->trial)
		write_setting(file, "aliases", "/etc/aliases");
	if (options->domain != NULL)
		fprintf(file, "\ndomain %s { }\n", options->domain);
	if (options->trial)
		fprintf(file, "\n# A trial on this machine: clients here may log in without TLS, and as often as they like.\n"
			      "plain-login-from 127.0.0.0/8 ::1\nunlimited-from 127.0.0.0/8 ::1\n");
	fputc('\n', file);
	write_listeners(file, options);
}

/* A file that is there only in part would look like an instance that is set up. */
static int write_conf(const struct instance *instance, const struct init_options *options,
    const char *certificate, const char *key, struct err *err)
{
	FILE *file = save_begin(instance->conf, 0644, err);

	if (file == NULL)
		return err->code;
	write_settings(file, instance, options, certificate, key);
	return save_end(&file, instance->conf, err);
}

/* What would come out only at the start, when everything has been made. */
static int check_paths(const struct instance *instance, struct err *err)
{
	struct sockaddr_un address;

	for (const char *c = instance->root; *c != '\0'; c++)
		if ((unsigned char)*c < ' ')
			return err_set(err, E_SYNTAX, "the directory's name has a control character in it");
	if (strlen(instance->run) + strlen("/deliver.sock") >= sizeof(address.sun_path))
		return err_set(err, E_TOOBIG, "%.120s...: the path is too long for a socket; at most %zu characters fit",
		    instance->root, sizeof(address.sun_path) - strlen("/run/deliver.sock") - 1);
	return 0;
}

int init_instance(const struct instance *instance, const struct init_options *options, struct err *err)
{
	char directory[PATH_SIZE], certificate[PATH_SIZE + 16], key[PATH_SIZE + 16];
	int r;

	if (access(instance->conf, F_OK) == 0)
		return err_set(err, E_EXISTS, "%s is there already: this instance is set up", instance->conf);
	r = check_paths(instance, err);
	if (r == 0 && geteuid() == 0)
		r = init_users(options->user_prefix, NULL, NULL, err);
	if (r == 0)
		r = make_directories(instance, options, err);
	snprintf(directory, sizeof(directory), "%s", instance->conf);
	dirname(directory);
	snprintf(certificate, sizeof(certificate), "%s/tls.pem", directory);
	snprintf(key, sizeof(key), "%s/tls.key", directory);
	if (r == 0 && access(certificate, F_OK) != 0)
		r = init_certificate(options->hostname, certificate, key, err);
	if (r == 0)
		r = write_conf(instance, options, certificate, key, err);
	return r;
}
