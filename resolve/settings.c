#include "resolve/settings.h"

#include "proc/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DNS_PORT = 53 };

/* The keys of the root by their digests, of 2017 and 2024: https://data.iana.org/root-anchors/root-anchors.xml (RFC 9718). */
static const char *const root_anchors[] = {
    ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

static int fail(const struct conf *conf, enum conf_setting setting, struct err *err, const char *what, struct span text)
{
	return err_set(err, E_SYNTAX, "%.*s: %s: %s: '%.*s'", SPAN_ARG(conf_origin(conf, setting, NULL)), conf_setting_info(setting)->name, what,
	    SPAN_ARG(span_sub(text, 0, 80)));
}

/* The whole of a file that master handed over; it is mapped nowhere. */
static int read_handed(struct daemon *daemon, const char *name, struct buf *out, struct err *err)
{
	int fd = daemon_file(daemon, name);
	char piece[4096];
	off_t at = 0;
	ssize_t n;

	if (fd < 0)
		return err_set(err, E_NOTFOUND, "%s was not handed over", name);
	while ((n = pread(fd, piece, sizeof(piece), at)) > 0) {
		buf_add(out, piece, (size_t)n);
		at += n;
	}
	if (n < 0 || buf_failed(out))
		return err_set(err, E_TOOBIG, "%s is larger than %d octets, or cannot be read", name, SETTINGS_ANCHORS);
	return 0;
}

static struct span take_line(struct span *text)
{
	size_t end = span_find(*text, '\n');
	struct span line = span_sub(*text, 0, end);

	*text = span_from(*text, end + 1);
	line.len = span_find(line, ';');
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	return span_trim(line);
}

/* ---- servers ---- */

static int add_server(struct settings *s, struct span text)
{
	if (s->server_count == SETTINGS_SERVERS || !conf_server_parse(text, DNS_PORT, &s->servers[s->server_count]))
		return E_SYNTAX;
	s->server_count++;
	return 0;
}

/* resolv.conf(5): its lines "nameserver ADDRESS"; one with a scope (fe80::1%eth0) cannot be used from here. */
static int load_system(struct daemon *daemon, struct settings *s, struct err *err)
{
	static const char word[] = "nameserver";
	struct buf text;
	struct span rest;
	int r;

	buf_init(&text, SETTINGS_ANCHORS);
	r = read_handed(daemon, "resolv.conf", &text, err);
	for (rest = buf_span(&text); r == 0 && rest.len > 0;) {
		struct span line = take_line(&rest);

		if (span_startswith(line, SPAN_LIT("nameserver")) && line.len > sizeof(word))
			(void)add_server(s, span_trim(span_from(line, sizeof(word) - 1)));
	}
	buf_fini(&text);
	if (r == 0 && s->server_count == 0)
		r = err_set(err, E_SYNTAX, "resolver system: /etc/resolv.conf names no name server; write their addresses in place of system, or leave resolver out");
	return r;
}

static int load_servers(struct daemon *daemon, struct settings *s, struct err *err)
{
	const struct conf *conf = daemon_conf(daemon);
	struct span list = conf_text(conf, CONF_resolver, NULL), item;

	if (span_eq(list, SPAN_LIT("system")))
		return load_system(daemon, s, err);
	while (conf_list_next(&list, &item))
		if (add_server(s, item) != 0)
			return fail(conf, CONF_resolver, err, "one too many, or no address", item);
	return 0;
}

static int load_zones(const struct conf *conf, struct settings *s, struct err *err)
{
	struct span list = conf_text(conf, CONF_resolver_zones, NULL), item, zone;

	while (conf_list_next(&list, &item)) {
		struct settings_zone *z = &s->zones[s->zone_count];

		if (s->zone_count == SETTINGS_ZONES || !conf_zone_server_parse(item, &zone, &z->server))
			return fail(conf, CONF_resolver_zones, err, "one too many, or not ZONE=ADDRESS", item);
		span_copy(zone, z->name, sizeof(z->name));
		s->zone_count++;
	}
	list = conf_text(conf, CONF_resolver_insecure, NULL);
	while (conf_list_next(&list, &item)) {
		if (s->insecure_count == SETTINGS_ZONES)
			return fail(conf, CONF_resolver_insecure, err, "one too many", item);
		span_copy(item, s->insecure[s->insecure_count++], sizeof(s->insecure[0]));
	}
	return 0;
}

/* ---- trust anchors ---- */

static void add_anchor(struct buf *out, struct span record)
{
	buf_add_span(out, record);
	buf_add_char(out, '\0');
}

static bool is_anchor(struct span line)
{
	for (struct span rest = line; rest.len > 0;) {
		size_t end = span_find(rest, ' ') < span_find(rest, '\t') ? span_find(rest, ' ') : span_find(rest, '\t');
		struct span word = span_sub(rest, 0, end);

		if (span_caseeq(word, SPAN_LIT("DS")) || span_caseeq(word, SPAN_LIT("DNSKEY")))
			return true;
		rest = span_from(rest, end + 1);
	}
	return false;
}

/* One record a line, with comments: the form of dns-root-data's root.key, of ldns and of unbound-anchor. */
static int load_anchor_file(struct daemon *daemon, struct settings *s, struct err *err)
{
	const struct conf *conf = daemon_conf(daemon);
	struct buf text;
	struct span rest;
	int r;

	buf_init(&text, SETTINGS_ANCHORS);
	r = read_handed(daemon, "resolver-trust-anchor", &text, err);
	for (rest = buf_span(&text); r == 0 && rest.len > 0;) {
		struct span line = take_line(&rest);

		if (line.len > 0 && !is_anchor(line))
			r = fail(conf, CONF_resolver_trust_anchor, err, "a line that is no DS or DNSKEY record", line);
		else if (line.len > 0)
			add_anchor(&s->anchors, line);
	}
	if (r == 0 && buf_len(&s->anchors) == 0)
		r = fail(conf, CONF_resolver_trust_anchor, err, "the file has no record", conf_text(conf, CONF_resolver_trust_anchor, NULL));
	buf_fini(&text);
	return r;
}

static int load_anchors(struct daemon *daemon, struct settings *s, struct err *err)
{
	if (conf_is_set(daemon_conf(daemon), CONF_resolver_trust_anchor, NULL))
		return load_anchor_file(daemon, s, err);
	for (size_t i = 0; i < sizeof(root_anchors) / sizeof(root_anchors[0]); i++)
		add_anchor(&s->anchors, span_str(root_anchors[i]));
	return 0;
}

/* ---- the whole ---- */

int settings_load(struct daemon *daemon, struct settings **out, struct err *err)
{
	const struct conf *conf = daemon_conf(daemon);
	struct settings *s = calloc(1, sizeof(*s));
	int r;

	*out = NULL;
	if (s == NULL)
		return err_set(err, E_NOMEM, "no memory for the resolver's settings");
	buf_init(&s->anchors, 2 * SETTINGS_ANCHORS);
	s->cache = conf_u64(conf, CONF_resolver_cache, NULL);
	s->timeout_ms = (int)conf_ms(conf, CONF_resolver_timeout, NULL);
	r = load_servers(daemon, s, err);
	if (r == 0)
		r = load_zones(conf, s, err);
	if (r == 0)
		r = load_anchors(daemon, s, err);
	if (r == 0 && buf_failed(&s->anchors))
		r = err_set(err, E_NOMEM, "no memory for trust anchors");
	if (r != 0)
		settings_free(&s);
	*out = s;
	return r;
}

void settings_free(struct settings **settings)
{
	if (*settings != NULL)
		buf_fini(&(*settings)->anchors);
	free(*settings);
	*settings = NULL;
}

static bool servers_same(const struct conf_server *a, const struct conf_server *b)
{
	return strcmp(a->host, b->host) == 0 && a->port == b->port;
}

bool settings_same(const struct settings *a, const struct settings *b)
{
	if (a->server_count != b->server_count || a->zone_count != b->zone_count || a->insecure_count != b->insecure_count || a->cache != b->cache)
		return false;
	for (size_t i = 0; i < a->server_count; i++)
		if (!servers_same(&a->servers[i], &b->servers[i]))
			return false;
	for (size_t i = 0; i < a->zone_count; i++)
		if (strcmp(a->zones[i].name, b->zones[i].name) != 0 || !servers_same(&a->zones[i].server, &b->zones[i].server))
			return false;
	for (size_t i = 0; i < a->insecure_count; i++)
		if (strcmp(a->insecure[i], b->insecure[i]) != 0)
			return false;
	return span_eq(buf_span(&a->anchors), buf_span(&b->anchors));
}

static bool is_below(struct span name, struct span zone)
{
	struct span end = name.len >= zone.len ? span_from(name, name.len - zone.len) : SPAN_LIT("");

	return span_caseeq(end, zone) && (name.len == zone.len || name.ptr[name.len - zone.len - 1] == '.');
}

static void print_server(const struct conf_server *server, size_t more, char *out, size_t size)
{
	int n = server->port == DNS_PORT ? snprintf(out, size, "%s", server->host)
	    : strchr(server->host, ':') != NULL ? snprintf(out, size, "[%s]:%u", server->host, server->port)
						: snprintf(out, size, "%s:%u", server->host, server->port);

	if (more > 0 && (size_t)n < size)
		snprintf(out + n, size - (size_t)n, " and %zu more", more);
}

void settings_describe(const struct settings *settings, struct span name, char *out, size_t size)
{
	for (size_t i = 0; i < settings->zone_count; i++)
		if (is_below(name, span_str(settings->zones[i].name))) {
			print_server(&settings->zones[i].server, 0, out, size);
			return;
		}
	if (settings->server_count > 0)
		print_server(&settings->servers[0], settings->server_count - 1, out, size);
	else
		snprintf(out, size, "the name servers of the domain");
}
