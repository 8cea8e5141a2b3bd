#include "submission/sendmail.h"

#include "base/pool.h"
#include "local/address.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum { HEAD_MAX = 1024 * 1024, POOL_MAX = 0 /* its input has a most, and the memory is the caller's */ };

static int fail(int status, const char *text)
{
	fprintf(stderr, "sendmail: %s\n", text);
	return status;
}

/* sysexits(3), as the callers know them from other programs of this name. */
static int status_of(int code)
{
	switch (code) {
	case E_TOOBIG:
		return EX_UNAVAILABLE;
	case E_DENIED:
		return EX_NOPERM;
	case E_CONTENT:
	case E_LOOP:
	case E_SYNTAX:
		return EX_DATAERR;
	default:
		return err_is_temp(code) ? EX_TEMPFAIL : EX_UNAVAILABLE;
	}
}

/* ---- who calls, and where the suite is ---- */

/* The first part of GECOS; an ampersand in it stands for the login name. */
static void full_name_of(const struct passwd *pw, char *out, size_t size)
{
	size_t len = 0;

	for (const char *c = pw->pw_gecos; *c != '\0' && *c != ',' && len + 1 < size; c++) {
		if (*c != '&') {
			out[len++] = *c;
			continue;
		}
		len += (size_t)snprintf(out + len, size - len, "%c%s", ascii_upper(pw->pw_name[0]), pw->pw_name + (pw->pw_name[0] != '\0'));
		if (len >= size)
			len = size - 1;
	}
	out[len] = '\0';
}

static void find_user(struct caller *caller)
{
	const char *name = getenv("NAME");
	const struct passwd *pw = getpwuid(getuid());

	if (pw != NULL)
		snprintf(caller->user, sizeof(caller->user), "%s", pw->pw_name);
	if (name != NULL && name[0] != '\0')
		snprintf(caller->full_name, sizeof(caller->full_name), "%s", name);
	else if (pw != NULL)
		full_name_of(pw, caller->full_name, sizeof(caller->full_name));
}

/* A configuration that is being changed, or may not be read, is no reason to lose mail. */
static int caller_find(struct caller *caller, struct err *err)
{
	struct span data = {0};
	int r = instance_find(&caller->instance, NULL, err);

	if (r != 0)
		return r;
	if (conf_load(caller->instance.conf, &caller->conf, err) != 0)
		(void)conf_parse(SPAN_LIT("config-version 1\nhostname localhost\n"), "defaults", &caller->conf, err);
	if (caller->conf == NULL)
		return err->code;
	caller->message_size = conf_u64(caller->conf, CONF_message_size, NULL);
	caller->header_size = conf_u64(caller->conf, CONF_header_size, NULL);
	caller->received_lines = (uint32_t)conf_u64(caller->conf, CONF_received_lines, NULL);
	caller->hostname = conf_text(caller->conf, CONF_hostname, NULL);
	data = conf_text(caller->conf, CONF_data_directory, NULL);
	if (data.len == 0)
		data = span_str(caller->instance.data);
	snprintf(caller->drop, sizeof(caller->drop), "%.*s/drop", SPAN_ARG(data));
	find_user(caller);
	return 0;
}

/* ---- a message ---- */

static int extract(struct sendmail_arguments *a, struct span head, struct pool *pool, struct err *err)
{
	size_t len = local_header_length(head);

	if (len == HEAD_MAX)
		return err_set(err, E_TOOBIG, "the header section is longer than %d octets", HEAD_MAX);
	return recipients_extract(&a->recipients, span_sub(head, 0, len), pool, err);
}

/* What pickup would refuse is told at once, also when only the drop can take it. */
static int check_addresses(const struct letter *letter, struct err *err)
{
	char complete[SMTP_PATH_MAX + 1];
	struct err why;
	int r = 0;

	if (letter->sender_given && local_address(letter->sender, SPAN_LIT("localhost"), complete, &why) != 0)
		r = err_set(err, E_SYNTAX, "sender %.*s: %s", SPAN_ARG(span_sub(letter->sender, 0, 100)), why.text);
	for (size_t i = 0; i < letter->recipient_count && r == 0; i++) {
		struct span address = letter->recipients[i].address;

		if (local_address(address, SPAN_LIT("localhost"), complete, &why) != 0 || complete[0] == '\0')
			r = err_set(err, E_SYNTAX, "recipient %.*s: %s", SPAN_ARG(span_sub(address, 0, 100)), why.text);
	}
	return r;
}

/* -f may have a name beside the address. */
static struct span sender_of(const char *given, struct pool *pool)
{
	struct recipient_list one;
	struct span text = span_trim(span_str(given));
	struct err err;

	if (span_find(text, '<') == text.len && span_find(text, ' ') == text.len)
		return text;
	if (recipients_init(&one, pool) == 0 && recipients_add(&one, text, pool, &err) == 0 && one.count == 1)
		return one.addresses[0];
	return span_eq(text, SPAN_LIT("<>")) ? span_str("") : text;
}

/* -N is for all of them. */
static int fill_recipients(const struct sendmail_arguments *a, struct pool *pool, struct letter *letter)
{
	letter->recipients = pool_array(pool, a->recipients.count, sizeof(*letter->recipients));
	if (letter->recipients == NULL)
		return E_NOMEM;
	for (size_t i = 0; i < a->recipients.count; i++)
		letter->recipients[i] = (struct letter_recipient){.address = a->recipients.addresses[i], .notify = a->notify};
	letter->recipient_count = a->recipients.count;
	return 0;
}

static int fill_letter(const struct caller *caller, const struct sendmail_arguments *a, struct pool *pool, struct letter *letter)
{
	*letter = (struct letter){.user = span_str(caller->user), .full_name = span_str(a->full_name != NULL ? a->full_name : caller->full_name),
	    .sender_given = a->sender_given, .ret = a->ret, .envid = span_str(a->envid != NULL ? a->envid : "")};
	letter->full_name = span_sub(letter->full_name, 0, LETTER_NAME);
	if (a->sender_given)
		letter->sender = sender_of(a->sender, pool);
	return fill_recipients(a, pool, letter);
}

static int submit(const struct caller *caller, struct letter *letter, const struct content *content, bool verbose)
{
	struct err err = {0};
	char qid[16];

	if (check_addresses(letter, &err) != 0)
		return fail(EX_DATAERR, err.text);
	switch (handover(caller, letter, content, qid, &err)) {
	case HANDOVER_QUEUED:
		if (verbose)
			printf("queued as %s\n", qid);
		return EX_OK;
	case HANDOVER_DROPPED:
		if (verbose)
			printf("kept in %s until Mailwain takes it: %s\n", caller->drop, err.text);
		return EX_OK;
	case HANDOVER_REFUSED:
		break;
	}
	return fail(status_of(err.code), err.text);
}

static int take_message(const struct caller *caller, struct sendmail_arguments *a, struct pool *pool)
{
	struct content content = {.fd = -1};
	struct letter letter;
	struct err err = {0};
	struct buf head;
	int r, status = EX_OK;

	if (!a->extract && a->recipients.count == 0)
		return fail(EX_USAGE, "recipient addresses must be given as arguments, or in the message with -t");
	buf_init(&head, HEAD_MAX);
	r = content_open(&content, &err);
	if (r == 0)
		r = content_read(&content, caller->message_size, a->dot, &head, &err);
	if (r == 0 && a->extract)
		r = extract(a, buf_span(&head), pool, &err);
	if (r != 0)
		status = fail(r == E_LIMIT ? EX_DATAERR : status_of(r), err.text[0] != '\0' ? err.text : err_text(r));
	else if (a->recipients.count == 0)
		status = fail(EX_USAGE, "no recipient addresses found in the message's header");
	else if (fill_letter(caller, a, pool, &letter) != 0)
		status = fail(EX_OSERR, "out of memory");
	else
		status = submit(caller, &letter, &content, a->verbose);
	content_close(&content);
	buf_fini(&head);
	return status;
}

/* ---- the other modes ---- */

/* Everybody may call mailq, but the queue tells who writes to whom. */
static int ask_queue(const struct caller *caller, int (*ask)(const struct caller *caller))
{
	char path[INSTANCE_PATH + 128];

	snprintf(path, sizeof(path), "%s/queue.sock", caller->instance.run);
	if (access(path, W_OK) != 0 && errno == EACCES)
		return fail(EX_NOPERM, "only root and the members of control-group may see the queue");
	return ask(caller);
}

static int rebuild_aliases(const struct caller *caller)
{
	char path[INSTANCE_PATH + 32], root[INSTANCE_PATH], name[] = "newaliases", option[] = "--root";
	char *argv[] = {name, caller->instance.root[0] != '\0' ? option : NULL, root, NULL};

	snprintf(root, sizeof(root), "%s", caller->instance.root);
	snprintf(path, sizeof(path), "%s/newaliases", caller->instance.libexec);
	execv(path, argv);
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return EX_UNAVAILABLE;
}

static int run(const struct caller *caller, struct sendmail_arguments *a, struct pool *pool)
{
	switch (a->mode) {
	case SENDMAIL_SUBMIT:
		return take_message(caller, a, pool);
	case SENDMAIL_SMTP:
		return smtp_run(caller);
	case SENDMAIL_QUEUE:
		return ask_queue(caller, queue_list);
	case SENDMAIL_FLUSH:
		return ask_queue(caller, queue_flush);
	case SENDMAIL_ALIASES:
		return rebuild_aliases(caller);
	case SENDMAIL_NOTHING:
		break;
	}
	return EX_OK;
}

/* A caller may have closed what a file of ours must not become. */
static void open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct pool *pool = pool_new(NULL, POOL_MAX);
	struct sendmail_arguments arguments;
	struct caller caller = {0};
	struct err err = {0};
	int status;

	open_standard();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (pool == NULL)
		return fail(EX_OSERR, "out of memory");
	if (sendmail_arguments_parse(argc, argv, pool, &arguments, &err) != 0)
		status = fail(err_is_temp(err.code) && err.code != E_LIMIT ? EX_OSERR : EX_USAGE, err.text);
	else if (caller_find(&caller, &err) != 0)
		status = fail(EX_OSERR, err.text);
	else
		status = run(&caller, &arguments, pool);
	conf_free(&caller.conf);
	pool_free(&pool);
	return status;
}
