/* What the configuration and the files of root's say to the resolver, checked. */
#ifndef MW_RESOLVE_SETTINGS_H
#define MW_RESOLVE_SETTINGS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "conf/conf.h"

struct daemon;

enum { SETTINGS_SERVERS = 16, SETTINGS_ZONES = 64, SETTINGS_ANCHORS = 64 * 1024 };

struct settings_zone {
	char name[256];
	struct conf_server server;
};

struct settings {
	struct conf_server servers[SETTINGS_SERVERS]; /* none: the resolver asks from the root */
	size_t server_count;
	struct settings_zone zones[SETTINGS_ZONES];
	size_t zone_count;
	char insecure[SETTINGS_ZONES][256];
	size_t insecure_count;
	struct buf anchors; /* records, each ended by a NUL */
	uint64_t cache;	    /* bytes */
	int timeout_ms;
};

/* *out: owned, settings_free. E_SYNTAX says where, and what is wrong. */
int settings_load(struct daemon *daemon, struct settings **out, struct err *err);
void settings_free(struct settings **settings);
/* Do both make the same resolver? What is kept needs not be thrown away then. */
bool settings_same(const struct settings *a, const struct settings *b);
/* Who is asked for name, for people: "192.0.2.53", "192.0.2.53:5353 and 1 more", or "the name servers of the domain". */
void settings_describe(const struct settings *settings, struct span name, char *out, size_t size);

#endif
