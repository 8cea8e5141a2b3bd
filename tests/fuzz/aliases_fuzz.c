/*
 * A file of aliases, and a list. The first octet chooses: even, a file; odd, a list; 254 and 255, a set as master writes it. What is read is
 * found under its name, and written out and read again is the same; what is refused says where.
 */
#include "tests/fuzz/fuzz.h"

#include "alias/set.h"

#include <string.h>

static void write_targets(const struct alias *alias, bool list, struct buf *out)
{
	for (const struct alias_target *t = alias->targets; t != NULL; t = t->next) {
		fuzz_assert(memchr(t->text.ptr, '\n', t->text.len) == NULL && memchr(t->text.ptr, '\0', t->text.len) == NULL);
		fuzz_assert(t->text.len > 0 && t->text.len <= ALIAS_TARGET_MAX);
		alias_target_format(t, out);
		buf_add_str(out, t->next == NULL ? "" : list ? "\n" : ", ");
	}
}

static void compare(const struct alias *a, const struct alias *b)
{
	const struct alias_target *u = b->targets;

	fuzz_assert(a->count == b->count);
	for (const struct alias_target *t = a->targets; t != NULL; t = t->next, u = u->next) {
		fuzz_assert(t->kind == u->kind);
		fuzz_assert_same(t->text, u->text);
	}
	fuzz_assert(u == NULL);
}

static void check_error(int r, const struct err *err)
{
	fuzz_assert(err->code == r && (r == E_SYNTAX || r == E_TOOBIG) && strncmp(err->text, "input:", 6) == 0);
}

static void try_file(struct span input, struct pool *pool)
{
	struct alias_file file, again;
	struct err err = {0};
	struct buf text;
	int r = alias_file_parse(input, "input", pool, &file, &err);

	if (r != 0) {
		check_error(r, &err);
		return;
	}
	buf_init(&text, ALIAS_FILE_MAX);
	for (size_t i = 0; i < file.count; i++) {
		fuzz_assert(alias_find(&file, file.aliases[i]->name) == file.aliases[i]);
		alias_name_format(file.aliases[i]->name, &text);
		buf_add_str(&text, ": ");
		write_targets(file.aliases[i], false, &text);
		buf_add_char(&text, '\n');
	}
	fuzz_assert(!buf_failed(&text));
	fuzz_assert(alias_file_parse(buf_span(&text), "again", pool, &again, &err) == 0 && again.count == file.count);
	for (size_t i = 0; i < file.count; i++) {
		fuzz_assert_same(file.aliases[i]->name, again.aliases[i]->name);
		compare(file.aliases[i], again.aliases[i]);
	}
	buf_fini(&text);
}

static void try_list(struct span input, struct pool *pool)
{
	struct alias list, again;
	struct err err = {0};
	struct buf text;
	int r = alias_list_parse(input, "input", pool, &list, &err);

	if (r != 0) {
		check_error(r, &err);
		return;
	}
	buf_init(&text, ALIAS_FILE_MAX);
	write_targets(&list, true, &text);
	fuzz_assert(alias_list_parse(buf_span(&text), "again", pool, &again, &err) == 0);
	compare(&list, &again);
	buf_fini(&text);
}

static void try_set(struct span input)
{
	struct alias_set *set;
	struct err err = {0};

	if (alias_set_load(input, &set, &err) != 0) {
		fuzz_assert(set == NULL && err.text[0] != '\0');
		return;
	}
	for (size_t i = 0; i < set->list_count; i++)
		fuzz_assert(alias_set_list(set, set->lists[i].path) != NULL);
	alias_set_free(&set);
}

void fuzz_one(struct span input)
{
	unsigned what = fuzz_byte(&input);
	struct pool *pool = pool_new(NULL, ALIAS_POOL_MAX);

	if (what >= 254)
		try_set(input);
	else if (what % 2 == 0)
		try_file(input, pool);
	else
		try_list(input, pool);
	pool_free(&pool);
}
