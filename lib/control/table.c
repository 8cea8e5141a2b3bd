#include "control/table.h"

#include "base/utf8.h"

#include <jansson.h>
#include <stdlib.h>

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

void table_add(struct table *table, struct span row)
{
	json_t *object = json_loadb(row.ptr, row.len, JSON_REJECT_DUPLICATES, NULL);

	if (object != NULL)
		json_array_append_new(table->rows, object);
}

/* Without what could move a terminal's cursor, C1 controls included; cut at a character, after at most size - 1 bytes. */
static void copy_visible(const char *text, char *out, size_t size)
{
	struct span rest = span_str(text);
	size_t n = 0;

	while (rest.len > 0) {
		const char *at = rest.ptr;
		int32_t cp = utf8_next(&rest);
		bool control = cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
		size_t len = control ? 1 : (size_t)(rest.ptr - at);

		if (n + len >= size)
			break;
		memcpy(out + n, control ? "?" : at, len);
		n += len;
	}
	out[n] = '\0';
}

static void cell_text(json_t *value, char *out, size_t size, bool last)
{
	if (json_is_string(value)) {
		copy_visible(json_string_value(value), out, last ? size : TABLE_CELL + 1);
	} else if (json_is_integer(value)) {
		snprintf(out, size, "%lld", (long long)json_integer_value(value));
	} else if (json_is_boolean(value)) {
		snprintf(out, size, "%s", json_is_true(value) ? "yes" : "no");
	} else {
		char *dumped = value && !json_is_null(value) ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

		copy_visible(dumped ? dumped : "-", out, size);
		free(dumped);
	}
	if (out[0] == '\0')
		snprintf(out, size, "-");
}

static size_t columns_of(const struct table *table, const char *names[TABLE_COLUMNS], int widths[TABLE_COLUMNS])
{
	json_t *first = json_array_get(table->rows, 0), *value;
	const char *key;
	size_t count = 0;

	json_object_foreach(first, key, value)
		if (count < TABLE_COLUMNS) {
			widths[count] = (int)strlen(key);
			names[count++] = key;
		}
	for (size_t r = 0; r < json_array_size(table->rows); r++)
		for (size_t c = 0; c < count; c++) {
			char text[1024];

			cell_text(json_object_get(json_array_get(table->rows, r), names[c]), text, sizeof(text), c + 1 == count);
			if ((int)strlen(text) > widths[c])
				widths[c] = (int)strlen(text);
		}
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
	for (size_t c = 0; c < count; c++)
		fprintf(out, "%-*s%s", c + 1 < count ? widths[c] : 0, names[c], c + 1 < count ? "  " : "\n");
	for (size_t r = 0; r < json_array_size(table->rows); r++)
		for (size_t c = 0; c < count; c++) {
			char text[1024];

			cell_text(json_object_get(json_array_get(table->rows, r), names[c]), text, sizeof(text), c + 1 == count);
			fprintf(out, "%-*s%s", c + 1 < count ? widths[c] : 0, text, c + 1 < count ? "  " : "\n");
		}
}
