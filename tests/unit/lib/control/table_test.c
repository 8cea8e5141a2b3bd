/* JSON rows as a table for people. */
#include "tests/unit/test.h"

#include "control/table.h"

#include <stdlib.h>

/* The table of some rows as text; the caller frees it. */
static char *printed(const char *const *rows)
{
	struct table *table = table_new();
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (; *rows != NULL; rows++)
		table_add(table, span_str(*rows));
	table_print(table, out);
	fclose(out);
	table_free(&table);
	assert_null(table);
	table_free(&table);
	return text;
}

#define ROWS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_printed(const char *const *rows, const char *want)
{
	char *text = printed(rows);

	assert_string_equal(text, want);
	free(text);
}

static void columns_are_as_wide_as_they_must(void **state)
{
	(void)state;
	assert_printed(ROWS("{\"address\":\"a@b.test\",\"quota\":12345678,\"note\":\"x\"}", "{\"note\":\"longer than the head\",\"address\":\"c\",\"quota\":-1}"),
	    "address   quota     note\n"
	    "a@b.test  12345678  x\n"
	    "c         -1        longer than the head\n");
}

static void the_keys_are_the_columns(void **state)
{
	(void)state;
	assert_printed(ROWS("{\"id\":7,\"held\":true,\"sender\":\"\",\"next\":null}"), "id  held  sender  next\n7   yes   -       -\n");
}

static void nothing_is_no_table(void **state)
{
	(void)state;
	assert_printed(ROWS(NULL), "");
	assert_printed(ROWS("no json", "{\"a\":1", "{\"a\":1,\"a\":2}", ""), "");
}

/* The first row's keys are the columns: what others lack is "-", what they have more is left out. */
static void the_first_row_has_the_columns(void **state)
{
	(void)state;
	assert_printed(ROWS("{\"a\":true,\"b\":null,\"c\":\"\"}", "{\"d\":4}", "{\"a\":false,\"b\":[1,{\"x\":2.5}],\"c\":9223372036854775807}"),
	    "a    b              c\n"
	    "yes  -              -\n"
	    "-    -              -\n"
	    "no   [1,{\"x\":2.5}]  9223372036854775807\n");
}

/* Nothing that comes from outside moves the cursor: C0, DEL, and the C1 controls that terminals read from UTF-8. */
static void control_characters_are_replaced(void **state)
{
	(void)state;
	assert_printed(ROWS("{\"a\":\"x\\u001b[2J\\r\\n\\t\\u007fy\",\"b\":1}"), "a           b\nx?[2J????y  1\n");
	assert_printed(ROWS("{\"a\":[\"\\u009b2J\"]}"), "a\n[\"?2J\"]\n");
	assert_printed(ROWS("{\"a\":\"x\\u009b2J\\u0080\\u009f\\u00a0\\u00e4\"}"), "a\nx?2J??\xc2\xa0\xc3\xa4\n");
}

/* All but the last column have an end; a character is not cut in two. */
static void long_cells_are_cut(void **state)
{
	char rows[2][800], want[800], wide[81] = "";

	(void)state;
	for (int i = 0; i < 40; i++)
		strcat(wide, "\xc3\xa4");
	snprintf(rows[0], sizeof(rows[0]), "{\"a\":\"%s\",\"b\":\"%s\"}", wide, wide);
	snprintf(rows[1], sizeof(rows[1]), "{\"a\":\"x%s\",\"b\":1}", wide);
	snprintf(want, sizeof(want), "a%29s  b\n%.60s  %s\nx%.58s  1\n", "", wide, wide, wide);
	assert_printed(ROWS(rows[0], rows[1]), want);
}

/* Rows that are read the short way and those that are not come to the same. */
static void plain_rows_and_others_are_shown_alike(void **state)
{
	(void)state;
	assert_printed(ROWS("{\"id\":\"1A\",\"arrived\":0,\"count\":12,\"held\":true,\"reason\":\"x y\"}",
			   "{\"id\":\"2B\",\"arrived\":1800000000,\"count\":0,\"held\":false,\"reason\":\"\"}",
			   "{ \"id\":\"2B\",\"arrived\":1800000000,\"count\":0,\"held\":false,\"reason\":\"\"}",
			   "{\"id\":\"3\\u00e4\",\"arrived\":1800000000,\"count\":-5,\"held\":null,\"reason\":\"\\\"\"}",
			   "{\"arrived\":1800000000,\"id\":\"4D\",\"count\":1,\"held\":true,\"reason\":\"z\"}"),
	    "id  arrived              count  held  reason\n"
	    "1A  -                    12     yes   x y\n"
	    "2B  2027-01-15 08:00:00  0      no    -\n"
	    "2B  2027-01-15 08:00:00  0      no    -\n"
	    "3\xc3\xa4  2027-01-15 08:00:00  -5     -     \"\n"
	    "4D  2027-01-15 08:00:00  1      yes   z\n");
	/* None of these is a row, or they are others' business. */
	assert_printed(ROWS("{\"a\":1,\"b\":\"x\"}", "{\"a\":1,\"b\":\"x\"", "{\"a\":1,\"b\":\"x\"}}", "{\"a\":01,\"b\":\"x\"}", "{\"a\":1,\"b\":yes}", "{\"a\":,\"b\":\"x\"}",
			   "{\"a\":1,\"b\":\"x\",\"a\":2}", "{\"a\":1,\"b\":\"x\x1b\"}", "{\"a\":12345678901234567890,\"b\":\"x\"}"),
	    "a  b\n1  x\n");
	assert_printed(ROWS("{\"a\":1,\"b\":\"x\"}", "{\"a\":2,\"b\":\"y\",\"c\":3}", "{\"a\":3}"), "a  b\n1  x\n2  y\n3  -\n");
}

/* A time is one in whichever column it stands; 0 is none. Counts stay as they are. */
static void times_are_shown_as_people_write_them(void **state)
{
	(void)state;
	assert_printed(ROWS("{\"when\":1800000000,\"attempts\":1,\"next\":1800000300}", "{\"when\":1800000000,\"attempts\":0,\"next\":0}", "{ \"when\":0,\"attempts\":0,\"next\":0}"),
	    "when                 attempts  next\n"
	    "2027-01-15 08:00:00  1         2027-01-15 08:05:00\n"
	    "2027-01-15 08:00:00  0         -\n"
	    "-                    0         -\n");
}

/* What is of both rows stands there once; lists go on. */
static void objects_are_tables_of_their_own(void **state)
{
	(void)state;
	assert_printed(ROWS("{\"id\":1,\"of\":{\"body\":\"x\"},\"list\":[{\"n\":1},{\"n\":2}],\"words\":[\"a\"],\"end\":\"y\"}", "{\"id\":2,\"of\":{\"body\":\"x\"},\"list\":[{\"n\":3}],\"words\":[],\"end\":\"z\"}",
			   "{\"id\":3,\"words\":[],\"end\":\"z\"}"),
	    "id  words  end\n1   [\"a\"]  y\n2   []     z\n3   []     z\n\nbody\nx\n\nn\n1\n2\n3\n");
}

static void columns_have_an_end(void **state)
{
	char row[1000] = "{", *text;
	size_t columns = 1;

	(void)state;
	for (int i = 0; i < 40; i++)
		snprintf(row + strlen(row), sizeof(row) - strlen(row), "%s\"c%d\":%d", i > 0 ? "," : "", i, i);
	strcat(row, "}");
	text = printed(ROWS(row));
	for (char *c = text; *c != '\n'; c++)
		columns += c[0] == ' ' && c[1] != ' ';
	assert_int_equal(columns, 24);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(columns_are_as_wide_as_they_must),
	    cmocka_unit_test(the_keys_are_the_columns),
	    cmocka_unit_test(nothing_is_no_table),
	    cmocka_unit_test(the_first_row_has_the_columns),
	    cmocka_unit_test(control_characters_are_replaced),
	    cmocka_unit_test(long_cells_are_cut),
	    cmocka_unit_test(plain_rows_and_others_are_shown_alike),
	    cmocka_unit_test(times_are_shown_as_people_write_them),
	    cmocka_unit_test(objects_are_tables_of_their_own),
	    cmocka_unit_test(columns_have_an_end),
	};

	setenv("TZ", "UTC0", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
