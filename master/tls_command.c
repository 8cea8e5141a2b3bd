/* mailwain-tls: which certificates are served. Master sends them as they are; here they are read. */
#include "base/buf.h"
#include "base/clock.h"
#include "control/command.h"
#include "tls/certificate.h"

#include <jansson.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int read_text(const char *pem, struct tls_certificate *out, struct err *err)
{
	int fd = memfd_create("certificate", MFD_CLOEXEC), r;

	if (fd < 0 || write(fd, pem, strlen(pem)) != (ssize_t)strlen(pem))
		r = err_set(err, E_NOMEM, "out of memory");
	else
		r = tls_certificate_read(fd, out, err);
	if (fd >= 0)
		close(fd);
	return r;
}

static const char *text_of(const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

static void show(struct span line, struct buf *out)
{
	json_t *row = json_loadb(line.ptr, line.len, 0, NULL), *shown;
	struct tls_certificate c = {0};
	char note[TLS_WARNING_MAX] = "", date[TLS_DATE_MAX] = "";
	struct err err = {0};
	int r = read_text(text_of(row, "pem"), &c, &err);
	char *text;

	if (r == 0) {
		tls_certificate_warning(&c, clock_wall(), note);
		tls_date(c.ends, date);
	}
	shown = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s}", "domain", text_of(row, "domain"), "names", c.names, "key", c.key, "until", date,
	    "days", (json_int_t)(r == 0 ? (c.ends - clock_wall()) / 86400 : 0), "listeners", text_of(row, "listeners"), "file", text_of(row, "file"), "note",
	    r == 0 ? note : err.text);
	text = shown ? json_dumps(shown, JSON_COMPACT) : NULL;
	if (text != NULL)
		buf_add_str(out, text);
	free(text);
	json_decref(shown);
	json_decref(row);
}

static const struct control_verb verbs[] = {
    {"tls", "show", "", "Shows each certificate that is served: for which names, until when, on which ports.", false, false},
    {0},
};

int main(int argc, char **argv)
{
	const struct control_command command = {.daemon = "master", .verbs = verbs, .shown = show};

	return control_command_main(&command, argc, argv);
}
