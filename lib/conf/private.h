/* The checked tree, shared by the parser and the look-ups. */
#ifndef MW_CONF_PRIVATE_H
#define MW_CONF_PRIVATE_H

#include "base/pool.h"
#include "conf/conf.h"

enum {
	CONF_FILE_MAX = 1024 * 1024, /* bytes of one file */
	CONF_READ = 16 * 1024,	     /* at once */
	CONF_DEPTH_MAX = 8,	     /* includes within includes */
	CONF_BLOCKS_MAX = 4096,	     /* of all kinds */
	CONF_MEMORY_MAX = 32 * 1024 * 1024,
	CONF_NETWORKS_MAX = 1024,    /* networks in one list */
};

/* One network, IPv4 mapped into IPv6. */
struct conf_network {
	unsigned char address[16];
	unsigned bits;
};

struct conf_value {
	bool set;
	struct span text;
	struct span origin; /* "file:line" */
	unsigned column;    /* of the setting's name */
	uint64_t number;    /* number, size in bytes, milliseconds, or 0 and 1 */
	struct conf_network *networks;
	size_t network_count;
};

/* The settings of one scope: the top level or a block. */
struct conf_scope_values {
	struct conf_value values[CONF_COUNT];
	struct span origin; /* of the block */
	unsigned column;
};

enum conf_block_kind { BLOCK_DOMAIN, BLOCK_TRANSPORT, BLOCK_LISTENER, BLOCK_KINDS };

struct conf_block {
	struct conf_block *next;
	struct conf_scope_values *scope;
	struct span name; /* what there is one block for: a domain, a pattern, an address with its port */
	union {
		struct conf_listener listener;
		struct conf_domain domain;
		struct conf_transport transport;
	};
};

struct conf_blocks {
	struct conf_block *first, **tail;
	struct conf_block **index; /* made when parsing is done: by name, of listeners in the order of the file */
	size_t count;
};

struct conf {
	struct pool *pool;
	struct conf_scope_values *global;
	struct conf_scope_values *defaults;
	struct conf_blocks blocks[BLOCK_KINDS];
	bool version_seen;
};

/* value.c: text to value. directory: what a relative path begins at. 0 or E_SYNTAX with what is wrong (no place). */
int conf_value_parse(struct pool *pool, enum conf_setting setting, struct span text, struct span directory,
    struct conf_value *out, struct err *err);
bool conf_network_contains(const struct conf_network *network, const unsigned char address[16]);
/* "192.0.2.1" or "2001:db8::1" to 16 bytes. */
bool conf_address_parse(struct span text, unsigned char out[16]);

/* block.c: after it blocks can be found. */
int conf_blocks_index(struct conf *conf, struct err *err);
/* A transport block's pattern in lower case. 0; E_SYNTAX with what is wrong (no place); E_NOMEM. */
int conf_pattern_parse(struct pool *pool, struct span text, struct span *out, struct err *err);

/* conf.c: an empty conf with the defaults filled in. */
struct conf *conf_new(struct err *err);
/* Makes what was parsed ready for look-ups; r: of the parsing. Frees it on an error. */
int conf_finish(struct conf *conf, int r, struct conf **out, struct err *err);

/* A text to be parsed, and where it comes from. */
struct conf_source {
	struct span text, name;
	struct span directory; /* what relative paths begin at; empty: they are left alone */
	unsigned depth;	       /* includes within includes */
	/* E_NOTFOUND without a place, or an error with one; NULL: nothing can be included. */
	int (*include)(struct conf *conf, const struct conf_source *from, struct span what, struct err *err);
};

/* parse.c: adds to conf, which borrows nothing of source. */
int conf_parse_source(struct conf *conf, const struct conf_source *source, struct err *err);
/* All of an open file into a buffer whose maximum is CONF_READ more than the file's; E_TOOBIG, E_IO. */
int conf_read(int fd, const char *name, struct buf *out, struct err *err);

/* Of settings whose values may go on for several words. */
static inline bool conf_type_is_list(enum conf_type type)
{
	return type == CONF_TYPE_NETWORKS || type == CONF_TYPE_LIST;
}

#endif
