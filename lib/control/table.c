#include "control/table.h"

#include "base/utf8.h"

#include <jansson.h>
#include <stdlib.h>
#include <time.h>

enum { TABLE_COLUMNS = 24, TABLE_CELL = 60 };

struct table {
	json_t *rows; /* an array */
};

struct table *table_new(void)
{
	struct table *table = calloc(1, sizeof(*table));

	if (table != NULL)
		table->rows = json_array();
	return table;
}

void table_free(struct table **table)
{
	if (*table != NULL)
		json_decref((*table)->rows);
	free(*table);
	*table = NULL;
}

static void time_text(json_int_t seconds, char *out, size_t size)
{
	time_t when = (time_t)seconds;
	struct tm tm;

	if (localtime_r(&when, &tm) == NULL || strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, size, "-");
}

/* The two largest units: "3d4h", "5m10s". */
static void duration_text(json_int_t seconds, char *out, size_t size)
{
	static const struct {
		json_int_t seconds;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	size_t i = 0;

	while (i < 3 && seconds < units[i].seconds)
		i++;
	if (i == 3)
		snprintf(out, size, "%llds", (long long)seconds);
	else
		snprintf(out, size, "%lld%c%lld%c", (long long)(seconds / units[i].seconds), units[i].unit,
		    (long long)(seconds % units[i].seconds / units[i + 1].seconds), units[i + 1].unit);
}

static void memory_text(json_int_t bytes, char *out, size_t size)
{
	snprintf(out, size, "%.1fM", (double)bytes / (1024 * 1024));
}

/* Numbers that nobody reads at a glance. JSON has them as they are. */
static void for_people(json_t *row)
{
	static const struct {
		const char *key;
		void (*text)(json_int_t n, char *out, size_t size);
	} keys[] = {{"arrived", time_text}, {"next", time_text}, {"created", time_text}, {"used", time_text}, {"last", time_text}, {"uptime", duration_text}, {"memory", memory_text}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_t *value = json_object_get(row, keys[i].key);
		char text[40];

		if (!json_is_integer(value))
			continue;
		keys[i].text(json_integer_value(value), text, sizeof(text));
		json_object_set_new(row, keys[i].key, json_string(text));
	}
}

void table_add(struct table *table, struct span row)
{
	json_t *object = json_loadb(row.ptr, row.len, JSON_REJECT_DUPLICATES, NULL);

	if (object == NULL)
		return;
	for_people(object);
	json_array_append_new(table->rows, object);
}

/* Without what could move a terminal's cursor (C0, DEL, C1); cut between characters. */
static void string_text(struct span s, char *out, size_t limit)
{
	size_t n = 0;

	while (s.len > 0) {
		const char *at = s.ptr;
		int32_t cp = utf8_next(&s);
		bool shown = cp >= ' ' && (cp < 0x7f || cp >= 0xa0);
		size_t len = shown ? (size_t)(s.ptr - at) : 1;

		if (n + len > limit)
			break;
		memcpy(out + n, shown ? at : "?", len);
		n += len;
	}
	out[n] = '\0';
}

/* Sizes and counts as they are. */
static void cell_text(json_t *value, char *out, size_t size, bool last)
{
	if (json_is_string(value)) {
		string_text(span_of(json_string_value(value), json_string_length(value)), out, last ? size - 1 : TABLE_CELL);
	} else if (json_is_integer(value)) {
		snprintf(out, size, "%lld", (long long)json_integer_value(value));
	} else if (json_is_boolean(value)) {
		snprintf(out, size, "%s", json_is_true(value) ? "yes" : "no");
	} else {
		char *dumped = value && !json_is_null(value) ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

		string_text(span_str(dumped ? dumped : "-"), out, size - 1);
		free(dumped);
	}
	if (out[0] == '\0')
		snprintf(out, size, "-");
}

static size_t characters(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* width: characters; 0 for the last one of a line. */
static void print_cell(const char *text, int width, FILE *out)
{
	int surplus = (int)(strlen(text) - characters(text));

	if (width > 0)
		fprintf(out, "%-*s  ", width + surplus, text);
	else
		fprintf(out, "%s\n", text);
}

static size_t columns_of(const struct table *table, const char *names[TABLE_COLUMNS], int widths[TABLE_COLUMNS])
{
	json_t *first = json_array_get(table->rows, 0), *value;
	const char *key;
	size_t count = 0;

	json_object_foreach(first, key, value)
		if (count < TABLE_COLUMNS) {
			char text[TABLE_CELL + 1];

			string_text(span_str(key), text, TABLE_CELL);
			widths[count] = (int)characters(text);
			names[count++] = key;
		}
	for (size_t r = 0; r < json_array_size(table->rows); r++)
		for (size_t c = 0; c < count; c++) {
			char text[1024];

			cell_text(json_object_get(json_array_get(table->rows, r), names[c]), text, sizeof(text), c + 1 == count);
			if ((int)characters(text) > widths[c])
				widths[c] = (int)characters(text);
		}
	if (count > 0)
		widths[count - 1] = 0; /* nothing stands behind the last */
	return count;
}

void table_print(const struct table *table, FILE *out)
{
	const char *names[TABLE_COLUMNS];
	int widths[TABLE_COLUMNS];
	size_t count;

	if (json_array_size(table->rows) == 0)
		return;
	count = columns_of(table, names, widths);
	for (size_t c = 0; c < count; c++) {
		char text[TABLE_CELL + 1];

		string_text(span_str(names[c]), text, TABLE_CELL);
		print_cell(text, widths[c], out);
	}
	for (size_t r = 0; r < json_array_size(table->rows); r++)
		for (size_t c = 0; c < count; c++) {
			char text[1024];

			cell_text(json_object_get(json_array_get(table->rows, r), names[c]), text, sizeof(text), c + 1 == count);
			print_cell(text, widths[c], out);
		}
}
