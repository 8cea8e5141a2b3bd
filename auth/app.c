#include "auth/app.h"

#include "base/encode.h"
#include "base/utf8.h"

#include <sodium.h>
#include <string.h>

/* Without l, which looks like 1 and I. */
static const char letters[] = "abcdefghijkmnopqrstuvwxyz";

static const char *const protocols[] = {"imap", "pop3", "submission"};

static unsigned protocol_bit(struct span name)
{
	for (unsigned i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (span_eq(name, span_str(protocols[i])))
			return 1u << i;
	return 0;
}

bool app_protocols_parse(struct span text, unsigned *out)
{
	*out = text.len == 0 ? APP_PROTOCOLS_ALL : 0;
	while (text.len > 0) {
		size_t end = span_find(text, ',');
		unsigned bit = protocol_bit(span_sub(text, 0, end));

		if (bit == 0 || end + 1 == text.len)
			return false;
		*out |= bit;
		text = span_from(text, end + 1);
	}
	return true;
}

void app_protocols_format(unsigned set, struct buf *out)
{
	const char *comma = "";

	for (unsigned i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if ((set & 1u << i) != 0) {
			buf_printf(out, "%s%s", comma, protocols[i]);
			comma = ",";
		}
}

bool app_label_check(struct span label)
{
	for (size_t i = 0; i < label.len; i++)
		if ((unsigned char)label.ptr[i] < ' ' || label.ptr[i] == 0x7f)
			return false;
	return label.len > 0 && label.len <= DIRECTORY_LABEL_MAX && span_trim(label).len == label.len && utf8_is_valid(label);
}

static void hash_of(const struct app_password *app, const char plain[APP_LETTERS], unsigned char out[APP_HASH])
{
	crypto_generichash(out, APP_HASH, (const unsigned char *)plain, APP_LETTERS, app->salt, APP_SALT);
}

void app_password_make(struct app_password *app, char text[APP_TEXT])
{
	char plain[APP_LETTERS], *at = text;

	randombytes_buf(app->salt, APP_SALT);
	for (unsigned i = 0; i < APP_LETTERS; i++) {
		plain[i] = letters[randombytes_uniform(sizeof(letters) - 1)];
		if (i > 0 && i % APP_GROUP == 0)
			*at++ = '-';
		*at++ = plain[i];
	}
	*at = '\0';
	hash_of(app, plain, app->hash);
	explicit_bzero(plain, sizeof(plain));
}

/* What is typed without hyphens and blanks, in lower case; false: it is no app password. */
static bool take_plain(struct span password, char plain[APP_LETTERS])
{
	unsigned count = 0;

	for (size_t i = 0; i < password.len; i++) {
		char c = ascii_lower(password.ptr[i]);

		if (c == '-' || c == ' ')
			continue;
		if (count == APP_LETTERS || c == '\0' || strchr(letters, c) == NULL)
			return false;
		plain[count++] = c;
	}
	return count == APP_LETTERS;
}

struct search {
	char plain[APP_LETTERS];
	unsigned protocol;
	struct app_password *out;
};

static int look_at(void *arg, const struct app_password *app)
{
	struct search *s = arg;
	unsigned char hash[APP_HASH];

	if ((app->protocols & s->protocol) == 0)
		return 0;
	hash_of(app, s->plain, hash);
	if (sodium_memcmp(hash, app->hash, APP_HASH) != 0)
		return 0;
	*s->out = *app;
	return 1;
}

bool app_password_find(struct directory *d, uint64_t account, struct span service, struct span password, struct app_password *out)
{
	struct search s = {.protocol = protocol_bit(service), .out = out};
	bool found = s.protocol != 0 && take_plain(password, s.plain) && directory_app_each(d, account, look_at, &s) == 1;

	explicit_bzero(s.plain, sizeof(s.plain));
	return found;
}

void app_hash_format(const struct app_password *app, struct buf *out)
{
	base64_encode(out, span_of(app->salt, APP_SALT));
	buf_add_char(out, ':');
	base64_encode(out, span_of(app->hash, APP_HASH));
}

static bool take_bytes(struct span text, unsigned char *out, size_t size)
{
	struct buf bytes;
	bool fits;

	buf_init(&bytes, APP_HASH + 2);
	fits = base64_decode(&bytes, text) == 0 && buf_len(&bytes) == size;
	if (fits)
		memcpy(out, buf_span(&bytes).ptr, size);
	buf_fini(&bytes);
	return fits;
}

bool app_hash_parse(struct span text, struct app_password *out)
{
	size_t colon = span_find(text, ':');

	return take_bytes(span_sub(text, 0, colon), out->salt, APP_SALT) && take_bytes(span_from(text, colon + 1), out->hash, APP_HASH);
}
