#include "alias/set.h"

void alias_set_add(struct buf *out, enum alias_mark mark, const char *path, struct span octets)
{
	buf_printf(out, "%c %zu %s\n", (char)mark, octets.len, path);
	buf_add_span(out, octets);
}

const struct alias_list *alias_set_list(const struct alias_set *set, struct span path)
{
	for (size_t i = 0; i < set->list_count; i++)
		if (span_eq(set->lists[i].path, path))
			return &set->lists[i];
	return NULL;
}

/* ---- reading ---- */

struct part {
	char mark;
	const char *path;
	struct span octets;
};

static int corrupt(struct err *err)
{
	return err_set(err, E_CORRUPT, "the aliases came damaged");
}

/* The first part of *text, taken off. */
static int take_part(struct span *text, struct pool *pool, struct part *out, struct err *err)
{
	size_t end = span_find(*text, '\n'), blank;
	struct span head = span_sub(*text, 0, end), rest;
	uint64_t length;

	if (end == text->len || head.len < 5 || head.ptr[1] != ' ' || strchr("FfLl", head.ptr[0]) == NULL)
		return corrupt(err);
	rest = span_from(head, 2);
	blank = span_find(rest, ' ');
	*text = span_from(*text, end + 1);
	if (blank == rest.len || !span_u64(span_sub(rest, 0, blank), text->len, &length))
		return corrupt(err);
	out->mark = head.ptr[0];
	rest = span_from(rest, blank + 1);
	out->path = pool_strndup(pool, rest.ptr, rest.len);
	out->octets = span_sub(*text, 0, (size_t)length);
	*text = span_from(*text, (size_t)length);
	return out->path != NULL ? 0 : err_set(err, E_NOMEM, "out of memory");
}

static const char *words_of(struct alias_set *set, struct span words)
{
	const char *why = pool_strndup(set->pool, words.len > 0 ? words.ptr : "", words.len);

	return why != NULL ? why : "out of memory";
}

static int take_list(struct alias_set *set, const struct part *part, struct err *err)
{
	struct alias_list *list = &set->lists[set->list_count];
	struct err why = {0};
	int r = 0;

	if (set->list_count == ALIAS_INCLUDES_MAX)
		return corrupt(err);
	set->list_count++;
	list->path = span_str(part->path);
	if (part->mark == ALIAS_MARK_NO_LIST)
		list->why = words_of(set, part->octets);
	else
		r = alias_list_parse(part->octets, part->path, set->pool, &list->list, &why);
	if (r == E_NOMEM)
		return err_set(err, r, "%s", why.text); /* nothing is wrong with the list */
	if (r != 0)
		list->why = words_of(set, span_str(why.text));
	return 0;
}

static int take_parts(struct alias_set *set, struct span text, struct err *err)
{
	struct part part = {0};
	int r = 0;

	while (text.len > 0 && r == 0) {
		r = take_part(&text, set->pool, &part, err);
		if (r != 0)
			return r;
		if (part.mark == ALIAS_MARK_FILE)
			r = alias_file_parse(part.octets, part.path, set->pool, &set->file, err);
		else if (part.mark == ALIAS_MARK_NO_FILE)
			set->why = words_of(set, part.octets);
		else
			r = take_list(set, &part, err);
	}
	return r;
}

int alias_set_load(struct span text, struct alias_set **out, struct err *err)
{
	struct pool *pool = pool_new(NULL, ALIAS_POOL_MAX);
	struct alias_set *set = pool != NULL ? pool_new_object(pool, struct alias_set) : NULL;
	int r;

	*out = NULL;
	if (set == NULL) {
		pool_free(&pool);
		return err_set(err, E_NOMEM, "out of memory");
	}
	set->pool = pool;
	r = take_parts(set, text, err);
	if (r == 0)
		*out = set;
	else
		pool_free(&pool);
	return r;
}

void alias_set_free(struct alias_set **set)
{
	struct pool *pool = *set != NULL ? (*set)->pool : NULL;

	*set = NULL;
	pool_free(&pool);
}
