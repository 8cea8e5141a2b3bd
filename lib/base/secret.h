/* Secrets: wiped when done with, never printed. */
#ifndef MW_BASE_SECRET_H
#define MW_BASE_SECRET_H

#include "span.h"

enum { SECRET_MAX = 1024 };

struct secret {
	size_t len;
	unsigned char data[SECRET_MAX];
};

/* False (and an empty secret) when s is longer than SECRET_MAX. */
bool secret_set(struct secret *secret, struct span s);
void secret_wipe(struct secret *secret);

static inline struct span secret_span(const struct secret *secret)
{
	return span_of(secret->data, secret->len);
}

#endif
