/*
 * The configuration: one text file, read into a checked tree.
 *
 * All settings stand in schema.def; the parser, `config explain`, the man page
 * and the completion are made from it. Values are found by scope: domain, listener
 * or transport block first, then the top level, then the default. Setting something
 * twice in one scope is an error that names both places.
 */
#ifndef MW_CONF_CONF_H
#define MW_CONF_CONF_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct conf;

enum conf_setting {
#define SETTING(id, name, type, values, scopes, default_text, sentence) CONF_##id,
#include "conf/schema.def"
	CONF_COUNT
};

enum conf_type { CONF_TYPE_TEXT, CONF_TYPE_WORD, CONF_TYPE_NUMBER, CONF_TYPE_SIZE, CONF_TYPE_TIME, CONF_TYPE_BOOL,
	CONF_TYPE_NETWORKS, CONF_TYPE_PATH, CONF_TYPE_LIST };

/* Where a setting may stand; bits. */
enum conf_scope { CONF_SCOPE_GLOBAL = 1, CONF_SCOPE_DOMAIN = 2, CONF_SCOPE_LISTENER = 4, CONF_SCOPE_TRANSPORT = 8 };

enum { CONF_PLACES = 80, CONF_PATTERN_MAX = 254 };

/* `listen SERVICE on ADDRESS:PORT { ... }` */
struct conf_listener {
	struct span service; /* smtp, imap, imaps, lmtp */
	struct span address; /* as written, "127.0.0.1:25" or "[::1]:25" */
	struct span host;
	uint16_t port;
	uint32_t index; /* for conf_listener_* */
};

/* `domain NAME { ... }` */
struct conf_domain {
	struct span name; /* lower case A-label */
	uint32_t index;
};

/* `transport PATTERN { ... }` */
struct conf_transport {
	struct span pattern; /* "example.com", "*.example.com", "user@example.com" or "*", in lower case */
	uint32_t index;
};

/* Which scope to look in first. {0} is the top level alone. */
struct conf_where {
	const struct conf_domain *domain;
	const struct conf_listener *listener;
	const struct conf_transport *transport;
};

/*
 * Reads a file with its includes. On error *err names file, line, column, and
 * the nearest valid name. What conf_* return borrows the conf.
 */
int conf_load(const char *path, struct conf **out, struct err *err);
/*
 * Can a suite work with it? Values that no daemon could use, and what is wrong although each of
 * its lines is right. path: of the file that was loaded, for what stands nowhere. 0 or E_SYNTAX.
 */
int conf_check(const struct conf *conf, const char *path, struct err *err);
/* Text in memory (no includes); name is used in errors. */
int conf_parse(struct span text, const char *name, struct conf **out, struct err *err);
/* The whole of an open file (what master hands to daemons), written by conf_dump. */
int conf_load_fd(int fd, struct conf **out, struct err *err);
void conf_free(struct conf **conf);

/* The flattened canonical text: conf_parse of it gives the same values. */
void conf_dump(const struct conf *conf, struct buf *out);

struct span conf_text(const struct conf *conf, enum conf_setting setting, const struct conf_where *where);
uint64_t conf_u64(const struct conf *conf, enum conf_setting setting, const struct conf_where *where); /* numbers; sizes in bytes */
int64_t conf_ms(const struct conf *conf, enum conf_setting setting, const struct conf_where *where);   /* times, milliseconds */
bool conf_bool(const struct conf *conf, enum conf_setting setting, const struct conf_where *where);
/* Is the address (sockaddr as text, "192.0.2.1" or IPv6) inside the networks of the setting? */
bool conf_in_networks(const struct conf *conf, enum conf_setting setting, const struct conf_where *where, struct span address);

/* Is there somebody who can tell whether a bearer token is good? */
bool conf_takes_tokens(const struct conf *conf);

size_t conf_listener_count(const struct conf *conf);
const struct conf_listener *conf_listener(const struct conf *conf, size_t i);
/* By service and address as written; NULL. Daemons use it to find the block of a listener they hold. */
const struct conf_listener *conf_listener_find(const struct conf *conf, struct span service, struct span address);
size_t conf_domain_count(const struct conf *conf);
const struct conf_domain *conf_domain(const struct conf *conf, size_t i);
const struct conf_domain *conf_domain_find(const struct conf *conf, struct span name);

/* Does any domain have users of this machine (the setting accounts)? */
bool conf_has_system_users(const struct conf *conf);

size_t conf_transport_count(const struct conf *conf);
const struct conf_transport *conf_transport(const struct conf *conf, size_t i);
const struct conf_transport *conf_transport_find(const struct conf *conf, struct span pattern);
/*
 * The block that holds for an address, its domain in A-labels: that of the address, else of its domain, else of the nearest
 * domain above with an asterisk, else of the asterisk alone; NULL. Letters of the local part count alike.
 */
const struct conf_transport *conf_transport_for(const struct conf *conf, struct span address);

/* Whether it is set in this scope itself, not taken over from the top level. */
bool conf_is_set(const struct conf *conf, enum conf_setting setting, const struct conf_where *where);
/* Where a value came from: "file:line" or "default". Borrowed. */
struct span conf_origin(const struct conf *conf, enum conf_setting setting, const struct conf_where *where);

/* A size in bytes, "500M"; a time in milliseconds, "5m", as values of the settings are written. */
bool conf_parse_size(struct span text, uint64_t *bytes);
bool conf_parse_time(struct span text, uint64_t *ms);
/* "mail.example.org:587", "192.0.2.1:25", "[2001:db8::1]:25"; host without the brackets. Borrows text. */
bool conf_parse_host(struct span text, struct span *host, uint16_t *port);

/* The next item of a LIST, taken off it; false after the last. */
bool conf_list_next(struct span *list, struct span *item);

/* A server of others: 192.0.2.1, 192.0.2.1:53, 2001:db8::1 or [2001:db8::1]:53. */
struct conf_server {
	char host[64]; /* an address */
	uint16_t port;
};
/* port: when none is written. */
bool conf_server_parse(struct span text, uint16_t port, struct conf_server *out);
/* ZONE=SERVER, a name server's. zone: borrowed from text. */
bool conf_zone_server_parse(struct span text, struct span *zone, struct conf_server *out);

/* The schema itself, for documents and commands. */
struct conf_setting_info {
	const char *name;
	enum conf_type type;
	const char *values; /* as in the schema */
	unsigned scopes;
	const char *default_text;
	const char *sentence;
};

const struct conf_setting_info *conf_setting_info(enum conf_setting setting);
/* "at the top level or in a domain block". */
void conf_places(unsigned scopes, char out[CONF_PLACES]);
/* By name; false when there is none, and then *near is the one that is probably meant, or NULL. */
bool conf_setting_find(struct span name, enum conf_setting *out, const char **near);

#endif
