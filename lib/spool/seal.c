#include "spool/seal.h"

#include "base/bytes.h"
#include "base/encode.h"

#include <sodium.h>

static const struct span word = SPAN_LIT("checksum ");

static void make_mac(const unsigned char key[SPOOL_KEY], enum seal_purpose purpose, struct span text, unsigned char out[SEAL_MAC])
{
	crypto_generichash_state state;
	unsigned char numbers[32] = {0};

	put_le(numbers, purpose, 8);
	put_le(numbers + 8, text.len, 8);
	crypto_generichash_init(&state, key, SPOOL_KEY, SEAL_MAC);
	crypto_generichash_update(&state, numbers, sizeof(numbers));
	crypto_generichash_update(&state, (const unsigned char *)text.ptr, text.len);
	crypto_generichash_final(&state, out, SEAL_MAC);
}

void seal_add(struct buf *text, const unsigned char key[SPOOL_KEY], enum seal_purpose purpose)
{
	unsigned char mac[SEAL_MAC];

	make_mac(key, purpose, buf_span(text), mac);
	buf_add_span(text, word);
	for (size_t i = 0; i < sizeof(mac); i++)
		buf_printf(text, "%02x", mac[i]);
	buf_add_char(text, '\n');
}

bool seal_take(struct span *text, const unsigned char key[SPOOL_KEY], enum seal_purpose purpose)
{
	unsigned char mac[SEAL_MAC], seal[SEAL_MAC];
	struct span body, line;

	if (text->len < SEAL_LINE)
		return false;
	body = span_sub(*text, 0, text->len - SEAL_LINE);
	line = span_from(*text, body.len);
	if (!span_startswith(line, word) || line.ptr[SEAL_LINE - 1] != '\n' ||
	    hex_decode(span_sub(line, word.len, sizeof(seal) * 2), seal, sizeof(seal)) != 0)
		return false;
	make_mac(key, purpose, body, mac);
	*text = body;
	return sodium_memcmp(mac, seal, sizeof(mac)) == 0;
}
