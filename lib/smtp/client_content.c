/* The content on its way: lines and dots behind DATA (RFC 5321 section 4.5.2), octets behind BDAT (RFC 3030). */
#include "smtp/client_private.h"

static size_t run_len(struct span s)
{
	size_t n = 0;

	while (n < s.len && s.ptr[n] != '\r' && s.ptr[n] != '\n')
		n++;
	return n;
}

static void end_line(struct smtp_client *c)
{
	buf_add_str(c->out, "\r\n");
	c->tx.line_start = true;
}

/* A CR is held until it is known what follows; only whole line ends go out. */
static void put_text(struct smtp_client *c, struct span bytes)
{
	struct client_transaction *tx = &c->tx;

	while (bytes.len > 0) {
		size_t run = run_len(bytes);

		if (tx->cr) {
			tx->cr = false;
			end_line(c);
			bytes = span_from(bytes, bytes.ptr[0] == '\n');
		} else if (run > 0) {
			if (tx->line_start && bytes.ptr[0] == '.')
				buf_add_char(c->out, '.');
			buf_add(c->out, bytes.ptr, run);
			tx->line_start = false;
			bytes = span_from(bytes, run);
		} else {
			tx->cr = bytes.ptr[0] == '\r';
			if (!tx->cr)
				end_line(c);
			bytes = span_from(bytes, 1);
		}
	}
}

static void end_text(struct smtp_client *c)
{
	if (c->tx.cr || !c->tx.line_start)
		end_line(c);
	buf_add_str(c->out, ".\r\n");
}

/* One chunk has it all: its size is known, and what cannot be finished ends the connection anyway. */
void client_content_begin(struct smtp_client *c)
{
	struct client_transaction *tx = &c->tx;

	tx->line_start = true;
	tx->cr = false;
	client_set_state(c, CLIENT_CONTENT);
	if (tx->chunked) {
		tx->left = tx->message->size;
		buf_printf(c->out, "BDAT %llu LAST\r\n", (unsigned long long)tx->left);
	}
}

static void put_chunk(struct smtp_client *c, struct span bytes, bool last)
{
	struct client_transaction *tx = &c->tx;

	if (bytes.len > tx->left || (last && bytes.len < tx->left)) {
		client_fail(c, E_CORRUPT, NULL, "The message is not of the size that the server was told");
		return;
	}
	tx->left -= bytes.len;
	buf_add_span(c->out, bytes);
}

void smtp_client_content(struct smtp_client *c, struct span bytes, bool last)
{
	if (c->state != CLIENT_CONTENT) /* the session has ended meanwhile */
		return;
	if (c->tx.chunked)
		put_chunk(c, bytes, last);
	else
		put_text(c, bytes);
	if (!last || c->state != CLIENT_CONTENT)
		return;
	if (!c->tx.chunked)
		end_text(c);
	c->tx.whole = !buf_failed(c->out);
	c->tx.next = 0;
	client_set_state(c, CLIENT_END);
}
