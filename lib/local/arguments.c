#include "local/arguments.h"

#include "local/letter.h"
#include "spool/spool.h"

#include <stdio.h>

struct arguments {
	int argc, at;
	char *const *argv;
	struct pool *pool;
	struct sendmail_arguments *out;
	struct err *err;
};

/* ---- values ---- */

/* notify = "never" / list of "success" "failure" "delay" */
static int take_notify(struct arguments *a, const char *value)
{
	static const struct {
		const char *word;
		uint32_t bit;
	} words[] = {{"never", SPOOL_NOTIFY_NEVER}, {"success", SPOOL_NOTIFY_SUCCESS}, {"failure", SPOOL_NOTIFY_FAILURE}, {"delay", SPOOL_NOTIFY_DELAY}};
	struct span rest = span_str(value);
	uint32_t notify = 0;

	while (rest.len > 0) {
		struct span word = span_sub(rest, 0, span_find(rest, ','));
		uint32_t bit = 0;

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (span_caseeq(word, span_str(words[i].word)))
				bit = words[i].bit;
		if (bit == 0)
			return err_set(a->err, E_SYNTAX, "-N takes never, or some of success, failure and delay");
		notify |= bit;
		rest = span_from(rest, word.len + 1);
	}
	if (notify == 0 || ((notify & SPOOL_NOTIFY_NEVER) && notify != SPOOL_NOTIFY_NEVER))
		return err_set(a->err, E_SYNTAX, "-N takes never, or some of success, failure and delay");
	a->out->notify = notify;
	return 0;
}

static int take_ret(struct arguments *a, const char *value)
{
	bool full = span_caseeq(span_str(value), SPAN_LIT("full"));

	if (!full && !span_caseeq(span_str(value), SPAN_LIT("hdrs")))
		return err_set(a->err, E_SYNTAX, "-R takes full or hdrs");
	a->out->ret = full ? SPOOL_RET_FULL : SPOOL_RET_HDRS;
	return 0;
}

static int take_body(struct arguments *a, const char *value)
{
	if (span_caseeq(span_str(value), SPAN_LIT("8BITMIME")) || span_caseeq(span_str(value), SPAN_LIT("7BIT")))
		return 0; /* what it is can be seen */
	return err_set(a->err, E_SYNTAX, "-B takes 7BIT or 8BITMIME");
}

static int take_mode(struct arguments *a, const char *value)
{
	static const struct {
		char letter;
		enum sendmail_mode mode;
	} modes[] = {{'m', SENDMAIL_SUBMIT}, {'s', SENDMAIL_SMTP}, {'p', SENDMAIL_QUEUE}, {'i', SENDMAIL_ALIASES}, {'h', SENDMAIL_NOTHING}, {'H', SENDMAIL_NOTHING}};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (value[0] == modes[i].letter) {
			a->out->mode = modes[i].mode;
			return 0;
		}
	if (value[0] == 'd' || value[0] == 'D' || value[0] == 'l')
		return err_set(a->err, E_UNSUPPORTED, "-b%c: the daemons are started with `mailwain start`", value[0]);
	return err_set(a->err, E_UNSUPPORTED, "-b%.1s is not supported here", value);
}

/* -oi, and the others of Sendmail's: they name what is always so here, or files that this program has not. */
static int take_old_option(struct arguments *a, const char *value)
{
	if (value[0] == 'i')
		a->out->dot = false;
	return 0;
}

static int take_sender(struct arguments *a, const char *value)
{
	a->out->sender_given = true;
	a->out->sender = value;
	return strlen(value) <= LETTER_ADDRESS ? 0 : err_set(a->err, E_SYNTAX, "-f: the address is too long");
}

static int take_envid(struct arguments *a, const char *value)
{
	/* -V of an empty name is how some switch VERP on, which mailing lists do themselves. */
	a->out->envid = value;
	for (const char *c = value; *c != '\0'; c++)
		if (*c < '!' || *c > '~')
			return err_set(a->err, E_SYNTAX, "-V takes printable ASCII without blanks");
	return strlen(value) <= 100 ? 0 : err_set(a->err, E_SYNTAX, "-V: more than 100 characters");
}

static int take_full_name(struct arguments *a, const char *value)
{
	a->out->full_name = value;
	return 0;
}

static int take_nothing(struct arguments *a, const char *value)
{
	(void)a;
	(void)value;
	return 0;
}

/* Options with a value: in the same word, or the next one. The rest of Sendmail's, and Postfix's, mean nothing here. */
static const struct {
	char letter;
	int (*take)(struct arguments *a, const char *value);
} with_value[] = {{'B', take_body}, {'F', take_full_name}, {'N', take_notify}, {'R', take_ret}, {'V', take_envid}, {'b', take_mode}, {'f', take_sender}, {'r', take_sender},
    {'o', take_old_option}, {'A', take_nothing}, {'C', take_nothing}, {'D', take_nothing}, {'L', take_nothing}, {'O', take_nothing}, {'X', take_nothing}, {'e', take_nothing},
    {'h', take_nothing}, {'p', take_nothing}};

/* ---- words ---- */

/* True: the letter takes a value, and *r says how that went. */
static bool take_value(struct arguments *a, const char *letter, int *r)
{
	for (size_t i = 0; i < sizeof(with_value) / sizeof(with_value[0]); i++) {
		if (*letter != with_value[i].letter)
			continue;
		if (letter[1] != '\0')
			*r = with_value[i].take(a, letter + 1);
		else if (a->at < a->argc)
			*r = with_value[i].take(a, a->argv[a->at++]);
		else
			*r = err_set(a->err, E_SYNTAX, "-%c needs a value", *letter);
		return true;
	}
	return false;
}

/* Several letters may share a word; one with a value takes the rest of it. -q alone, or with when and what, is one word. */
static int take_options(struct arguments *a, const char *letters)
{
	int r = 0;

	for (; *letters != '\0'; letters++) {
		if (take_value(a, letters, &r))
			return r;
		if (*letters == 'q') {
			a->out->mode = SENDMAIL_FLUSH;
			return 0;
		}
		if (*letters == 'i')
			a->out->dot = false;
		else if (*letters == 't')
			a->out->extract = true;
		else if (*letters == 'v')
			a->out->verbose = true;
		else if (*letters == 'I')
			a->out->mode = SENDMAIL_ALIASES;
	}
	return 0;
}

static enum sendmail_mode mode_of_name(const char *path)
{
	const char *slash = path != NULL ? strrchr(path, '/') : NULL;
	struct span name = span_str(slash != NULL ? slash + 1 : path);

	if (span_eq(name, SPAN_LIT("mailq")))
		return SENDMAIL_QUEUE;
	return span_eq(name, SPAN_LIT("newaliases")) ? SENDMAIL_ALIASES : SENDMAIL_SUBMIT;
}

int sendmail_arguments_parse(int argc, char *const *argv, struct pool *pool, struct sendmail_arguments *out, struct err *err)
{
	struct arguments a = {.argc = argc, .at = 1, .argv = argv, .pool = pool, .out = out, .err = err};
	bool words_only = false;
	int r;

	*out = (struct sendmail_arguments){.mode = mode_of_name(argc > 0 ? argv[0] : NULL), .dot = true};
	r = recipients_init(&out->recipients, pool);
	while (r == 0 && a.at < argc) {
		const char *word = argv[a.at++];

		if (!words_only && strcmp(word, "--") == 0)
			words_only = true;
		else if (!words_only && word[0] == '-' && word[1] != '\0')
			r = take_options(&a, word + 1);
		else
			r = recipients_add(&out->recipients, span_str(word), pool, err);
	}
	return r;
}
