/* Servers of others, as settings name them. */
#include "conf/private.h"

bool conf_list_next(struct span *list, struct span *item)
{
	size_t end;

	while (list->len > 0 && list->ptr[0] == ' ')
		*list = span_from(*list, 1);
	end = span_find(*list, ' ');
	*item = span_sub(*list, 0, end);
	*list = span_from(*list, end);
	return item->len > 0;
}

/* Where the address ends: at its bracket, at the one colon there is, or at the end. */
static size_t address_end(struct span text)
{
	size_t colon = span_find(text, ':');

	if (text.len > 0 && text.ptr[0] == '[')
		return span_find(text, ']') + 1;
	return span_find(span_from(text, colon + 1), ':') + colon + 1 < text.len ? text.len : colon;
}

bool conf_server_parse(struct span text, uint16_t port, struct conf_server *out)
{
	size_t end = address_end(text);
	struct span host = span_sub(text, 0, end), rest = span_from(text, end);
	unsigned char binary[16];
	uint64_t number = port;

	if (end > text.len)
		return false;
	if (host.len >= 2 && host.ptr[0] == '[')
		host = span_sub(host, 1, host.len - 2);
	if (rest.len > 0 && (rest.ptr[0] != ':' || !span_u64(span_from(rest, 1), 65535, &number) || number == 0))
		return false;
	if (!conf_address_parse(host, binary))
		return false;
	span_copy(host, out->host, sizeof(out->host));
	out->port = (uint16_t)number;
	return true;
}

bool conf_zone_server_parse(struct span text, struct span *zone, struct conf_server *out)
{
	size_t equals = span_find(text, '=');

	*zone = span_sub(text, 0, equals);
	return span_is_host_name(*zone) && conf_server_parse(span_from(text, equals + 1), 53, out);
}
