/* mailwain-control: init, start, stop, reload, status. `mailwain VERB` runs it. */
#include "control/client.h"
#include "control/paths.h"
#include "master/init.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { PORT_OFFSET_MAX = 60000 };

struct options {
	struct init_options init;
	const char *port_offset;
	const char *root;
	bool foreground;
	bool json;
	bool help;
};

static const char usage_text[] =
    "usage: mailwain [--root DIR] init --hostname NAME [--domain NAME] [--port-offset N] [--user-prefix P]\n"
    "       mailwain [--root DIR] start [--foreground]\n"
    "       mailwain [--root DIR] stop | reload | status [--json]\n";

static int usage(void)
{
	fputs(usage_text, stderr);
	return EX_USAGE;
}

static bool complain(const char *option, const char *what)
{
	fprintf(stderr, "mailwain: %s %s\n", option, what);
	return false;
}

/* Which option takes a word: where it goes. */
static const char **text_option(struct options *o, struct span name)
{
	if (span_eq(name, SPAN_LIT("--root")))
		return &o->root;
	if (span_eq(name, SPAN_LIT("--hostname")))
		return &o->init.hostname;
	if (span_eq(name, SPAN_LIT("--domain")))
		return &o->init.domain;
	if (span_eq(name, SPAN_LIT("--user-prefix")))
		return &o->init.user_prefix;
	return span_eq(name, SPAN_LIT("--port-offset")) ? &o->port_offset : NULL;
}

static bool flag_option(struct options *o, const char *word)
{
	bool *flag = strcmp(word, "--foreground") == 0 ? &o->foreground : strcmp(word, "--json") == 0 ? &o->json
		: strcmp(word, "--help") == 0 ? &o->help : NULL;

	if (flag == NULL)
		return false;
	*flag = true;
	return true;
}

/* False when they are not understood; it is said why. */
static bool parse_options(int argc, char **argv, struct options *o)
{
	for (int i = 2; i < argc; i++) {
		const char *word = argv[i];
		size_t equals = strcspn(word, "=");
		const char **text = text_option(o, span_of(word, equals));
		uint64_t offset;

		if (flag_option(o, word))
			continue;
		if (text == NULL)
			return complain(word, "is not understood here");
		*text = word[equals] == '=' ? word + equals + 1 : i + 1 < argc ? argv[++i] : "";
		if ((*text)[0] == '\0')
			return complain(word, "needs a value");
		if (text == &o->port_offset && !span_u64(span_str(*text), PORT_OFFSET_MAX, &offset))
			return complain("--port-offset", "takes a number up to 60000");
		if (text == &o->port_offset)
			o->init.port_offset = (unsigned)offset;
	}
	return true;
}

static int fail(int exit_code, const char *text)
{
	fprintf(stderr, "mailwain: %s\n", text);
	return exit_code;
}

static int command_init(const struct instance *instance, struct options *o)
{
	const char *quote = strchr(instance->root, ' ') != NULL ? "'" : "";
	struct err err = {0};

	if (o->init.hostname == NULL)
		return fail(EX_USAGE, "init needs --hostname NAME, the name this server goes by");
	if (!span_is_host_name(span_str(o->init.hostname)))
		return fail(EX_USAGE, "--hostname takes a host name such as mail.example.org");
	if (o->init.domain != NULL && !span_is_host_name(span_str(o->init.domain)))
		return fail(EX_USAGE, "--domain takes a domain name such as example.org, one outside ASCII as an A-label (xn--...)");
	if (o->init.user_prefix == NULL)
		o->init.user_prefix = MW_USER_PREFIX;
	o->init.trial = instance->root[0] != '\0';
	if (!o->init.trial && geteuid() != 0)
		return fail(EX_NOPERM, "setting up the machine needs root; as an ordinary user give --root DIR");
	if (init_instance(instance, &o->init, &err) != 0)
		return fail(err.code == E_EXISTS ? EX_CANTCREAT : err.code == E_TOOBIG || err.code == E_SYNTAX ? EX_USAGE : EX_OSERR, err.text);
	printf("Set up: %s\nNext: mailwain%s%s%s%s start\n", instance->conf, o->init.trial ? " --root " : "", quote,
	    instance->root, quote);
	return EX_OK;
}

/* Master's first words: nothing but its NUL when all daemons are ready, else what went wrong. */
static int wait_ready(int fd, pid_t pid)
{
	char text[512];
	int status;
	ssize_t n;

	do
		n = read(fd, text, sizeof(text) - 1);
	while (n < 0 && errno == EINTR);
	if (n > 0 && text[0] == '\0')
		return EX_OK;
	if (n > 0) {
		text[n] = '\0';
		fail(EX_CONFIG, text);
	} else {
		fail(EX_SOFTWARE, "the supervisor ended at its start; see the log");
	}
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != EX_OK)
		return WEXITSTATUS(status);
	return EX_SOFTWARE;
}

static _Noreturn void exec_master(const struct instance *instance, bool foreground, int ready_fd)
{
	char path[4200], fd_text[16];
	const char *argv[12];
	int n = 0;

	snprintf(path, sizeof(path), "%s/master", instance->libexec);
	snprintf(fd_text, sizeof(fd_text), "%d", ready_fd);
	argv[n++] = "mailwain-master";
	argv[n++] = "--libexec";
	argv[n++] = instance->libexec;
	if (instance->root[0] != '\0') {
		argv[n++] = "--root";
		argv[n++] = instance->root;
	}
	if (foreground) {
		argv[n++] = "--foreground";
	} else {
		argv[n++] = "--ready-fd";
		argv[n++] = fd_text;
	}
	argv[n] = NULL;
	execv(path, (char *const *)argv);
	fprintf(stderr, "mailwain: %s: %s\n", path, strerror(errno));
	_exit(EX_OSFILE);
}

static int command_start(const struct instance *instance, const struct options *o)
{
	int fds[2], null, r;
	pid_t pid;

	if (instance->root[0] == '\0' && geteuid() != 0)
		return fail(EX_NOPERM, "starting the machine's suite needs root; an instance of your own is named by --root DIR");
	if (access(instance->conf, R_OK) != 0) {
		fprintf(stderr, "mailwain: %s: %s%s\n", instance->conf, strerror(errno), errno == ENOENT ? "; `mailwain init` makes it" : "");
		return EX_NOINPUT;
	}
	if (o->foreground)
		exec_master(instance, true, -1);
	if (pipe(fds) != 0)
		return fail(EX_OSERR, strerror(errno));
	pid = fork();
	if (pid < 0)
		return fail(EX_OSERR, strerror(errno));
	if (pid == 0) {
		setsid();
		close(fds[0]);
		null = open("/dev/null", O_RDWR);
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		exec_master(instance, false, fds[1]);
	}
	close(fds[1]);
	r = wait_ready(fds[0], pid);
	close(fds[0]);
	return r;
}

/* The supervisor, to wait for its end; -1: it does not run. */
static int open_master(const struct instance *instance)
{
	char path[4200], text[32] = "";
	long pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/master.pid", instance->run);
	f = fopen(path, "re");
	if (f != NULL && fgets(text, sizeof(text), f) != NULL)
		pid = strtol(text, NULL, 10);
	if (f != NULL)
		fclose(f);
	return pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

static int command_stop(const struct instance *instance, const struct control_request_options *request)
{
	/* Before it is told to end: afterwards its number may be another's. */
	struct pollfd master = {.fd = open_master(instance), .events = POLLIN};
	int r = control_run(instance, "master", request);

	if (r == EX_OK && master.fd >= 0)
		poll(&master, 1, -1);
	if (master.fd >= 0)
		close(master.fd);
	return r;
}

static int command_request(const struct instance *instance, const char *verb, const struct options *o)
{
	struct span args[1] = {span_str(verb)};
	struct control_request_options request = {.args = args, .count = 1, .json = o->json};

	return strcmp(verb, "stop") == 0 ? command_stop(instance, &request) : control_run(instance, "master", &request);
}

int main(int argc, char **argv)
{
	struct options o = {0};
	struct instance instance;
	struct err err = {0};

	if (argc < 2 || !parse_options(argc, argv, &o))
		return usage();
	if (o.help) {
		fputs(usage_text, stdout);
		return EX_OK;
	}
	if (instance_find(&instance, o.root, &err) != 0)
		return fail(EX_USAGE, err.text);
	if (strcmp(argv[1], "init") == 0)
		return command_init(&instance, &o);
	if (strcmp(argv[1], "start") == 0)
		return command_start(&instance, &o);
	if (strcmp(argv[1], "stop") == 0 || strcmp(argv[1], "reload") == 0 || strcmp(argv[1], "status") == 0)
		return command_request(&instance, argv[1], &o);
	return usage();
}
