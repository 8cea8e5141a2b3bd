/* A defence with nothing counted, and who comes to it. */
#ifndef MW_TESTS_DEFENCE_FIXTURE_H
#define MW_TESTS_DEFENCE_FIXTURE_H

#include "auth/defence.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, START = 5 * MINUTE };

static inline int begin(void **state)
{
	static const unsigned char secret[DIRECTORY_SECRET] = "0123456789abcdef0123456789abcde";

	*state = sodium_init() >= 0 ? defence_new(secret) : NULL;
	return *state == NULL;
}

static inline int end(void **state)
{
	free(*state);
	return 0;
}

static inline struct attempt who(struct defence *d, const char *user, const char *remote)
{
	struct attempt a;

	defence_attempt(d, span_str(user), span_str(remote), &a);
	return a;
}

static inline struct attempt who_is_known(struct defence *d, const char *user, const char *remote)
{
	struct attempt a = who(d, user, remote);

	a.known = true;
	return a;
}

/* What the defence says, and nothing counts. */
static inline const char *asked(struct defence *d, const char *user, const char *remote, int64_t now)
{
	struct attempt a = who(d, user, remote);
	const char *refused = defence_ask(d, &a, now);

	defence_give_back(d, &a);
	return refused != NULL ? refused : "go";
}

static inline void address_of(int number, char *out, size_t size)
{
	snprintf(out, size, "10.%d.%d.%d", number / 62500, number / 250 % 250, number % 250);
}

#endif
