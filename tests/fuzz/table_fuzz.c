/*
 * What the commands print: rows of JSON as a table. Whatever stands in them, it is one line a row, in UTF-8, and nothing moves
 * the terminal's cursor. What is read the short way looks as it does the long way, which a blank before the row makes sure of.
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

static void add_with_blank(struct table *table, struct span row)
{
	struct buf other;

	buf_init(&other, row.len + 1);
	buf_add_char(&other, ' ');
	buf_add_span(&other, row);
	table_add(table, buf_span(&other));
	buf_fini(&other);
}

static size_t add_rows(struct table *table, struct table *slow, struct span input, size_t *columns)
{
	size_t rows = 0;

	while (input.len > 0 && rows < 100) {
		struct span row = fuzz_until(&input, '\n');
		size_t count;

		if (is_row(row, &count) && rows++ == 0)
			*columns = count;
		table_add(table, row);
		add_with_blank(slow, row);
	}
	return rows;
}

static struct span printed(struct table *table)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fuzz_assert(out != NULL);
	table_print(table, out);
	table_free(&table);
	fuzz_assert(fclose(out) == 0);
	return span_of(text, size);
}

void fuzz_one(struct span input)
{
	struct table *table = table_new(), *slow = table_new();
	size_t columns = 0, rows = add_rows(table, slow, input, &columns), lines = 0;
	struct span text = printed(table), same = printed(slow), rest = text;

	fuzz_assert_same(text, same);
	while (rest.len > 0) {
		int32_t cp = utf8_next(&rest);

		fuzz_assert(cp == '\n' || (cp >= ' ' && (cp < 0x7f || cp >= 0xa0)));
		lines += cp == '\n';
	}
	fuzz_assert(lines == (rows > 0 && columns > 0 ? rows + 1 : 0));
	free((void *)(uintptr_t)text.ptr);
	free((void *)(uintptr_t)same.ptr);
}
