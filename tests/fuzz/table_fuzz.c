/*
 * What the commands print: rows of JSON as a table. Whatever stands in them, it is one line a row, in UTF-8, and nothing moves
 * the terminal's cursor.
 *
 * Input: rows, a line each.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "control/table.h"

#include <jansson.h>
#include <stdlib.h>

/* Whether table_add takes it; rows come from daemons, and are objects. */
static bool is_row(struct span text, size_t *columns)
{
	json_t *row = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
	bool is = json_is_object(row);

	*columns = is ? json_object_size(row) : 0;
	json_decref(row);
	return is;
}

static size_t add_rows(struct table *table, struct span input, size_t *columns)
{
	size_t rows = 0;

	while (input.len > 0 && rows < 100) {
		struct span row = fuzz_until(&input, '\n');
		size_t count;

		if (!is_row(row, &count))
			continue;
		if (rows++ == 0)
			*columns = count;
		table_add(table, row);
	}
	return rows;
}

void fuzz_one(struct span input)
{
	struct table *table = table_new();
	size_t columns = 0, rows = add_rows(table, input, &columns), lines = 0, size;
	struct span rest;
	char *text;
	FILE *out = open_memstream(&text, &size);

	fuzz_assert(table != NULL && out != NULL);
	table_print(table, out);
	table_free(&table);
	fuzz_assert(fclose(out) == 0);
	rest = span_of(text, size);
	while (rest.len > 0) {
		int32_t cp = utf8_next(&rest);

		fuzz_assert(cp == '\n' || (cp >= ' ' && (cp < 0x7f || cp >= 0xa0)));
		lines += cp == '\n';
	}
	fuzz_assert(lines == (rows > 0 && columns > 0 ? rows + 1 : 0));
	free(text);
}
