/*
 * Search keys: a tree within the limits, cheap keys first, which written down and
 * read again is the same.
 *
 * Input: what stands behind SEARCH.
 */
#include "tests/fuzz/fuzz.h"

#include "imap/body.h"
#include "imap/flags.h"
#include "imap/search.h"

#include <stdio.h>
#include <time.h>

enum { POOL_HERE = 16 * 1024 * 1024, EXISTS = 50, HIGHEST_UID = 900 };

static void put_set(const struct imap_set *set, struct buf *out)
{
	for (size_t i = 0; i < set->count; i++)
		buf_printf(out, "%s%u:%u", i > 0 ? "," : "", set->ranges[i].first, set->ranges[i].last);
}

static void put_day(const char *word, int64_t when, struct buf *out)
{
	char text[32];
	struct tm tm;
	time_t t = (time_t)when;

	fuzz_assert(gmtime_r(&t, &tm) != NULL);
	strftime(text, sizeof(text), "%d-%b-", &tm);
	buf_printf(out, "%s %s%04d", word, text, tm.tm_year + 1900);
}

static void put_key(const struct imap_search_key *key, struct buf *out);

static void put_list(const struct imap_search_key *key, struct buf *out)
{
	for (; key != NULL; key = key->next) {
		put_key(key, out);
		if (key->next != NULL)
			buf_add_char(out, ' ');
	}
}

static const char *flag_word(uint64_t flag)
{
	switch (flag) {
	case IMAP_SEEN:
		return "SEEN";
	case IMAP_ANSWERED:
		return "ANSWERED";
	case IMAP_FLAGGED:
		return "FLAGGED";
	case IMAP_DELETED:
		return "DELETED";
	default:
		fuzz_assert(flag == IMAP_DRAFT);
		return "DRAFT";
	}
}

static void put_key(const struct imap_search_key *key, struct buf *out)
{
	static const char *const days[] = {[IMAP_SEARCH_BEFORE] = "BEFORE", [IMAP_SEARCH_ON] = "ON", [IMAP_SEARCH_SINCE] = "SINCE",
	    [IMAP_SEARCH_SENTBEFORE] = "SENTBEFORE", [IMAP_SEARCH_SENTON] = "SENTON", [IMAP_SEARCH_SENTSINCE] = "SENTSINCE"};

	switch (key->kind) {
	case IMAP_SEARCH_AND:
		fuzz_assert(key->first != NULL);
		buf_add_char(out, '(');
		put_list(key->first, out);
		buf_add_char(out, ')');
		break;
	case IMAP_SEARCH_OR:
		fuzz_assert(key->first != NULL && key->first->next != NULL && key->first->next->next == NULL);
		buf_add_str(out, "OR ");
		put_list(key->first, out);
		break;
	case IMAP_SEARCH_NOT:
		fuzz_assert(key->first != NULL && key->first->next == NULL);
		buf_add_str(out, "NOT ");
		put_key(key->first, out);
		break;
	case IMAP_SEARCH_ALL:
		buf_add_str(out, "ALL");
		break;
	case IMAP_SEARCH_UID:
		buf_add_str(out, "UID ");
		put_set(&key->set, out);
		break;
	case IMAP_SEARCH_SEQUENCE:
		put_set(&key->set, out);
		break;
	case IMAP_SEARCH_FLAG:
		buf_add_str(out, flag_word(key->number));
		break;
	case IMAP_SEARCH_KEYWORD:
		buf_printf(out, "KEYWORD %.*s", SPAN_ARG(key->text));
		break;
	case IMAP_SEARCH_RECENT:
		buf_add_str(out, "RECENT");
		break;
	case IMAP_SEARCH_LARGER:
	case IMAP_SEARCH_SMALLER:
		buf_printf(out, "%s %llu", key->kind == IMAP_SEARCH_LARGER ? "LARGER" : "SMALLER", (unsigned long long)key->number);
		break;
	case IMAP_SEARCH_HEADER:
		buf_add_str(out, "HEADER ");
		imap_string_format(key->name, out);
		buf_add_char(out, ' ');
		imap_string_format(key->text, out);
		break;
	case IMAP_SEARCH_BODY:
	case IMAP_SEARCH_TEXT:
		buf_add_str(out, key->kind == IMAP_SEARCH_BODY ? "BODY " : "TEXT ");
		imap_string_format(key->text, out);
		break;
	default:
		put_day(days[key->kind], key->when, out);
	}
}

static unsigned cost_of_kind(enum imap_search_kind kind)
{
	return kind >= IMAP_SEARCH_BODY ? 3 : kind == IMAP_SEARCH_HEADER ? 2 : kind >= IMAP_SEARCH_SENTBEFORE;
}

struct tree {
	unsigned depth, cost;
};

/* count: of its keys. */
static struct tree look_at_tree(const struct imap_search_key *key, size_t *count)
{
	struct tree tree = {0, cost_of_kind(key->kind)};
	unsigned before = 0;

	(*count)++;
	fuzz_assert(key->kind <= IMAP_SEARCH_NOT || key->first == NULL);
	for (const struct imap_search_key *k = key->first; k != NULL; k = k->next) {
		struct tree below = look_at_tree(k, count);

		fuzz_assert(key->kind != IMAP_SEARCH_AND || below.cost >= before);
		before = below.cost;
		tree.depth = below.depth > tree.depth ? below.depth : tree.depth;
		tree.cost = below.cost > tree.cost ? below.cost : tree.cost;
	}
	tree.depth++;
	return tree;
}

static void compare(const struct imap_search_key *a, const struct imap_search_key *b)
{
	for (; a != NULL && b != NULL; a = a->next, b = b->next) {
		fuzz_assert(a->kind == b->kind && a->when == b->when && a->number == b->number && a->set.count == b->set.count);
		fuzz_assert_same(a->name, b->name);
		fuzz_assert_same(a->text, b->text);
		for (size_t i = 0; i < a->set.count; i++)
			fuzz_assert(a->set.ranges[i].first == b->set.ranges[i].first && a->set.ranges[i].last == b->set.ranges[i].last);
		compare(a->first, b->first);
	}
	fuzz_assert(a == NULL && b == NULL);
}

static void read_again(const struct imap_search *search, struct pool *pool)
{
	struct imap_search *again;
	struct imap_lex lex;
	struct buf text;

	buf_init(&text, 4 * 1024 * 1024);
	put_list(search->root->first, &text);
	imap_lex_init(&lex, buf_span(&text), pool);
	again = imap_search_parse(&lex, EXISTS, HIGHEST_UID);
	if (again == NULL)
		fprintf(stderr, "%.*s\n%s\n", SPAN_ARG(buf_span(&text)), lex.wrong);
	fuzz_assert(again != NULL);
	compare(search->root, again->root);
	buf_fini(&text);
}

void fuzz_one(struct span input)
{
	struct pool *pool = pool_new(NULL, POOL_HERE);
	struct imap_search *search;
	struct imap_lex lex;
	size_t count = 0;
	unsigned depth;

	imap_lex_init(&lex, input, pool);
	search = imap_search_parse(&lex, EXISTS, HIGHEST_UID);
	fuzz_assert((search == NULL) == (lex.wrong != NULL) && lex.at <= lex.in.len);
	if (search != NULL) {
		fuzz_assert(lex.at == lex.in.len && search->root->kind == IMAP_SEARCH_AND && search->returns < 16);
		fuzz_assert(search->extended ? search->returns != 0 : search->returns == 0);
		depth = look_at_tree(search->root, &count).depth;
		fuzz_assert(count <= IMAP_SEARCH_KEYS && depth <= IMAP_SEARCH_DEPTH + 5);
		/* NEW takes more room and goes deeper when it is written out. */
		if (depth < IMAP_SEARCH_DEPTH - 4 && count < IMAP_SEARCH_KEYS / 2)
			read_again(search, pool);
	}
	pool_free(&pool);
}
