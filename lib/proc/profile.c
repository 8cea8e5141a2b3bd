#include "proc/profile.h"

#include <string.h>

#define GIB ((uint64_t)1 << 30)

const struct profile profile_table[] = {
#define PROFILE(n, u, t, c, f, fs, m, p)                                                           \
	{.name = (n), .user = (u), .tree = (t), .calls = (c), .files = (f), .file_size = (fs),     \
	    .memory = (m), .processes = (p)},
#include "proc/profiles.def"
#undef PROFILE
    {.name = NULL}};

const struct profile *profile_find(const char *name)
{
	for (const struct profile *p = profile_table; p->name != NULL; p++)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}
