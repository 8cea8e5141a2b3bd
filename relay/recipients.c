#include "relay/recipients.h"

static bool take_text(struct span *packed, struct span *out)
{
	size_t len;

	if (packed->len < 2)
		return false;
	len = (size_t)(unsigned char)packed->ptr[0] | (size_t)(unsigned char)packed->ptr[1] << 8;
	*packed = span_from(*packed, 2);
	*out = span_sub(*packed, 0, len);
	*packed = span_from(*packed, len);
	return out->len == len && (len == 0 || memchr(out->ptr, '\0', len) == NULL);
}

static bool take_recipient(struct span *packed, struct smtp_client_recipient *out)
{
	if (!take_text(packed, &out->address) || !take_text(packed, &out->orcpt) || packed->len < 1 || out->address.len == 0)
		return false;
	out->notify = (unsigned char)packed->ptr[0];
	*packed = span_from(*packed, 1);
	return out->notify <= 15;
}

int recipients_decode(struct pool *pool, struct span packed, struct smtp_client_recipient **out, size_t *count)
{
	struct smtp_client_recipient one;
	struct span rest = packed;

	for (*count = 0; rest.len > 0; ++*count)
		if (!take_recipient(&rest, &one) || *count == RELAY_RECIPIENTS_MAX)
			return E_SYNTAX;
	if (*count == 0)
		return E_SYNTAX;
	*out = pool_array(pool, *count, sizeof(**out));
	if (*out == NULL)
		return E_NOMEM;
	for (size_t i = 0; i < *count; i++)
		take_recipient(&packed, &(*out)[i]);
	return 0;
}
