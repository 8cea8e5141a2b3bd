/* The list of paused destinations: text for people, and a checksum that queue alone can make. */
#include "spool/spool.h"

#include "base/bytes.h"
#include "base/encode.h"

#include <sodium.h>
#include <stdio.h>

enum { PAUSED_MAC = 16, PAUSED_PURPOSE = 4 /* those before it are the journal's */ };

static const struct span first_line = SPAN_LIT("mailwain-paused 1\n"), seal_word = SPAN_LIT("checksum ");

enum { SEAL_LINE = 9 + 2 * PAUSED_MAC + 1 };

static void make_mac(const unsigned char key[SPOOL_KEY], struct span text, unsigned char out[PAUSED_MAC])
{
	crypto_generichash_state state;
	unsigned char numbers[32] = {0};

	put_le(numbers, PAUSED_PURPOSE, 8);
	put_le(numbers + 8, text.len, 8);
	crypto_generichash_init(&state, key, SPOOL_KEY, PAUSED_MAC);
	crypto_generichash_update(&state, numbers, sizeof(numbers));
	crypto_generichash_update(&state, (const unsigned char *)text.ptr, text.len);
	crypto_generichash_final(&state, out, PAUSED_MAC);
}

bool spool_paused_is_name(struct span name)
{
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] < ' ' || name.ptr[i] == 0x7f)
			return false;
	return name.len > 0 && name.len <= SPOOL_PAUSED_NAME;
}

int spool_paused_encode(const struct span *names, size_t count, const unsigned char key[SPOOL_KEY], struct buf *out)
{
	unsigned char mac[PAUSED_MAC];

	if (count > SPOOL_PAUSED_MAX)
		return E_LIMIT;
	buf_add_span(out, first_line);
	for (size_t i = 0; i < count; i++) {
		if (!spool_paused_is_name(names[i]))
			return E_SYNTAX;
		buf_add_span(out, names[i]);
		buf_add_char(out, '\n');
	}
	make_mac(key, buf_span(out), mac);
	buf_add_span(out, seal_word);
	for (size_t i = 0; i < sizeof(mac); i++)
		buf_printf(out, "%02x", mac[i]);
	buf_add_char(out, '\n');
	return buf_failed(out) ? E_NOMEM : 0;
}

/* Takes the last line off, which must fit what is before it. */
static bool take_seal(struct span *text, const unsigned char key[SPOOL_KEY])
{
	unsigned char mac[PAUSED_MAC], seal[PAUSED_MAC];
	struct span body, line;

	if (text->len < SEAL_LINE || text->len > SPOOL_PAUSED_SIZE)
		return false;
	body = span_sub(*text, 0, text->len - SEAL_LINE);
	line = span_from(*text, body.len);
	if (!span_startswith(line, seal_word) || line.ptr[SEAL_LINE - 1] != '\n' ||
	    hex_decode(span_sub(line, seal_word.len, sizeof(seal) * 2), seal, sizeof(seal)) != 0)
		return false;
	make_mac(key, body, mac);
	*text = body;
	return sodium_memcmp(mac, seal, sizeof(mac)) == 0;
}

int spool_paused_decode(struct span text, const unsigned char key[SPOOL_KEY], struct span names[SPOOL_PAUSED_MAX], size_t *count, struct err *err)
{
	*count = 0;
	if (!take_seal(&text, key) || !span_startswith(text, first_line))
		return err_set(err, E_CORRUPT, "the checksum does not fit: the list of paused destinations was changed, or cut");
	text = span_from(text, first_line.len);
	while (text.len > 0) {
		size_t end = span_find(text, '\n');
		struct span name = span_sub(text, 0, end);

		if (end == text.len || *count == SPOOL_PAUSED_MAX || !spool_paused_is_name(name))
			return err_set(err, E_CORRUPT, "a line of the list of paused destinations is no name of one");
		names[(*count)++] = name;
		text = span_from(text, end + 1);
	}
	return 0;
}
