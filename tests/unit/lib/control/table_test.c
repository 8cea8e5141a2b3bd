/* What a command shows of text that came from outside. */
#include "tests/unit/test.h"

#include "control/table.h"

#include <stdlib.h>

static char *printed(const char *row)
{
	struct table *table = table_new();
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	table_add(table, span_str(row));
	table_print(table, out);
	fclose(out);
	table_free(&table);
	return text;
}

static void assert_prints(const char *row, const char *text)
{
	char *all = printed(row);

	assert_string_equal(all, text);
	free(all);
}

static void the_keys_are_the_columns(void **state)
{
	(void)state;
	assert_prints("{\"id\":7,\"held\":true,\"sender\":\"\",\"next\":null}", "id  held  sender  next\n7   yes   -       -\n");
}

static void nothing_moves_the_cursor(void **state)
{
	(void)state;
	assert_prints("{\"a\":\"x\\u001b[2J\\u009b2J\\u007f \xc3\xa4\"}", "a\nx?[2J?2J? \xc3\xa4\n");
	assert_prints("{\"a\":[\"\\u009b2J\"]}", "a\n[\"?2J\"]\n");
}

static void a_cell_is_cut_between_characters(void **state)
{
	char row[200] = "{\"a\":\"", cut[100] = "", *all, *line;

	(void)state;
	strcat(row, "x");
	strcat(cut, "x");
	for (int i = 0; i < 40; i++) {
		strcat(row, "\xc3\xa4");
		if (i < 29)
			strcat(cut, "\xc3\xa4");
	}
	strcat(row, "\",\"b\":1}");
	all = printed(row);
	line = strchr(all, '\n') + 1;
	assert_memory_equal(line, cut, strlen(cut));
	assert_string_equal(line + strlen(cut), "  1\n");
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_keys_are_the_columns),
	    cmocka_unit_test(nothing_moves_the_cursor),
	    cmocka_unit_test(a_cell_is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
