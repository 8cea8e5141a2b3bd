/* fetch get URL: what the process gets, for the admin who wonders. */
#include "fetch/fetch.h"

#include "base/json.h"
#include "net/control.h"

#include <stdlib.h>
#include <sysexits.h>

enum { GET_TIMEOUT_MS = 20 * 1000, ROW_MAX = 8192 };

struct get {
	struct control_reply *reply;
	char url[2049];
};

static void add_text(struct buf *row, const char *name, struct span value)
{
	buf_printf(row, ",\"%s\":", name);
	json_add_string(row, value);
}

static int exit_of(int code)
{
	switch (code) {
	case 0:
		return EX_OK;
	case E_SYNTAX:
		return EX_USAGE;
	case E_NOTFOUND:
		return EX_NOHOST;
	case E_DENIED:
		return EX_NOPERM;
	case E_TOOBIG:
		return EX_DATAERR;
	default:
		return EX_UNAVAILABLE;
	}
}

static void on_done(void *arg, uint32_t id, const struct fetch_answer *answer)
{
	struct get *get = arg;
	struct buf row;

	(void)id;
	if (answer->code != 0) {
		control_reply_done(get->reply, (unsigned)exit_of(answer->code), "%s: %.*s", get->url, SPAN_ARG(answer->text));
		free(get);
		return;
	}
	buf_init(&row, ROW_MAX);
	buf_printf(&row, "{\"status\":%u,\"size\":%zu,\"max_age\":%lld", answer->status, answer->body.len, (long long)answer->max_age);
	add_text(&row, "type", answer->content_type);
	add_text(&row, "url", span_str(get->url));
	buf_add_char(&row, '}');
	control_reply_row(get->reply, buf_span(&row));
	buf_fini(&row);
	control_reply_done(get->reply, EX_OK, "%s", "");
	free(get);
}

void fetch_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input, struct span secret)
{
	struct fetch_request ask = {.accept = SPAN_LIT("*/*"), .timeout_ms = GET_TIMEOUT_MS};
	struct get *get = NULL;
	uint64_t ms;

	(void)input;
	(void)secret;
	if (count == 5 && span_eq(args[3], SPAN_LIT("--timeout")) && conf_parse_time(args[4], &ms) && ms > 0 && ms <= FETCH_TIMEOUT_MAX_MS)
		ask.timeout_ms = (uint32_t)ms;
	else if (count != 3)
		count = 0;
	if (count > 0 && span_eq(args[1], SPAN_LIT("get")) && args[2].len < sizeof(get->url))
		get = calloc(1, sizeof(*get));
	if (get == NULL) {
		control_reply_done(reply, EX_USAGE, "name one https:// URL; --timeout takes up to 1m");
		return;
	}
	get->reply = reply;
	span_copy(args[2], get->url, sizeof(get->url));
	ask.url = span_str(get->url);
	fetch_begin(arg, &ask, get, 0, on_done, get);
}
