/*
 * sendmail's command line (local/arguments.h): understood or refused with a text; what it has taken is the caller's own words.
 *
 * Input: words, each ended by a line end; the first is the program's name.
 */
#include "tests/fuzz/fuzz.h"

#include "local/arguments.h"
#include "local/letter.h"

#include <stdlib.h>

enum { WORDS_MAX = 64 };

static bool is_word(const char *text, char *const *argv)
{
	for (; text != NULL && *argv != NULL; argv++)
		if (text >= *argv && text <= *argv + strlen(*argv))
			return true;
	return text == NULL;
}

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, 0);
	char *copy = malloc(input.len + 1), *argv[WORDS_MAX + 1], *rest = copy;
	struct sendmail_arguments arguments;
	struct err err = {0};
	int argc = 0, r;

	memcpy(copy, input.ptr != NULL ? input.ptr : "", input.len);
	copy[input.len] = '\0';
	while (rest != NULL && argc < WORDS_MAX)
		argv[argc++] = strsep(&rest, "\n");
	argv[argc] = NULL;
	r = sendmail_arguments_parse(argc, argv, pool, &arguments, &err);
	fuzz_assert(r == 0 || r == E_SYNTAX || r == E_UNSUPPORTED || r == E_LIMIT);
	fuzz_assert(r == 0 || err.text[0] != '\0');
	fuzz_assert(is_word(arguments.sender, argv) && is_word(arguments.full_name, argv) && is_word(arguments.envid, argv));
	fuzz_assert(arguments.recipients.count <= LETTER_RECIPIENTS && arguments.notify <= 15 && arguments.ret <= 2);
	fuzz_assert((arguments.notify & 1) == 0 || arguments.notify == 1);
	free(copy);
	pool_free(&pool);
}
