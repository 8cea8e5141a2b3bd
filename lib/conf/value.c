/* From the text of a value to the value. */
#include "conf/private.h"

#include <arpa/inet.h>
#include <stdio.h>

struct unit {
	const char *suffix;
	uint64_t factor;
};

static const struct unit size_units[] = {{"K", 1ULL << 10}, {"M", 1ULL << 20}, {"G", 1ULL << 30}, {"T", 1ULL << 40}, {"", 1},
    {NULL, 0}};
static const struct unit time_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000},
    {NULL, 0}};

static bool parse_with_unit(struct span text, const struct unit *units, uint64_t *out)
{
	size_t digits = 0;
	struct span suffix;
	uint64_t n;

	while (digits < text.len && ascii_is_digit(text.ptr[digits]))
		digits++;
	if (!span_u64(span_sub(text, 0, digits), UINT64_MAX / 2, &n))
		return false;
	suffix = span_from(text, digits);
	for (; units->suffix != NULL; units++)
		if (span_eq(suffix, span_str(units->suffix)))
			return !__builtin_mul_overflow(n, units->factor, out) && *out <= INT64_MAX;
	return false;
}

bool conf_parse_size(struct span text, uint64_t *bytes)
{
	return parse_with_unit(text, size_units, bytes);
}

bool conf_parse_time(struct span text, uint64_t *ms)
{
	return parse_with_unit(text, time_units, ms);
}

bool conf_address_parse(struct span text, unsigned char out[16])
{
	char copy[64];
	struct in_addr v4;

	/* inet_pton would not see what stands behind a NUL. */
	if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len) != NULL)
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	if (inet_pton(AF_INET, copy, &v4) == 1) {
		static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

		memcpy(out, mapped, 12);
		memcpy(out + 12, &v4, 4);
		return true;
	}
	return inet_pton(AF_INET6, copy, out) == 1;
}

bool conf_parse_host(struct span text, struct span *host, uint16_t *port)
{
	size_t colon = text.len;
	uint64_t number;

	while (colon > 0 && text.ptr[colon - 1] != ':')
		colon--;
	if (colon == 0 || !span_u64(span_from(text, colon), 65535, &number) || number == 0)
		return false;
	*host = span_sub(text, 0, colon - 1);
	if (host->len >= 2 && host->ptr[0] == '[' && host->ptr[host->len - 1] == ']')
		*host = span_sub(*host, 1, host->len - 2);
	*port = (uint16_t)number;
	return true;
}

static bool parse_network(struct span text, struct conf_network *out)
{
	size_t slash = span_find(text, '/');
	struct span address = span_sub(text, 0, slash);
	bool v4 = span_find(address, ':') == address.len;
	uint64_t bits = v4 ? 32 : 128;

	if (!conf_address_parse(address, out->address))
		return false;
	if (slash < text.len && !span_u64(span_from(text, slash + 1), bits, &bits))
		return false;
	out->bits = (unsigned)bits + (v4 ? 96 : 0);
	return true;
}

bool conf_network_contains(const struct conf_network *network, const unsigned char address[16])
{
	unsigned whole = network->bits / 8, rest = network->bits % 8;
	unsigned char mask = (unsigned char)(0xff00 >> rest);

	if (memcmp(network->address, address, whole) != 0)
		return false;
	return rest == 0 || ((network->address[whole] ^ address[whole]) & mask) == 0;
}

static int parse_networks(struct pool *pool, struct span text, struct conf_value *out, struct err *err)
{
	size_t count = 1;

	for (size_t i = 0; i < text.len; i++)
		count += text.ptr[i] == ' ';
	if (count > CONF_NETWORKS_MAX)
		return err_set(err, E_SYNTAX, "more than %d networks", CONF_NETWORKS_MAX);
	out->networks = pool_array(pool, count, sizeof(*out->networks));
	if (out->networks == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	while (text.len > 0) {
		size_t end = span_find(text, ' ');
		struct span one = span_sub(text, 0, end);

		if (one.len > 0 && !parse_network(one, &out->networks[out->network_count++]))
			return err_set(err, E_SYNTAX, "'%.*s' is not an address or a network such as 192.0.2.0/24",
			    SPAN_ARG(one));
		text = span_from(text, end + 1);
	}
	return 0;
}

static int parse_bool(struct span text, struct conf_value *out, struct err *err)
{
	static const char *const yes[] = {"yes", "on", "true"}, *const no[] = {"no", "off", "false"};

	for (size_t i = 0; i < 3; i++)
		if (span_eq(text, span_str(yes[i])) || span_eq(text, span_str(no[i]))) {
			out->number = span_eq(text, span_str(yes[i]));
			return 0;
		}
	return err_set(err, E_SYNTAX, "'%.*s' is neither yes nor no", SPAN_ARG(text));
}

/* values: "normal | strict". */
static int check_word(const char *values, struct span text, struct err *err)
{
	struct span rest = span_str(values);

	while (rest.len > 0) {
		size_t end = span_find(rest, ' ');

		if (span_eq(span_sub(rest, 0, end), text))
			return 0;
		rest = span_from(rest, end + strlen(" | "));
	}
	return err_set(err, E_SYNTAX, "'%.*s' is none of: %s", SPAN_ARG(span_sub(text, 0, 60)), values);
}

/* As a word each, and one at least; values "": whatever they are. */
static int check_items(const char *values, struct span list, struct err *err)
{
	struct span item = {0};
	int r = 0;

	if (values[0] == '\0')
		return 0;
	if (!conf_list_next(&list, &item))
		return check_word(values, item, err);
	do
		r = check_word(values, item, err);
	while (r == 0 && conf_list_next(&list, &item));
	return r;
}

/* values: "1-1000", "1K-", "-1m", or "" for any; units: of the setting's type. */
static int check_range(const char *values, const struct unit *units, uint64_t n, struct err *err)
{
	struct span all = span_str(values);
	size_t dash = span_find(all, '-');
	struct span from = span_sub(all, 0, dash), to = span_from(all, dash + 1);
	uint64_t least = 0, most = UINT64_MAX;

	if (from.len > 0)
		parse_with_unit(from, units, &least);
	if (to.len > 0)
		parse_with_unit(to, units, &most);
	if (n >= least && n <= most)
		return 0;
	if (from.len == 0 || to.len == 0)
		return err_set(err, E_SYNTAX, "must be at %s %.*s", to.len > 0 ? "most" : "least", SPAN_ARG(to.len > 0 ? to : from));
	return err_set(err, E_SYNTAX, "must be from %.*s to %.*s", SPAN_ARG(from), SPAN_ARG(to));
}

static int parse_path(struct pool *pool, struct span text, struct span directory, struct conf_value *out,
    struct err *err)
{
	char *path;

	if (text.len == 0 || text.ptr[0] == '/' || directory.len == 0)
		return 0;
	path = pool_alloc(pool, directory.len + text.len + 2);
	if (path == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	snprintf(path, directory.len + text.len + 2, "%.*s/%.*s", SPAN_ARG(directory), SPAN_ARG(text));
	out->text = span_str(path);
	return 0;
}

int conf_value_parse(struct pool *pool, enum conf_setting setting, struct span text, struct span directory,
    struct conf_value *out, struct err *err)
{
	const char *values = conf_setting_info(setting)->values;

	out->text = text;
	switch (conf_setting_info(setting)->type) {
	case CONF_TYPE_WORD:
		return check_word(values, text, err);
	case CONF_TYPE_NUMBER:
		if (!span_u64(text, INT64_MAX, &out->number))
			return err_set(err, E_SYNTAX, "'%.*s' is not a number", SPAN_ARG(text));
		return check_range(values, size_units, out->number, err);
	case CONF_TYPE_SIZE:
		if (!conf_parse_size(text, &out->number))
			return err_set(err, E_SYNTAX, "'%.*s' is not a size such as 500K, 10M or 5G", SPAN_ARG(text));
		return check_range(values, size_units, out->number, err);
	case CONF_TYPE_TIME:
		if (!conf_parse_time(text, &out->number))
			return err_set(err, E_SYNTAX, "'%.*s' is not a time such as 30s, 5m, 4h or 5d", SPAN_ARG(text));
		return check_range(values, time_units, out->number, err);
	case CONF_TYPE_BOOL:
		return parse_bool(text, out, err);
	case CONF_TYPE_NETWORKS:
		return parse_networks(pool, text, out, err);
	case CONF_TYPE_PATH:
		return parse_path(pool, text, directory, out, err);
	case CONF_TYPE_LIST:
		return check_items(values, text, err);
	case CONF_TYPE_TEXT:
		break;
	}
	return 0;
}
