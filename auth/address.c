#include "auth/address.h"

#include "base/utf8.h"

#include <idn2.h>
#include <stdlib.h>
#include <utf8proc.h>

static int add_local(struct span local, struct buf *out, struct err *err)
{
	utf8proc_uint8_t *folded = NULL;
	utf8proc_ssize_t n;

	if (utf8_is_ascii(local)) {
		for (size_t i = 0; i < local.len; i++)
			buf_add_char(out, ascii_lower(local.ptr[i]));
		return 0;
	}
	n = utf8proc_map((const utf8proc_uint8_t *)local.ptr, (utf8proc_ssize_t)local.len, &folded,
	    UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_REJECTNA);
	if (n == UTF8PROC_ERROR_NOMEM)
		return err_set(err, E_NOMEM, "out of memory");
	if (n < 0)
		return err_set(err, E_SYNTAX, "the address is not valid UTF-8");
	buf_add(out, folded, (size_t)n);
	free(folded);
	return 0;
}

static int add_domain(struct span domain, struct buf *out, struct err *err)
{
	char text[256], *ascii = NULL;
	int r;

	if (domain.len == 0 || domain.len > 253 || domain.len >= sizeof(text))
		return err_set(err, E_SYNTAX, "the domain is empty or too long");
	if (utf8_is_ascii(domain)) {
		for (size_t i = 0; i < domain.len; i++)
			buf_add_char(out, ascii_lower(domain.ptr[i]));
		return 0;
	}
	memcpy(text, domain.ptr, domain.len);
	text[domain.len] = '\0';
	r = idn2_to_ascii_8z(text, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
	if (r == IDN2_MALLOC)
		return err_set(err, E_NOMEM, "out of memory");
	if (r != IDN2_OK)
		return err_set(err, E_SYNTAX, "the domain is not a valid internationalised name");
	buf_add_str(out, ascii);
	idn2_free(ascii);
	return 0;
}

int address_canonical(struct span address, char *out, struct err *err)
{
	size_t at = address.len;
	struct buf text;
	int r;

	while (at > 0 && address.ptr[at - 1] != '@')
		at--;
	if (at < 2 || address.len > DIRECTORY_ADDRESS_MAX || memchr(address.ptr, '\0', address.len) != NULL)
		return err_set(err, E_SYNTAX, "an address is written local-part@domain");
	for (size_t i = 0; i < address.len; i++)
		if ((unsigned char)address.ptr[i] < ' ' || address.ptr[i] == 0x7f)
			return err_set(err, E_SYNTAX, "control characters in an address");
	buf_init(&text, DIRECTORY_ADDRESS_MAX);
	/* All of it at once: what fails later is too long, and that is for good. */
	if (buf_reserve(&text, DIRECTORY_ADDRESS_MAX) == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	r = add_local(span_sub(address, 0, at - 1), &text, err);
	buf_add_char(&text, '@');
	if (r == 0)
		r = add_domain(span_from(address, at), &text, err);
	if (r == 0 && buf_failed(&text))
		r = err_set(err, E_SYNTAX, "the address is too long");
	if (r == 0)
		span_copy(buf_span(&text), out, DIRECTORY_ADDRESS_MAX + 1);
	buf_fini(&text);
	return r;
}

static bool is_dot_string(struct span local)
{
	if (local.len > 64 || local.ptr[0] == '.' || local.ptr[local.len - 1] == '.')
		return false;
	for (size_t i = 0; i < local.len; i++) {
		char c = local.ptr[i];

		if (!ascii_is_alnum(c) && strchr("!#$%&'*+-/=?^_`{|}~.", c) == NULL && (unsigned char)c < 0x80)
			return false;
		if (c == '.' && local.ptr[i + 1] == '.')
			return false;
	}
	return true;
}

int address_check(const char *address, struct err *err)
{
	const char *at = strrchr(address, '@');

	if (!is_dot_string(span_of(address, (size_t)(at - address))))
		return err_set(err, E_SYNTAX, "%.100s: what stands before the @ is longer than 64 octets, or would need quotes in SMTP", address);
	if (!span_is_host_name(span_str(at + 1)))
		return err_set(err, E_SYNTAX, "%.100s: %.60s is not a domain name", address, at + 1);
	return 0;
}

int domain_canonical(struct span name, char *out, struct err *err)
{
	struct buf text;
	int r;

	buf_init(&text, DIRECTORY_ADDRESS_MAX);
	if (buf_reserve(&text, DIRECTORY_ADDRESS_MAX) == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	r = add_domain(name, &text, err);
	span_copy(buf_span(&text), out, DIRECTORY_ADDRESS_MAX + 1);
	buf_fini(&text);
	/* Also what begins with a NUL: strspn would not see the rest. */
	if (r == 0 && (out[0] == '\0' || memchr(name.ptr, '\0', name.len) != NULL))
		r = err_set(err, E_SYNTAX, "a domain name is missing, or has a NUL in it");
	if (r == 0 && strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(out))
		r = err_set(err, E_SYNTAX, "%s is not a domain name", out);
	return r;
}

int addresses_canonical(const struct span *targets, size_t count, struct buf *out, struct err *err)
{
	size_t total = 0;

	for (size_t i = 0; i < count; i++) {
		char one[DIRECTORY_ADDRESS_MAX + 1];
		int r = address_canonical(targets[i], one, err);

		if (r == 0)
			r = address_check(one, err);
		if (r != 0)
			return r;
		buf_add(out, one, strlen(one) + 1);
		total += strlen(one) + 1;
	}
	if (count > DIRECTORY_TARGETS_MAX || total > DIRECTORY_ALIAS_MAX)
		return err_set(err, E_TOOBIG, "too many targets");
	return buf_failed(out) ? err_set(err, E_NOMEM, "out of memory") : 0;
}
