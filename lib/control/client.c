#include "control/client.h"

#include "base/secret.h"
#include "base/utf8.h"
#include "control/table.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

static int control_connect(const struct instance *instance, const char *daemon, bool stopping, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, size = 4 * IPC_MESSAGE_MAX;

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s.sock", instance->run, daemon) >=
	    (int)sizeof(address.sun_path))
		return err_set(err, E_TOOBIG, "the path of %s is too long for a socket", instance->run);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set_errno(err, errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	err_set_errno(err, errno, "%s", address.sun_path);
	if (errno == EACCES)
		err_set(err, E_DENIED, "%s: not permitted; run the command as root", address.sun_path);
	else if (errno == ENOENT || errno == ECONNREFUSED)
		err_set(err, E_UNAVAILABLE, stopping ? "Mailwain is not running here (%s)"
			: "Mailwain is not running here (%s); start it with `mailwain%s%s start`",
		    address.sun_path, instance->root[0] ? " --root " : "", instance->root);
	close(fd);
	return err->code;
}

static int send_request(int fd, const struct control_request_options *o, struct err *err)
{
	struct buf args;
	struct span input = o->input;
	struct control_request request = {.secret = o->secret};
	int r = 0;

	while (input.len > 0 && r == 0) {
		struct control_input piece = {.text = span_sub(input, 0, CONTROL_PIECE)};

		r = ipc_send(fd, &ipc_control_input, 0, &piece, -1);
		input = span_from(input, CONTROL_PIECE);
	}
	buf_init(&args, 32768);
	for (size_t i = 0; i < o->count; i++) {
		buf_add_span(&args, o->args[i]);
		buf_add_char(&args, '\0');
	}
	request.args = buf_span(&args);
	if (r == 0 && buf_failed(&args))
		r = err_set(err, E_TOOBIG, "the arguments are too long");
	else if (r == 0)
		r = ipc_send(fd, &ipc_control_request, 1, &request, -1);
	if (r != 0 && err->code == 0)
		err_set(err, r, "%s", err_text(r));
	buf_fini(&args);
	return r;
}

/* What others wrote must not move the cursor, or make the terminal answer: there it is shown as \xNN. */
static void put_text(struct span text, FILE *out)
{
	if (!isatty(fileno(out))) {
		fwrite(text.ptr, 1, text.len, out);
		return;
	}
	while (text.len > 0) {
		const char *at = text.ptr;
		int32_t cp = utf8_next(&text);

		/* The CR of a line end shows nothing. */
		if (cp == '\r' && (text.len == 0 || *text.ptr == '\n'))
			continue;
		if ((cp >= ' ' && cp < 0x7f) || cp >= 0xa0 || cp == '\n' || cp == '\t')
			fwrite(at, 1, (size_t)(text.ptr - at), out);
		else
			for (; at < text.ptr; at++)
				fprintf(out, "\\x%02x", (unsigned char)*at);
	}
}

/* With --json standard output holds rows and nothing else; who takes the rows says the rest too. */
static int finish(const struct control_done *done, const struct control_request_options *o)
{
	if (done->text.len > 0 && !(o->quiet && done->exit == EX_OK) && (o->row == NULL || done->exit != EX_OK)) {
		FILE *out = done->exit == EX_OK && !o->json ? stdout : stderr;

		fputs(done->exit == EX_OK ? "" : "mailwain: ", out);
		put_text(done->text, out);
		putc('\n', out);
	}
	return (int)done->exit;
}

static void show_row(struct span row, const struct control_request_options *o, struct table *table)
{
	struct buf other;

	if (o->row != NULL) {
		o->row(o->arg, row);
		return;
	}
	buf_init(&other, IPC_MESSAGE_MAX);
	if (o->shown != NULL) {
		o->shown(row, &other);
		row = buf_span(&other);
	}
	if (o->json) {
		fwrite(row.ptr, 1, row.len, stdout);
		putchar('\n');
	} else {
		table_add(table, row);
	}
	buf_fini(&other);
}

static void show_rows(struct span rows, const struct control_request_options *o, struct table *table)
{
	while (rows.len > 0) {
		size_t end = span_find(rows, '\n');

		show_row(span_sub(rows, 0, end), o, table);
		rows = span_from(rows, end + 1);
	}
}

static int receive_answer(int fd, struct table *table, const struct control_request_options *o, struct err *err)
{
	static char buffer[IPC_MESSAGE_MAX];
	struct ipc_message m;

	for (;;) {
		int r = ipc_receive(fd, &ipc_service_control, TO_CLIENT, buffer, &m, err);

		if (r != 0) {
			fprintf(stderr, "mailwain: the daemon ended before it answered; see the log\n");
			return EX_TEMPFAIL;
		}
		if (m.type == &ipc_control_row) {
			show_rows(((const struct control_row *)(const void *)m.body)->json, o, table);
		} else if (m.type == &ipc_control_text) {
			struct span text = ((const struct control_text *)(const void *)m.body)->text;

			put_text(text, stdout);
		} else {
			table_print(table, stdout);
			return finish((const void *)m.body, o);
		}
	}
}

int control_run(const struct instance *instance, const char *daemon, const struct control_request_options *options)
{
	struct err err = {0};
	struct table *table = table_new();
	bool stopping = options->count == 1 && span_eq(options->args[0], SPAN_LIT("stop"));
	int fd = control_connect(instance, daemon, stopping, &err);
	int status = EX_OSERR;

	if (table == NULL || fd < 0) {
		fprintf(stderr, "mailwain: %s\n", table ? err.text : "out of memory");
		status = err.code == E_DENIED ? EX_NOPERM : EX_UNAVAILABLE;
		goto out;
	}
	if (send_request(fd, options, &err) != 0) {
		fprintf(stderr, "mailwain: the request could not be sent: %s\n", err.text);
		status = EX_IOERR;
	} else {
		status = receive_answer(fd, table, options, &err);
	}
out:
	if (fd >= 0)
		close(fd);
	table_free(&table);
	return status;
}

static int read_line(struct secret *out, struct err *err)
{
	char line[SECRET_MAX + 2];
	size_t len;
	int r = 0;

	if (fgets(line, sizeof(line), stdin) == NULL)
		return err_set(err, E_SYNTAX, "no password was given");
	len = strcspn(line, "\r\n");
	if (len == 0)
		r = err_set(err, E_SYNTAX, "the password is empty");
	else if (!secret_set(out, span_of(line, len)))
		r = err_set(err, E_TOOBIG, "the password is longer than %d bytes", SECRET_MAX);
	explicit_bzero(line, sizeof(line));
	return r;
}

static int ask(const char *prompt, struct secret *out, struct err *err)
{
	struct termios before, quiet;
	int r;

	if (tcgetattr(STDIN_FILENO, &before) != 0)
		return err_set(err, E_SYNTAX, "no terminal to ask on; use --password-stdin");
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	fputs(prompt, stderr);
	r = read_line(out, err);
	fputc('\n', stderr);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	return r;
}

int control_read_password(bool from_stdin, bool confirm, struct secret *out, struct err *err)
{
	struct secret again = {0};
	int r;

	if (from_stdin)
		return read_line(out, err);
	r = ask("Password: ", out, err);
	if (r == 0 && confirm)
		r = ask("Again: ", &again, err);
	if (r == 0 && confirm && !span_eq(secret_span(out), secret_span(&again)))
		r = err_set(err, E_SYNTAX, "the two passwords differ");
	secret_wipe(&again);
	return r;
}
