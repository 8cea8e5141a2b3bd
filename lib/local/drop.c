#include "local/drop.h"

#include "base/encode.h"
#include "spool/spool.h"

static const char magic[] = "mailwain-drop 1";

/* ---- writing ---- */

static bool is_one_line(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '\n' || s.ptr[i] == '\0')
			return false;
	return true;
}

static bool put(struct buf *out, const char *name, struct span value)
{
	buf_add_str(out, name);
	buf_add_char(out, ' ');
	buf_add_span(out, value);
	buf_add_char(out, '\n');
	return is_one_line(value);
}

/* NOTIFY is mostly the same for all. */
static bool put_recipient(struct buf *out, const struct letter_recipient *r, bool says_notify)
{
	if (says_notify)
		buf_printf(out, "notify %u\n", r->notify);
	return (r->orcpt.len == 0 || put(out, "orcpt", r->orcpt)) && put(out, "recipient", r->address);
}

int drop_encode(const struct letter *letter, struct buf *out)
{
	bool good;

	buf_printf(out, "%s\nhandover ", magic);
	for (size_t i = 0; i < LETTER_HANDOVER; i++)
		buf_printf(out, "%02x", letter->handover[i]);
	buf_add_char(out, '\n');
	good = put(out, "user", letter->user) && put(out, "name", letter->full_name) && put(out, "envid", letter->envid);
	if (letter->sender_given)
		good = good && put(out, "sender", letter->sender);
	buf_printf(out, "ret %u\n", letter->ret);
	for (size_t i = 0; i < letter->recipient_count && good; i++)
		good = put_recipient(out, &letter->recipients[i], i == 0 || letter->recipients[i].notify != letter->recipients[i - 1].notify);
	buf_add_char(out, '\n');
	if (!good)
		return E_SYNTAX;
	return !buf_failed(out) ? 0 : out->starved ? E_NOMEM : E_TOOBIG;
}

/* ---- reading ---- */

enum { SEEN_HANDOVER = 1, SEEN_USER = 2, SEEN_NAME = 4, SEEN_ENVID = 8, SEEN_SENDER = 16, SEEN_RET = 32 };
enum { SEEN_NEEDED = SEEN_HANDOVER | SEEN_USER };

struct reader {
	struct letter *letter;
	struct pool *pool;
	unsigned seen;
	struct letter_recipient next; /* what was said of it before its line */
};

static bool take_text(struct span value, size_t max, struct span *out)
{
	*out = value;
	return value.len <= max && is_one_line(value);
}

static bool take_number(struct span value, uint64_t max, uint32_t *out)
{
	uint64_t n;

	if (!span_u64(value, max, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool take_recipient(struct reader *r, struct span value)
{
	struct letter *letter = r->letter;

	if (letter->recipient_count == LETTER_RECIPIENTS || value.len == 0 || !take_text(value, LETTER_ADDRESS, &r->next.address))
		return false;
	letter->recipients[letter->recipient_count++] = r->next;
	r->next.orcpt = (struct span){0};
	return true;
}

static bool take_once(struct reader *r, struct span name, struct span value, unsigned *what)
{
	struct letter *letter = r->letter;

	if (span_eq(name, SPAN_LIT("handover"))) {
		*what = SEEN_HANDOVER;
		return hex_decode(value, letter->handover, LETTER_HANDOVER) == 0;
	}
	if (span_eq(name, SPAN_LIT("user"))) {
		*what = SEEN_USER;
		return take_text(value, LETTER_NAME, &letter->user);
	}
	if (span_eq(name, SPAN_LIT("name"))) {
		*what = SEEN_NAME;
		return take_text(value, LETTER_NAME, &letter->full_name);
	}
	if (span_eq(name, SPAN_LIT("envid"))) {
		*what = SEEN_ENVID;
		return take_text(value, LETTER_ENVID, &letter->envid);
	}
	if (span_eq(name, SPAN_LIT("sender"))) {
		*what = SEEN_SENDER;
		letter->sender_given = true;
		return take_text(value, LETTER_ADDRESS, &letter->sender);
	}
	*what = SEEN_RET;
	return span_eq(name, SPAN_LIT("ret")) && take_number(value, SPOOL_RET_HDRS, &letter->ret);
}

static bool take_line(struct reader *r, struct span line)
{
	size_t blank = span_find(line, ' ');
	struct span name = span_sub(line, 0, blank), value = span_from(line, blank + 1);
	unsigned what = 0;

	if (blank == line.len)
		return false;
	if (span_eq(name, SPAN_LIT("recipient")))
		return take_recipient(r, value);
	if (span_eq(name, SPAN_LIT("notify")))
		return take_number(value, 15, &r->next.notify);
	if (span_eq(name, SPAN_LIT("orcpt")))
		return r->next.orcpt.len == 0 && value.len > 0 && take_text(value, LETTER_ORCPT, &r->next.orcpt);
	if (!take_once(r, name, value, &what) || (r->seen & what) != 0)
		return false;
	r->seen |= what;
	return true;
}

size_t drop_head_length(struct span text)
{
	const char *end = text.len > 1 ? memmem(text.ptr, text.len, "\n\n", 2) : NULL;

	return end != NULL ? (size_t)(end - text.ptr) + 2 : text.len;
}

int drop_decode(struct span head, struct pool *pool, struct letter *out, size_t *len, struct err *err)
{
	struct reader r = {.letter = out, .pool = pool};
	struct span rest = head;
	size_t number = 0;

	*out = (struct letter){0};
	out->recipients = pool_array(pool, LETTER_RECIPIENTS, sizeof(*out->recipients));
	if (out->recipients == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	for (;;) {
		size_t end = span_find(rest, '\n');
		struct span line = span_sub(rest, 0, end);

		if (end == rest.len)
			return err_set(err, E_CONTENT, "its head does not end");
		rest = span_from(rest, end + 1);
		number++;
		if (number > 1 && line.len == 0)
			break;
		if (number == 1 ? !span_eq(line, span_str(magic)) : !take_line(&r, line))
			return err_set(err, E_CONTENT, "line %zu of its head makes no sense", number);
	}
	*len = head.len - rest.len;
	if ((r.seen & SEEN_NEEDED) != SEEN_NEEDED || out->recipient_count == 0 || r.next.orcpt.len > 0)
		return err_set(err, E_CONTENT, "its head is not complete");
	return 0;
}
