/*
 * Makes the manual pages that come from tables: copies a page from standard
 * input to standard output and puts a list in place of the lines "@SETTINGS@"
 * (lib/conf/schema.def) and "@EVENTS@" (lib/base/events.def). Run by the makefile.
 */
#include "conf/conf.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum { TABLE_LINE = 512, TABLE_WIDTH = 78 };

#define G CONF_SCOPE_GLOBAL
#define D CONF_SCOPE_DOMAIN
#define L CONF_SCOPE_LISTENER
#define T CONF_SCOPE_TRANSPORT

static const struct conf_setting_info settings[] = {
#define SETTING(id, name, type, values, scopes, default_text, sentence)                                    \
	{name, CONF_TYPE_##type, values, scopes, default_text, sentence},
#include "conf/schema.def"
};

static const struct {
	const char *name;
	enum log_level level;
	const char *sentence;
} events[] = {
#define EVENT(name, level, sentence) {#name, LOG_LEVEL_##level, sentence},
#include "base/events.def"
#undef EVENT
};

/* Running text: one word after the other, a new line after each sentence, nothing roff would take for a request. */
static void print_text(const char *text)
{
	size_t column = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		if (column > 0 && column + 1 + len > TABLE_WIDTH) {
			putchar('\n');
			column = 0;
		} else if (column > 0) {
			putchar(' ');
			column++;
		}
		if (column == 0 && (*text == '.' || *text == '\''))
			fputs("\\&", stdout);
		for (size_t i = 0; i < len; i++)
			if (text[i] == '\\')
				fputs("\\e", stdout);
			else
				putchar(text[i]);
		column += len;
		if (len > 0 && text[len - 1] == '.' && text[len] == ' ') {
			putchar('\n');
			column = 0;
		}
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

/* "1-1000", "1K-" or "-1m". */
static void print_range(const char *values)
{
	size_t dash = strcspn(values, "-");
	const char *most = values + dash + 1;

	if (dash == 0)
		printf("At most %s.\n", most);
	else if (*most == '\0')
		printf("At least %.*s.\n", (int)dash, values);
	else
		printf("From %.*s to %s.\n", (int)dash, values, most);
}

static void print_items(const char *values)
{
	char text[TABLE_LINE];

	snprintf(text, sizeof(text), "Items are of: %s.", values);
	print_text(text);
}

static void print_setting(const struct conf_setting_info *s)
{
	static const char *const types[] = {"text", NULL, "number", "size", "time", "yes | no", "network ...", "path", "item ..."};
	static const char *const places[] = {[G] = "At the top level.", [D] = "In a domain block.", [L] = "In a listen block.", [T] = "In a transport block.",
	    [G | D] = "At the top level or in a domain block.", [G | L] = "At the top level or in a listen block.",
	    [G | T] = "At the top level or in a transport block."};

	printf(".It Ic %s Ar %s\n", s->name, s->type == CONF_TYPE_WORD ? s->values : types[s->type]);
	print_text(s->sentence);
	if (s->type == CONF_TYPE_LIST && s->values[0] != '\0')
		print_items(s->values);
	else if (s->type != CONF_TYPE_WORD && s->values[0] != '\0')
		print_range(s->values);
	print_text(places[s->scopes]);
	if (s->default_text[0] != '\0')
		printf("Default:\n.Ql %s .\n", s->default_text);
	else
		puts("Not set by default.");
}

static void print_settings(void)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		print_setting(&settings[i]);
	puts(".El");
}

static void print_events(void)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};

	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		printf(".It Sy %s Pq %s\n", events[i].name, levels[events[i].level]);
		print_text(events[i].sentence);
	}
	puts(".El");
}

int main(void)
{
	char line[TABLE_LINE];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (strcmp(line, "@SETTINGS@\n") == 0)
			print_settings();
		else if (strcmp(line, "@EVENTS@\n") == 0)
			print_events();
		else
			fputs(line, stdout);
	}
	return ferror(stdin) || fflush(stdout) != 0;
}
