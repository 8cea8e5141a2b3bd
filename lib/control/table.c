#include "control/table.h"

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

/* Sizes and counts as they are; strings without what could move a terminal's cursor. */
static void cell_text(json_t *value, char *out, size_t size, bool last)
{
	size_t limit = last ? size - 1 : TABLE_CELL;

	if (json_is_string(value)) {
		const char *s = json_string_value(value);
		size_t n = 0;

		for (; *s != '\0' && n < limit; s++)
			out[n++] = (unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s;
		out[n] = '\0';
	} else if (json_is_integer(value)) {
		snprintf(out, size, "%lld", (long long)json_integer_value(value));
	} else if (json_is_boolean(value)) {
		snprintf(out, size, "%s", json_is_true(value) ? "yes" : "no");
	} else {
		char *dumped = value && !json_is_null(value) ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

		snprintf(out, size, "%s", dumped ? dumped : "-");
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
