/* plant: deliver; wraps: mime_field_next */
/* A header section is walked from its beginning for each of its fields, as a list of addresses was in CVE-2024-23184 (S3). */
#include "mime/header.h"

bool __real_mime_field_next(struct span *rest, struct mime_field *out);
bool __wrap_mime_field_next(struct span *rest, struct mime_field *out);

bool __wrap_mime_field_next(struct span *rest, struct mime_field *out)
{
	static const char *first, *next;
	static volatile size_t lines;

	if (rest->ptr != next)
		first = rest->ptr;
	for (const char *at = first; at < rest->ptr; at++)
		lines += *at == '\n';
	if (!__real_mime_field_next(rest, out))
		return false;
	next = rest->ptr;
	return true;
}
