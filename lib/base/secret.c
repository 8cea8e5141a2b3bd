#include "secret.h"

bool secret_set(struct secret *secret, struct span s)
{
	secret_wipe(secret);
	if (s.len > SECRET_MAX)
		return false;
	if (s.len > 0)
		memcpy(secret->data, s.ptr, s.len);
	secret->len = s.len;
	return true;
}

void secret_wipe(struct secret *secret)
{
	explicit_bzero(secret, sizeof(*secret));
}
