#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct err_entry {
	enum err_class class;
	const char *text;
	int smtp;
	const char *enhanced;
	const char *imap;
};

static const struct err_entry err_table[ERR_COUNT] = {
    [E_OK] = {ERR_CLASS_NONE, "no error", 250, "2.0.0", ""},
#define ERR(name, class, text, smtp, enhanced, imap)                                               \
	[name##_POSITIVE] = {ERR_CLASS_##class, text, smtp, enhanced, imap},
#include "err.def"
#undef ERR
};

static const struct err_entry *err_entry(int code)
{
	if (code > 0 || code <= -ERR_COUNT)
		code = E_BUG;
	return &err_table[-code];
}

/* What outsiders wrote gets into texts, and texts into replies: no line ends, nothing a terminal would obey. */
static void err_make_line(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return code;
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	err_make_line(err->text);
	return code;
}

int err_set_errno(struct err *err, int errnum, const char *fmt, ...)
{
	char what[sizeof(err->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return err_set(err, err_from_errno(errnum), "%s: %s", what, strerror(errnum));
}

int err_from_errno(int errnum)
{
	switch (errnum) {
	case 0:
		return 0;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return E_NOSPACE;
	case EMFILE:
	case ENFILE:
		return E_NOFILES;
	case ENOMEM:
	case ENOBUFS:
		return E_NOMEM;
	case EAGAIN:
	case EINTR:
		return E_AGAIN;
	case ETIMEDOUT:
		return E_TIMEOUT;
	case ENOENT:
		return E_NOTFOUND;
	case EEXIST:
		return E_EXISTS;
	case EACCES:
	case EPERM:
		return E_DENIED;
	case EPIPE:
	case ECONNRESET:
		return E_CLOSED;
	default:
		return E_IO;
	}
}

enum err_class err_class(int code)
{
	return err_entry(code)->class;
}

const char *err_text(int code)
{
	return err_entry(code)->text;
}

int err_smtp_code(int code)
{
	return err_entry(code)->smtp;
}

const char *err_smtp_enhanced(int code)
{
	return err_entry(code)->enhanced;
}

const char *err_imap_code(int code)
{
	return err_entry(code)->imap;
}

_Noreturn void err_invariant_failed(const char *cond, const char *file, int line)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "invariant failed: %s at %s:%d\n", cond, file, line);

	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(70);
	abort();
}
