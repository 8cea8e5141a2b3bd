#include "control/table.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <jansson.h>
#include <stdlib.h>
#include <time.h>

enum { TABLE_COLUMNS = 24, TABLE_CELL = 60, TABLE_TEXT = 1024, TABLE_DETAILS = 4 };

/* The cells as they are printed, row after row, a NUL behind each: a queue has a million rows. */
struct table {
	struct buf cells;
	bool begun;   /* the first row has come */
	size_t count; /* columns */
	char *names[TABLE_COLUMNS];
	size_t widths[TABLE_COLUMNS]; /* characters */
	/* Of objects within rows, in the order in which they came. */
	struct table *details[TABLE_DETAILS];
	char *detail_names[TABLE_DETAILS];
	char *last; /* of a table of details: the row before */
};

struct table *table_new(void)
{
	struct table *table = calloc(1, sizeof(*table));

	if (table != NULL)
		buf_init(&table->cells, SIZE_MAX / 2);
	return table;
}

void table_free(struct table **table)
{
	for (size_t i = 0; *table != NULL && i < (*table)->count; i++)
		free((*table)->names[i]);
	for (size_t i = 0; *table != NULL && i < TABLE_DETAILS; i++) {
		table_free(&(*table)->details[i]);
		free((*table)->detail_names[i]);
	}
	if (*table != NULL) {
		buf_fini(&(*table)->cells);
		free((*table)->last);
	}
	free(*table);
	*table = NULL;
}

/* 0 is no time: nothing is due, or nothing happened. */
static void time_text(json_int_t seconds, char *out, size_t size)
{
	time_t when = (time_t)seconds;
	struct tm tm;

	/* strftime looks for the time zone anew with each call. */
	if (seconds == 0 || localtime_r(&when, &tm) == NULL ||
	    snprintf(out, size, "%04d-%02d-%02d %02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec) >= (int)size)
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
static bool for_people(const char *name, json_int_t n, char *out, size_t size)
{
	static const struct {
		const char *key;
		void (*text)(json_int_t n, char *out, size_t size);
	} keys[] = {{"arrived", time_text}, {"next", time_text}, {"created", time_text}, {"used", time_text}, {"last", time_text}, {"when", time_text}, {"uptime", duration_text}, {"memory", memory_text}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i].key, name) == 0) {
			keys[i].text(n, out, size);
			return true;
		}
	return false;
}

/* Without what could move a terminal's cursor (C0, DEL, C1); cut between characters. */
static void string_text(struct span s, char *out, size_t limit)
{
	size_t n = 0;

	while (s.len > 0) {
		const char *at;
		int32_t cp;
		bool shown;
		size_t len;

		while (s.len > 0 && n < limit && *s.ptr >= ' ' && *s.ptr < 0x7f) {
			out[n++] = *s.ptr;
			s = span_from(s, 1);
		}
		if (s.len == 0 || n == limit)
			break;
		at = s.ptr;
		cp = utf8_next(&s);
		shown = cp >= ' ' && (cp < 0x7f || cp >= 0xa0);
		len = shown ? (size_t)(s.ptr - at) : 1;
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

/* An object, or a list of them: rows of a table of their own. */
static bool is_detail(const json_t *value)
{
	return json_is_object(value) || json_is_object(json_array_get(value, 0));
}

static void take_columns(struct table *table, json_t *first)
{
	json_t *value;
	const char *key;
	char text[TABLE_CELL + 1];

	json_object_foreach(first, key, value) {
		if (is_detail(value))
			continue;
		char *name = table->count < TABLE_COLUMNS ? strdup(key) : NULL;

		if (name == NULL)
			return;
		string_text(span_str(key), text, TABLE_CELL);
		table->widths[table->count] = characters(text);
		table->names[table->count++] = name;
	}
}

static void add_cell(struct table *table, size_t column, const char *text)
{
	size_t width = characters(text);

	if (width > table->widths[column])
		table->widths[column] = width;
	buf_add(&table->cells, text, strlen(text) + 1);
}

/* ---- rows with the columns of the first one, in ASCII, nothing escaped, nothing nested: nearly all there are, at a third of the cost ---- */

static bool next_char(struct span *rest, char c)
{
	if (rest->len == 0 || *rest->ptr != c)
		return false;
	*rest = span_from(*rest, 1);
	return true;
}

static bool next_string(struct span *rest, struct span *out)
{
	size_t n = 0;

	if (!next_char(rest, '"'))
		return false;
	while (n < rest->len && rest->ptr[n] >= ' ' && rest->ptr[n] < 0x7f && rest->ptr[n] != '"' && rest->ptr[n] != '\\')
		n++;
	*out = span_sub(*rest, 0, n);
	*rest = span_from(*rest, n);
	return next_char(rest, '"');
}

/* A number without a sign or a fraction, true or false. */
static bool next_word(struct span *rest, struct span *out)
{
	size_t n = 0;

	while (n < rest->len && ((rest->ptr[n] >= '0' && rest->ptr[n] <= '9') || (rest->ptr[n] >= 'a' && rest->ptr[n] <= 'z')))
		n++;
	*out = span_sub(*rest, 0, n);
	*rest = span_from(*rest, n);
	return n > 0;
}

static bool word_text(const char *name, struct span word, char *out, size_t size)
{
	json_int_t n = 0;

	if (span_eq(word, SPAN_LIT("true")) || span_eq(word, SPAN_LIT("false"))) {
		snprintf(out, size, "%s", word.ptr[0] == 't' ? "yes" : "no");
		return true;
	}
	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] < '0' || word.ptr[i] > '9' || word.len > 18 || (i == 0 && word.ptr[0] == '0' && word.len > 1))
			return false;
		n = 10 * n + (word.ptr[i] - '0');
	}
	if (!for_people(name, n, out, size))
		span_copy(word, out, size);
	return true;
}

static bool plain_cell(const struct table *table, size_t c, struct span *rest, char *out, size_t size)
{
	struct span name, value;

	if (!next_string(rest, &name) || !span_eq(name, span_str(table->names[c])) || !next_char(rest, ':'))
		return false;
	if (rest->len > 0 && *rest->ptr != '"')
		return next_word(rest, &value) && word_text(table->names[c], value, out, size);
	if (!next_string(rest, &value))
		return false;
	span_copy(value.len > 0 ? span_sub(value, 0, c + 1 == table->count ? size - 1 : TABLE_CELL) : span_str("-"), out, size);
	return true;
}

static bool add_plain(struct table *table, struct span row)
{
	char text[TABLE_TEXT];
	bool good = table->count > 0 && next_char(&row, '{');

	for (size_t c = 0; c < table->count && good; c++) {
		good = plain_cell(table, c, &row, text, sizeof(text)) && next_char(&row, c + 1 == table->count ? '}' : ',');
		if (good)
			add_cell(table, c, text);
	}
	return good && row.len == 0;
}

/* ---- any row ---- */

static struct table *detail_of(struct table *table, const char *name)
{
	size_t i = 0;

	while (i < TABLE_DETAILS && table->details[i] != NULL && strcmp(table->detail_names[i], name) != 0)
		i++;
	if (i == TABLE_DETAILS || table->details[i] != NULL)
		return i < TABLE_DETAILS ? table->details[i] : NULL;
	table->detail_names[i] = strdup(name);
	table->details[i] = table->detail_names[i] != NULL ? table_new() : NULL;
	if (table->details[i] == NULL) {
		free(table->detail_names[i]);
		table->detail_names[i] = NULL;
	}
	return table->details[i];
}

/* What several rows have in common stands there once. */
static void add_detail(struct table *detail, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	if (text != NULL && (detail->last == NULL || strcmp(detail->last, text) != 0))
		table_add(detail, span_str(text));
	free(detail->last);
	detail->last = text;
}

static void add_details(struct table *table, json_t *row)
{
	json_t *value, *object;
	const char *key;
	size_t i;

	json_object_foreach(row, key, value) {
		struct table *detail = is_detail(value) ? detail_of(table, key) : NULL;

		if (detail != NULL && json_is_object(value))
			add_detail(detail, value);
		else if (detail != NULL)
			json_array_foreach(value, i, object)
				add_detail(detail, object);
	}
}

static void add_any(struct table *table, struct span row)
{
	json_t *object = json_loadb(row.ptr, row.len, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(object) && !table->begun) {
		take_columns(table, object);
		table->begun = true;
	}
	for (size_t c = 0; json_is_object(object) && c < table->count; c++) {
		json_t *value = json_object_get(object, table->names[c]);
		char text[TABLE_TEXT];

		if (!json_is_integer(value) || !for_people(table->names[c], json_integer_value(value), text, sizeof(text)))
			cell_text(value, text, sizeof(text), c + 1 == table->count);
		add_cell(table, c, text);
	}
	if (json_is_object(object))
		add_details(table, object);
	json_decref(object);
}

void table_add(struct table *table, struct span row)
{
	size_t before = buf_len(&table->cells), widths[TABLE_COLUMNS];

	memcpy(widths, table->widths, sizeof(widths));
	if (!add_plain(table, row)) {
		buf_cut(&table->cells, before);
		memcpy(table->widths, widths, sizeof(widths));
		add_any(table, row);
	}
	if (buf_failed(&table->cells))
		buf_cut(&table->cells, before); /* whole rows only */
}

static void print_cell(const struct table *table, size_t column, const char *text, FILE *out)
{
	static const char blanks[] = "                                                                ";
	size_t left = table->widths[column] + 2 - characters(text);

	fputs(text, out);
	if (column + 1 == table->count) { /* nothing stands behind the last */
		putc('\n', out);
		return;
	}
	for (size_t n; left > 0; left -= n) {
		n = left < sizeof(blanks) - 1 ? left : sizeof(blanks) - 1;
		fwrite(blanks, 1, n, out);
	}
}

void table_print(const struct table *table, FILE *out)
{
	struct span rest = buf_span(&table->cells);

	for (size_t c = 0; c < table->count; c++) {
		char text[TABLE_CELL + 1];

		string_text(span_str(table->names[c]), text, TABLE_CELL);
		print_cell(table, c, text, out);
	}
	for (size_t c = 0; rest.len > 0; c = (c + 1) % table->count) {
		print_cell(table, c, rest.ptr, out);
		rest = span_from(rest, strlen(rest.ptr) + 1);
	}
	for (size_t i = 0; i < TABLE_DETAILS && table->details[i] != NULL; i++) {
		putc('\n', out);
		table_print(table->details[i], out);
	}
}
