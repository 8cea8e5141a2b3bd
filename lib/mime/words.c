#include "mime/words.h"

#include "base/encode.h"
#include "mime/charset.h"
#include "mime/encoding.h"

enum { WORD_CHARSET_MAX = 64, WORD_MAX = 1024, WORDS_OUT_MAX = MIME_VALUE_MAX * 4, CONTINUATIONS_MAX = 64 };

/* ---- encoded words ---- */

struct word {
	struct span charset, text;
	bool base64;
	size_t len; /* of the whole */
};

/* "=?charset*language?Q?text?=" (RFC 2047 section 2) */
static bool word_parse(struct span s, struct word *out)
{
	struct span rest = span_from(s, 2), front = span_sub(rest, 0, WORD_CHARSET_MAX + 1);
	size_t n;

	/* Nothing is looked for beyond its limit: text full of beginnings would take its length squared. */
	if (!span_startswith(s, SPAN_LIT("=?")))
		return false;
	n = span_find(front, '?');
	if (n == front.len || n == 0)
		return false;
	out->charset = span_sub(rest, 0, n);
	out->charset.len = span_find(out->charset, '*');
	rest = span_from(rest, n + 1);
	if (rest.len < 2 || rest.ptr[1] != '?' || (ascii_lower(*rest.ptr) != 'q' && ascii_lower(*rest.ptr) != 'b'))
		return false;
	out->base64 = ascii_lower(*rest.ptr) == 'b';
	rest = span_from(rest, 2);
	n = span_find(span_sub(rest, 0, WORD_MAX), '?');
	if (n + 1 >= rest.len || rest.ptr[n] != '?' || rest.ptr[n + 1] != '=')
		return false;
	out->text = span_sub(rest, 0, n);
	out->len = (size_t)(rest.ptr - s.ptr) + n + 2;
	return true;
}

/* "Q": '_' for a space, "=XX" for an octet; what is no escape stays (section 4.2). */
static void decode_q(struct span text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char octet;

		if (text.ptr[i] == '_') {
			buf_add_char(out, ' ');
		} else if (text.ptr[i] == '=' && hex_decode(span_sub(text, i + 1, 2), &octet, 1) == 0) {
			buf_add_char(out, (char)octet);
			i += 2;
		} else {
			buf_add_char(out, text.ptr[i]);
		}
	}
}

static void decode_word(const struct word *word, struct buf *octets)
{
	struct mime_decoder decoder;

	if (!word->base64) {
		decode_q(word->text, octets);
		return;
	}
	mime_decoder_init(&decoder, MIME_ENCODING_BASE64);
	mime_decode(&decoder, word->text, octets);
	mime_decode_end(&decoder, octets);
}

static size_t blank_len(struct span s)
{
	size_t n = 0;

	while (n < s.len && (s.ptr[n] == ' ' || s.ptr[n] == '\t' || s.ptr[n] == '\r' || s.ptr[n] == '\n'))
		n++;
	return n;
}

/*
 * One word and those of the same charset right behind it: their octets are put
 * together first, because senders cut characters in two.
 */
static struct span decode_run(struct span s, struct word *word, struct buf *octets, struct buf *out)
{
	struct span charset = word->charset;

	buf_clear(octets);
	for (;;) {
		struct span behind;

		decode_word(word, octets);
		s = span_from(s, word->len);
		behind = span_from(s, blank_len(s));
		if (!word_parse(behind, word))
			break;
		s = behind; /* blanks between two encoded words are not there (section 6.2) */
		if (!span_caseeq(word->charset, charset))
			break;
	}
	mime_to_utf8(charset, buf_span(octets), out);
	return s;
}

void mime_words_decode(struct span s, struct buf *out)
{
	struct buf octets;

	buf_init(&octets, WORDS_OUT_MAX);
	while (s.len > 0 && !buf_failed(out)) {
		struct word word;
		size_t n = span_find(s, '=');

		if (n > 0)
			mime_to_utf8((struct span){0}, span_sub(s, 0, n), out);
		s = span_from(s, n);
		if (s.len == 0)
			break;
		if (word_parse(s, &word)) {
			s = decode_run(s, &word, &octets, out);
			continue;
		}
		buf_add_char(out, '=');
		s = span_from(s, 1);
	}
	out->starved |= octets.starved;
	buf_fini(&octets);
}

/* ---- parameters ---- */

/* "name", "name*", "name*3", "name*3*": which piece is it? -1: not of this name. */
static int piece_number(struct span parameter, struct span name, bool *encoded)
{
	struct span rest = span_from(parameter, name.len);
	uint64_t n;

	*encoded = false;
	if (!span_startscase(parameter, name))
		return -1;
	if (rest.len == 0)
		return 0;
	if (*rest.ptr != '*')
		return -1;
	rest = span_from(rest, 1);
	if (rest.len == 0 || rest.ptr[rest.len - 1] == '*') {
		*encoded = true;
		if (rest.len > 0)
			rest.len--;
	}
	if (rest.len == 0)
		return 0;
	return span_u64(rest, CONTINUATIONS_MAX - 1, &n) ? (int)n : -1;
}

/* "%XX" for an octet; what is no escape stays (RFC 2231 section 4). */
static void decode_percent(struct span s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char octet;

		if (s.ptr[i] == '%' && hex_decode(span_sub(s, i + 1, 2), &octet, 1) == 0) {
			buf_add_char(out, (char)octet);
			i += 2;
		} else {
			buf_add_char(out, s.ptr[i]);
		}
	}
}

static bool put_piece(const struct mime_content *content, struct span name, int wanted, struct span *charset, struct buf *octets)
{
	for (size_t i = 0; i < content->parameter_count; i++) {
		struct span value = content->parameters[i].value;
		bool encoded;

		if (piece_number(content->parameters[i].name, name, &encoded) != wanted)
			continue;
		if (encoded && wanted == 0) { /* charset'language'text */
			size_t quote = span_find(value, '\''), second;

			if (quote < value.len) {
				*charset = span_sub(value, 0, quote);
				value = span_from(value, quote + 1);
				second = span_find(value, '\'');
				value = span_from(value, second < value.len ? second + 1 : 0);
			}
		}
		if (encoded)
			decode_percent(value, octets);
		else
			buf_add_span(octets, value);
		return true;
	}
	return false;
}

struct span mime_parameter_decode(const struct mime_content *content, struct span name, struct pool *pool)
{
	struct span charset = {0}, result;
	struct buf octets, text;
	int piece = 0;

	buf_init(&octets, MIME_VALUE_MAX);
	buf_init(&text, WORDS_OUT_MAX);
	while (piece < CONTINUATIONS_MAX && put_piece(content, name, piece, &charset, &octets))
		piece++;
	if (charset.len > 0)
		mime_to_utf8(charset, buf_span(&octets), &text);
	else
		mime_words_decode(buf_span(&octets), &text);
	result = pool_span(pool, buf_span(&text));
	if (octets.starved || text.starved)
		pool_starve(pool);
	buf_fini(&octets);
	buf_fini(&text);
	return result;
}
