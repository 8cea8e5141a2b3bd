/* mailq: what waits, in the form that programs which watch a queue have read for thirty years. */
#include "submission/sendmail.h"

#include "control/client.h"

#include <jansson.h>
#include <stdio.h>
#include <sysexits.h>
#include <time.h>

struct listing {
	json_int_t size;
	unsigned count;
};

static const char *text_of(json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text != NULL ? text : "";
}

/* A terminal shows it: without what could move its cursor. */
static void print_text(const char *before, const char *text, const char *after)
{
	fputs(before, stdout);
	for (; *text != '\0'; text++)
		putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
	fputs(after, stdout);
}

static void print_row(json_t *row)
{
	time_t arrived = (time_t)json_integer_value(json_object_get(row, "arrived"));
	json_int_t recipients = json_integer_value(json_object_get(row, "recipient_count"));
	const char *status = text_of(row, "status"), *sender = text_of(row, "sender"), *reason = text_of(row, "reason");
	char when[32] = "-", others[48] = "";
	struct tm tm;

	if (localtime_r(&arrived, &tm) != NULL)
		strftime(when, sizeof(when), "%a %b %e %H:%M:%S", &tm);
	printf("%s%c %8lld %s  ", text_of(row, "id"), strcmp(status, "active") == 0 ? '*' : strcmp(status, "held") == 0 ? '!' : ' ',
	    (long long)json_integer_value(json_object_get(row, "size")), when);
	print_text("", sender[0] != '\0' ? sender : "MAILER-DAEMON", "\n");
	if (reason[0] != '\0')
		print_text("(", reason, ")\n");
	if (recipients > 1)
		snprintf(others, sizeof(others), " and %lld more", (long long)recipients - 1);
	print_text("                                         ", text_of(row, "recipient"), others);
	fputs("\n\n", stdout);
}

static void on_row(void *arg, struct span text)
{
	struct listing *listing = arg;
	json_t *row = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);

	if (row == NULL)
		return;
	if (listing->count++ == 0)
		puts("-Queue ID-   --Size-- ----Arrival Time---- -Sender/Recipient-------");
	listing->size += json_integer_value(json_object_get(row, "size"));
	print_row(row);
	json_decref(row);
}

int queue_list(const struct caller *caller)
{
	struct span args[] = {SPAN_LIT("queue"), SPAN_LIT("list")};
	struct listing listing = {0};
	struct control_request_options request = {.args = args, .count = 2, .row = on_row, .arg = &listing};
	int status = control_run(&caller->instance, "queue", &request);

	if (status != EX_OK)
		return status;
	if (listing.count == 0)
		puts("Mail queue is empty");
	else
		printf("-- %lld Kbytes in %u Request%s.\n", (long long)listing.size / 1024, listing.count, listing.count == 1 ? "" : "s");
	return EX_OK;
}

int queue_flush(const struct caller *caller)
{
	struct span args[] = {SPAN_LIT("queue"), SPAN_LIT("flush"), SPAN_LIT("--all")};
	struct control_request_options request = {.args = args, .count = 3};

	return control_run(&caller->instance, "queue", &request);
}
