/* The file that is the policy. */
#include "sts/private.h"

enum { AGE_DIGITS = 10 };

static const char *const modes[] = {[STS_NONE] = "none", [STS_TESTING] = "testing", [STS_ENFORCE] = "enforce"};

/* What has been seen of a file. */
struct reading {
	struct sts_policy *policy;
	size_t used; /* octets of names */
	bool version, mode, max_age;
	struct err *err;
};

/* ---- fields: of those that are given twice the first counts, but for mx ---- */

static int take_version(struct reading *r, struct span value)
{
	if (r->version)
		return 0;
	r->version = true;
	return span_eq(value, SPAN_LIT("STSv1")) ? 0 : err_set(r->err, E_SYNTAX, "the policy's version is not STSv1");
}

static int take_mode(struct reading *r, struct span value)
{
	if (r->mode)
		return 0;
	r->mode = true;
	for (enum sts_mode mode = STS_NONE; mode <= STS_ENFORCE; mode++)
		if (span_eq(value, span_str(modes[mode]))) {
			r->policy->mode = mode;
			return 0;
		}
	return err_set(r->err, E_SYNTAX, "the policy's mode is none that is known");
}

static int take_max_age(struct reading *r, struct span value)
{
	uint64_t seconds;

	if (r->max_age)
		return 0;
	r->max_age = true;
	if (value.len > AGE_DIGITS || !span_u64(value, UINT64_MAX, &seconds))
		return err_set(r->err, E_SYNTAX, "the policy's max_age is no number of seconds");
	r->policy->max_age = seconds < STS_AGE_MAX ? (uint32_t)seconds : STS_AGE_MAX;
	return 0;
}

/* sts-policy-mx-value = ["*."] Domain, in A-labels: what is not ASCII is no name here, whatever it might be turned into. */
static bool read_pattern(struct span value, char out[DNS_NAME_TEXT + 2])
{
	bool wild = span_startswith(value, SPAN_LIT("*."));
	struct span domain = span_from(value, wild ? 2 : 0);

	for (size_t i = 0; i < domain.len; i++)
		if ((unsigned char)domain.ptr[i] >= 0x80)
			return false;
	memcpy(out, "*.", 2);
	return dns_name_normalize(domain, out + (wild ? 2 : 0)) == 0;
}

static int take_mx(struct reading *r, struct span value)
{
	struct sts_policy *policy = r->policy;
	char pattern[DNS_NAME_TEXT + 2];
	size_t size;

	if (!read_pattern(value, pattern))
		return err_set(r->err, E_SYNTAX, "a mx of the policy is no name of a host");
	size = strlen(pattern) + 1;
	if (policy->mx_count == STS_MX_MAX || size > STS_NAMES_MAX - r->used)
		return err_set(r->err, E_LIMIT, "the policy names too many hosts");
	policy->mx_at[policy->mx_count++] = (uint16_t)r->used;
	memcpy(policy->names + r->used, pattern, size);
	r->used += size;
	return 0;
}

static const struct {
	const char *name;
	int (*take)(struct reading *r, struct span value);
} fields[] = {{"version", take_version}, {"mode", take_mode}, {"max_age", take_max_age}, {"mx", take_mx}};

/* ---- lines ---- */

/* sts-policy-field = name ":" *WSP value *WSP */
static int take_line(struct reading *r, struct span line)
{
	size_t colon = span_find(line, ':');
	struct span name = span_sub(line, 0, colon), value = span_trim(span_from(line, colon + 1));

	if (colon == line.len || !sts_is_field_name(name))
		return err_set(r->err, E_SYNTAX, "the policy has a line that is no field");
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (span_eq(name, span_str(fields[i].name)))
			return fields[i].take(r, value);
	return 0;
}

static int missing(const struct reading *r)
{
	const char *what = !r->version ? "version" : !r->mode ? "mode" : !r->max_age ? "max_age" : NULL;

	if (what == NULL && r->policy->mx_count == 0 && r->policy->mode != STS_NONE)
		what = "mx";
	return what == NULL ? 0 : err_set(r->err, E_SYNTAX, "the policy has no %s", what);
}

int sts_policy_parse(struct span text, struct sts_policy *out, struct err *err)
{
	struct reading r = {.policy = out, .err = err};
	int code = 0;

	*out = (struct sts_policy){0};
	if (text.len > STS_FILE_MAX)
		return err_set(err, E_TOOBIG, "the policy is longer than %d octets", STS_FILE_MAX);
	while (text.len > 0 && code == 0) {
		size_t end = span_find(text, '\n');
		struct span line = span_sub(text, 0, end);

		text = span_from(text, end + 1);
		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (span_trim(line).len > 0)
			code = take_line(&r, line);
	}
	return code == 0 ? missing(&r) : code;
}

void sts_policy_format(const struct sts_policy *policy, struct buf *out)
{
	buf_printf(out, "version: STSv1\nmode: %s\nmax_age: %u\n", modes[policy->mode], policy->max_age);
	for (size_t i = 0; i < policy->mx_count; i++)
		buf_printf(out, "mx: %s\n", sts_policy_mx(policy, i));
}

/* ---- what it says ---- */

bool sts_type_is_text(struct span content_type)
{
	return span_caseeq(span_trim(span_sub(content_type, 0, span_find(content_type, ';'))), SPAN_LIT("text/plain"));
}

const char *sts_policy_mx(const struct sts_policy *policy, size_t place)
{
	return policy->names + policy->mx_at[place];
}

static bool fits(struct span pattern, struct span host)
{
	if (!span_startswith(pattern, SPAN_LIT("*.")))
		return span_caseeq(pattern, host);
	return span_find(host, '.') > 0 && span_caseeq(span_from(pattern, 1), span_from(host, span_find(host, '.')));
}

bool sts_policy_matches(const struct sts_policy *policy, const char *host)
{
	for (size_t i = 0; i < policy->mx_count; i++)
		if (fits(span_str(sts_policy_mx(policy, i)), span_str(host)))
			return true;
	return false;
}

const char *sts_mode_name(enum sts_mode mode)
{
	return modes[mode];
}
