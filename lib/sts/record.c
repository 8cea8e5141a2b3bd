/* The TXT record that says that there is a policy, and which. */
#include "sts/private.h"

enum { FIELD_NAME_MAX = 32 };

static const struct span version = SPAN_LIT("v=STSv1");

bool sts_is_field_name(struct span name)
{
	if (name.len == 0 || name.len > FIELD_NAME_MAX || !ascii_is_alnum(name.ptr[0]))
		return false;
	for (size_t i = 1; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && name.ptr[i] != '_' && name.ptr[i] != '-' && name.ptr[i] != '.')
			return false;
	return true;
}

/* sts-ext-value = 1*(%x21-3A / %x3C / %x3E-7E); the ";" has ended it before. */
static bool is_value(struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] < 0x21 || value.ptr[i] > 0x7e || value.ptr[i] == '=')
			return false;
	return value.len > 0;
}

static bool is_id(struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if (!ascii_is_alnum(value.ptr[i]))
			return false;
	return value.len > 0 && value.len <= STS_ID_MAX;
}

/* sts-field = sts-id / sts-extension. Of several ids the first counts. */
static bool take_field(struct span field, char id[STS_ID_MAX + 1])
{
	size_t equals = span_find(field, '=');
	struct span name = span_sub(field, 0, equals), value = span_from(field, equals + 1);

	if (equals == field.len || !sts_is_field_name(name) || !is_value(value))
		return false;
	if (!span_eq(name, SPAN_LIT("id")) || id[0] != '\0')
		return true;
	if (!is_id(value))
		return false;
	span_copy(value, id, STS_ID_MAX + 1);
	return true;
}

/* sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim] */
int sts_record_parse(struct span text, char id[STS_ID_MAX + 1], struct err *err)
{
	struct span rest = span_trim(span_from(text, version.len));

	id[0] = '\0';
	if (!span_startswith(text, version) || rest.len == 0 || rest.ptr[0] != ';')
		return err_set(err, E_NOTFOUND, "no TXT record begins with \"v=STSv1;\"");
	while (rest.len > 0) {
		struct span field;

		rest = span_from(rest, 1);
		field = span_trim(span_sub(rest, 0, span_find(rest, ';')));
		rest = span_from(rest, span_find(rest, ';'));
		if (field.len == 0 && rest.len == 0)
			break;
		if (!take_field(field, id))
			return err_set(err, E_SYNTAX, "the TXT record has a malformed field");
	}
	return id[0] != '\0' ? 0 : err_set(err, E_SYNTAX, "the TXT record has no id");
}

int sts_records_read(struct span records, char id[STS_ID_MAX + 1], struct err *err)
{
	int found = err_set(err, E_NOTFOUND, "no TXT record begins with \"v=STSv1;\"");
	char text[STS_RECORD_MAX], one[STS_ID_MAX + 1];
	struct span rdata;
	size_t len;

	id[0] = '\0';
	while (dns_record_next(&records, &rdata)) {
		struct err why = {0};
		int r = dns_txt_parse(rdata, text, sizeof(text), &len) ? sts_record_parse(span_of(text, len), one, &why) : E_NOTFOUND;

		if (r == E_NOTFOUND)
			continue;
		if (found != E_NOTFOUND)
			return err_set(err, E_SYNTAX, "there is more than one TXT record of a policy");
		found = r == 0 ? 0 : err_set(err, r, "%s", why.text);
		memcpy(id, one, sizeof(one));
	}
	return found;
}
