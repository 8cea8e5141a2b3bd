#include "queue/said.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <string.h>

enum { SAID_HOST_MAX = 254, SAID_ADDRESS_MAX = 64, SAID_TLS_MAX = 64 };

static const char no_tls[] = "no TLS";

/* Nothing in a name from outside is taken for what stands around it. */
static void add_name(struct buf *out, struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		buf_add_char(out, ascii_is_alnum(c) || (c != '\0' && strchr(".-_:%", c) != NULL) ? c : '?');
	}
}

/* A space stands behind it, and behind a colon that would be the end of all this. */
static void add_bare_name(struct buf *out, struct span name)
{
	bool colon = name.len > 0 && name.ptr[name.len - 1] == ':';

	add_name(out, span_sub(name, 0, name.len - colon));
	if (colon)
		buf_add_char(out, '?');
}

static void add_host(struct buf *out, const struct said *said)
{
	bool is_named = said->host.len > 0 && !span_eq(said->host, said->address);

	buf_add_str(out, "host ");
	add_bare_name(out, is_named ? span_sub(said->host, 0, SAID_HOST_MAX) : span_str(""));
	if (said->address.len > 0) {
		buf_add_str(out, is_named ? " [" : "[");
		add_name(out, span_sub(said->address, 0, SAID_ADDRESS_MAX));
		buf_add_char(out, ']');
	}
	if (said->tls.len > 0)
		buf_printf(out, " (%.*s)", SPAN_ARG(span_eq(said->tls, SPAN_LIT("none")) ? span_str(no_tls) : span_sub(said->tls, 0, SAID_TLS_MAX)));
	buf_add_str(out, said->by_host ? " said: " : ": ");
}

struct span said_format(const struct said *said, char out[SPOOL_TEXT_MAX + 1])
{
	struct buf text;

	buf_init(&text, 2 * SPOOL_TEXT_MAX + 64);
	if (said->host.len > 0 || said->address.len > 0)
		add_host(&text, said);
	buf_add_span(&text, span_sub(said->reply, 0, SPOOL_TEXT_MAX));
	span_copy(utf8_cut(buf_failed(&text) ? said->reply : buf_span(&text), SPOOL_TEXT_MAX), out, SPOOL_TEXT_MAX + 1);
	buf_fini(&text);
	return span_str(out);
}

/* What stands at the end of head between open and close; head then ends before it. */
static struct span take_end(struct span *head, const char *open, char close)
{
	const char *begin = NULL;
	struct span taken;

	if (head->len > 0 && head->ptr[head->len - 1] == close)
		for (size_t i = 0; i + strlen(open) < head->len; i++)
			if (memcmp(head->ptr + i, open, strlen(open)) == 0)
				begin = head->ptr + i;
	if (begin == NULL)
		return span_str("");
	taken = span_of(begin + strlen(open), (size_t)(head->ptr + head->len - begin) - strlen(open) - 1);
	head->len = (size_t)(begin - head->ptr);
	return taken;
}

void said_parse(struct span text, struct said *out)
{
	static const char begin[] = "host ", said[] = " said";
	const char *end = span_startswith(text, span_str(begin)) ? memmem(text.ptr, text.len, ": ", 2) : NULL;
	struct span head;

	*out = (struct said){.reply = text};
	if (end == NULL)
		return;
	head = span_of(text.ptr + strlen(begin), (size_t)(end - text.ptr) - strlen(begin));
	out->reply = span_from(text, (size_t)(end - text.ptr) + 2);
	out->by_host = head.len >= strlen(said) && memcmp(head.ptr + head.len - strlen(said), said, strlen(said)) == 0;
	if (out->by_host)
		head.len -= strlen(said);
	out->tls = take_end(&head, " (", ')');
	if (span_eq(out->tls, span_str(no_tls)))
		out->tls = SPAN_LIT("none");
	out->address = take_end(&head, "[", ']');
	while (head.len > 0 && head.ptr[head.len - 1] == ' ')
		head.len--;
	out->host = head;
}
