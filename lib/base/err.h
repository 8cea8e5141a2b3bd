/*
 * Errors: what a function returns, and what a person is told.
 *
 * A function that can fail returns 0 or one of the negative codes of err.def.
 * When its failure is shown or logged it also fills a struct err whose text
 * says what happened, to what, and what to do next.
 */
#ifndef MW_BASE_ERR_H
#define MW_BASE_ERR_H

#include <stdbool.h>

enum err_code {
	E_OK = 0,
#define ERR(name, class, text, smtp, enhanced, imap) name##_POSITIVE,
#include "err.def"
#undef ERR
	ERR_COUNT,
#define ERR(name, class, text, smtp, enhanced, imap) name = -name##_POSITIVE,
#include "err.def"
#undef ERR
};

enum err_class { ERR_CLASS_NONE, ERR_CLASS_TEMP, ERR_CLASS_PERM, ERR_CLASS_BUG };

enum { ERR_TEXT_MAX = 256 };

struct err {
	int code;		 /* 0 or an E_ code */
	char text[ERR_TEXT_MAX]; /* NUL-ended, one line, printable */
};

/* Fills err (may be NULL) and returns code, so that `return err_set(...)` reads well. */
int err_set(struct err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set, with ": strerror(errnum)" appended; the code is err_from_errno(errnum). */
int err_set_errno(struct err *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The E_ code for an errno value: ENOSPC and EDQUOT become E_NOSPACE, EMFILE E_NOFILES, ... */
int err_from_errno(int errnum);

/* All four accept any code; an unknown one counts as E_BUG. Results are static. */
enum err_class err_class(int code);
const char *err_text(int code);
int err_smtp_code(int code);
const char *err_smtp_enhanced(int code);
const char *err_imap_code(int code);

static inline bool err_is_temp(int code)
{
	return err_class(code) != ERR_CLASS_PERM;
}

/* For faults of our own code only; stays on in releases. Ends this process. */
#define invariant(cond) ((cond) ? (void)0 : err_invariant_failed(#cond, __FILE__, __LINE__))
_Noreturn void err_invariant_failed(const char *cond, const char *file, int line);

#endif
