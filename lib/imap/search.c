#include "imap/search.h"

#include "imap/flags.h"

struct parser {
	struct imap_lex *lex;
	struct imap_search *search;
	uint32_t exists, highest_uid;
};

/* What a key's name says about it. */
static const struct key_word {
	struct span word;
	enum imap_search_kind kind;
	enum { ARG_NONE, ARG_TEXT, ARG_DATE, ARG_NUMBER, ARG_HEADER, ARG_UIDS, ARG_NOT, ARG_OR, ARG_ATOM } argument;
	uint32_t flag;
	bool negated;
	const char *field;
} key_words[] = {
    {SPAN_LIT("ALL"), IMAP_SEARCH_ALL, ARG_NONE, 0, false, NULL},
    {SPAN_LIT("ANSWERED"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_ANSWERED, false, NULL},
    {SPAN_LIT("BCC"), IMAP_SEARCH_HEADER, ARG_TEXT, 0, false, "Bcc"},
    {SPAN_LIT("BEFORE"), IMAP_SEARCH_BEFORE, ARG_DATE, 0, false, NULL},
    {SPAN_LIT("BODY"), IMAP_SEARCH_BODY, ARG_TEXT, 0, false, NULL},
    {SPAN_LIT("CC"), IMAP_SEARCH_HEADER, ARG_TEXT, 0, false, "Cc"},
    {SPAN_LIT("DELETED"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_DELETED, false, NULL},
    {SPAN_LIT("DRAFT"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_DRAFT, false, NULL},
    {SPAN_LIT("FLAGGED"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_FLAGGED, false, NULL},
    {SPAN_LIT("FROM"), IMAP_SEARCH_HEADER, ARG_TEXT, 0, false, "From"},
    {SPAN_LIT("HEADER"), IMAP_SEARCH_HEADER, ARG_HEADER, 0, false, NULL},
    {SPAN_LIT("KEYWORD"), IMAP_SEARCH_KEYWORD, ARG_ATOM, 0, false, NULL},
    {SPAN_LIT("LARGER"), IMAP_SEARCH_LARGER, ARG_NUMBER, 0, false, NULL},
    {SPAN_LIT("NEW"), IMAP_SEARCH_AND, ARG_NONE, 0, false, NULL}, /* RECENT UNSEEN, below */
    {SPAN_LIT("NOT"), IMAP_SEARCH_NOT, ARG_NOT, 0, false, NULL},
    {SPAN_LIT("OLD"), IMAP_SEARCH_RECENT, ARG_NONE, 0, true, NULL},
    {SPAN_LIT("ON"), IMAP_SEARCH_ON, ARG_DATE, 0, false, NULL},
    {SPAN_LIT("OR"), IMAP_SEARCH_OR, ARG_OR, 0, false, NULL},
    {SPAN_LIT("RECENT"), IMAP_SEARCH_RECENT, ARG_NONE, 0, false, NULL},
    {SPAN_LIT("SEEN"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_SEEN, false, NULL},
    {SPAN_LIT("SENTBEFORE"), IMAP_SEARCH_SENTBEFORE, ARG_DATE, 0, false, NULL},
    {SPAN_LIT("SENTON"), IMAP_SEARCH_SENTON, ARG_DATE, 0, false, NULL},
    {SPAN_LIT("SENTSINCE"), IMAP_SEARCH_SENTSINCE, ARG_DATE, 0, false, NULL},
    {SPAN_LIT("SINCE"), IMAP_SEARCH_SINCE, ARG_DATE, 0, false, NULL},
    {SPAN_LIT("SMALLER"), IMAP_SEARCH_SMALLER, ARG_NUMBER, 0, false, NULL},
    {SPAN_LIT("SUBJECT"), IMAP_SEARCH_HEADER, ARG_TEXT, 0, false, "Subject"},
    {SPAN_LIT("TEXT"), IMAP_SEARCH_TEXT, ARG_TEXT, 0, false, NULL},
    {SPAN_LIT("TO"), IMAP_SEARCH_HEADER, ARG_TEXT, 0, false, "To"},
    {SPAN_LIT("UID"), IMAP_SEARCH_UID, ARG_UIDS, 0, false, NULL},
    {SPAN_LIT("UNANSWERED"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_ANSWERED, true, NULL},
    {SPAN_LIT("UNDELETED"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_DELETED, true, NULL},
    {SPAN_LIT("UNDRAFT"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_DRAFT, true, NULL},
    {SPAN_LIT("UNFLAGGED"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_FLAGGED, true, NULL},
    {SPAN_LIT("UNKEYWORD"), IMAP_SEARCH_KEYWORD, ARG_ATOM, 0, true, NULL},
    {SPAN_LIT("UNSEEN"), IMAP_SEARCH_FLAG, ARG_NONE, IMAP_SEEN, true, NULL},
};

static struct imap_search_key *take_key(struct parser *p, unsigned depth);

static struct imap_search_key *key_new(struct parser *p, enum imap_search_kind kind)
{
	struct imap_search_key *key = NULL;

	if (++p->search->keys <= IMAP_SEARCH_KEYS)
		key = pool_new_object(p->lex->pool, struct imap_search_key);
	if (key == NULL)
		imap_lex_fail(p->lex, "too many search keys");
	else
		key->kind = kind;
	return key;
}

static struct imap_search_key *negated(struct parser *p, struct imap_search_key *key)
{
	struct imap_search_key *not = key_new(p, IMAP_SEARCH_NOT);

	if (not != NULL)
		not->first = key;
	return not;
}

static bool take_set(struct parser *p, uint32_t highest, struct imap_search_key *key)
{
	struct span text;

	if (!imap_lex_set(p->lex, &text))
		return false;
	/* '*' in an empty mailbox names nothing, and no message has the number 0. */
	if (!imap_set_parse(text, highest > 0 ? highest : 1, p->lex->pool, &key->set))
		return imap_lex_fail(p->lex, "a sequence set is malformed");
	return true;
}

/* NEW: RECENT and UNSEEN. */
static struct imap_search_key *key_of_new(struct parser *p)
{
	struct imap_search_key *both = key_new(p, IMAP_SEARCH_AND), *recent = key_new(p, IMAP_SEARCH_RECENT);
	struct imap_search_key *seen = key_new(p, IMAP_SEARCH_FLAG), *unseen = negated(p, seen);

	if (both == NULL || recent == NULL || seen == NULL || unseen == NULL)
		return NULL;
	seen->number = IMAP_SEEN;
	both->first = recent;
	recent->next = unseen;
	return both;
}

static void take_argument(struct parser *p, const struct key_word *word, struct imap_search_key *key, unsigned depth)
{
	struct imap_lex *lex = p->lex;

	if (word->argument != ARG_NONE)
		imap_lex_space(lex);
	switch (word->argument) {
	case ARG_NONE:
		key->number = word->flag;
		break;
	case ARG_TEXT:
		key->name = span_str(word->field);
		imap_lex_astring(lex, &key->text);
		break;
	case ARG_HEADER:
		imap_lex_astring(lex, &key->name);
		imap_lex_space(lex);
		imap_lex_astring(lex, &key->text);
		break;
	case ARG_ATOM:
		imap_lex_atom(lex, &key->text);
		break;
	case ARG_DATE:
		imap_lex_date(lex, &key->when);
		break;
	case ARG_NUMBER:
		imap_lex_number(lex, UINT32_MAX, &key->number);
		break;
	case ARG_UIDS:
		take_set(p, p->highest_uid, key);
		break;
	case ARG_NOT:
		key->first = take_key(p, depth + 1);
		break;
	case ARG_OR:
		key->first = take_key(p, depth + 1);
		imap_lex_space(lex);
		if (key->first != NULL)
			key->first->next = take_key(p, depth + 1);
		break;
	}
}

static unsigned cost(const struct imap_search_key *key)
{
	unsigned most = 0;

	if (key->kind >= IMAP_SEARCH_BODY)
		return 3;
	if (key->kind == IMAP_SEARCH_HEADER)
		return 2;
	if (key->kind >= IMAP_SEARCH_SENTBEFORE)
		return 1;
	/* Each key is looked at once: asking twice on every level would double the work with each. */
	for (const struct imap_search_key *k = key->first; k != NULL && key->kind <= IMAP_SEARCH_NOT; k = k->next) {
		unsigned one = cost(k);

		most = one > most ? one : most;
	}
	return most;
}

/* A list in the order of costs, otherwise as it was. */
static struct imap_search_key *cheap_first(struct imap_search_key *list, const unsigned *costs)
{
	struct imap_search_key *heads[4] = {NULL}, **tails[4], *sorted = NULL, **link = &sorted;

	for (int i = 0; i < 4; i++)
		tails[i] = &heads[i];
	for (struct imap_search_key *next; list != NULL; list = next, costs++) {
		next = list->next;
		list->next = NULL;
		*tails[*costs] = list;
		tails[*costs] = &list->next;
	}
	for (int i = 0; i < 4; i++) {
		*link = heads[i];
		if (heads[i] != NULL)
			link = tails[i];
	}
	return sorted;
}

/* key SP key ... up to ')' or the end. */
static struct imap_search_key *take_list(struct parser *p, unsigned depth)
{
	struct imap_search_key *list = key_new(p, IMAP_SEARCH_AND), **link;
	unsigned *costs;
	size_t count = 0;

	if (list == NULL)
		return NULL;
	link = &list->first;
	do {
		*link = take_key(p, depth);
		if (*link == NULL)
			return NULL;
		link = &(*link)->next;
		count++;
	} while (imap_lex_take(p->lex, ' ') && !imap_lex_at_end(p->lex));
	costs = pool_array(p->lex->pool, count, sizeof(*costs));
	if (costs == NULL) {
		imap_lex_fail(p->lex, "the command is too large");
		return NULL;
	}
	count = 0;
	for (struct imap_search_key *k = list->first; k != NULL; k = k->next)
		costs[count++] = cost(k);
	list->first = cheap_first(list->first, costs);
	return list;
}

static struct imap_search_key *take_word_key(struct parser *p, unsigned depth)
{
	struct span word = imap_lex_word(p->lex);

	for (size_t i = 0; i < sizeof(key_words) / sizeof(key_words[0]); i++) {
		const struct key_word *known = &key_words[i];
		struct imap_search_key *key;

		if (!span_caseeq(word, known->word))
			continue;
		if (span_caseeq(word, SPAN_LIT("NEW")))
			return key_of_new(p);
		key = key_new(p, known->kind);
		if (key != NULL)
			take_argument(p, known, key, depth);
		return key != NULL && known->negated ? negated(p, key) : key;
	}
	imap_lex_fail(p->lex, "there is no such search key");
	return NULL;
}

static struct imap_search_key *take_key(struct parser *p, unsigned depth)
{
	struct imap_search_key *key;
	struct imap_lex *lex = p->lex;

	if (depth > IMAP_SEARCH_DEPTH) {
		imap_lex_fail(lex, "search keys are nested too deep");
		return NULL;
	}
	if (imap_lex_take(lex, '(')) {
		key = take_list(p, depth + 1);
		imap_lex_char(lex, ')');
	} else if (lex->at < lex->in.len && (ascii_is_digit(lex->in.ptr[lex->at]) || lex->in.ptr[lex->at] == '*')) {
		key = key_new(p, IMAP_SEARCH_SEQUENCE);
		if (key != NULL)
			take_set(p, p->exists, key);
	} else {
		key = take_word_key(p, depth);
	}
	return lex->wrong == NULL ? key : NULL;
}

static void take_returns(struct imap_lex *lex, struct imap_search *search)
{
	static const struct {
		struct span word;
		unsigned bit;
	} words[] = {{SPAN_LIT("MIN"), IMAP_RETURN_MIN}, {SPAN_LIT("MAX"), IMAP_RETURN_MAX}, {SPAN_LIT("ALL"), IMAP_RETURN_ALL},
	    {SPAN_LIT("COUNT"), IMAP_RETURN_COUNT}};

	search->extended = true;
	imap_lex_char(lex, '(');
	while (lex->wrong == NULL && !imap_lex_take(lex, ')')) {
		struct span word = imap_lex_word(lex);
		size_t i;

		for (i = 0; i < 4 && !span_caseeq(word, words[i].word); i++)
			;
		if (i == 4)
			imap_lex_fail(lex, "there is no such RETURN option");
		else
			search->returns |= words[i].bit;
		imap_lex_take(lex, ' ');
	}
	if (search->returns == 0)
		search->returns = IMAP_RETURN_ALL;
}

/* "RETURN (...) CHARSET x keys": the first two may be missing. */
static void take_front(struct imap_lex *lex, struct imap_search *search)
{
	struct imap_lex saved = *lex;

	if (span_caseeq(imap_lex_word(lex), SPAN_LIT("RETURN")) && imap_lex_space(lex)) {
		take_returns(lex, search);
		imap_lex_space(lex);
		if (lex->wrong != NULL)
			return;
		saved = *lex;
	} else {
		*lex = saved;
	}
	if (span_caseeq(imap_lex_word(lex), SPAN_LIT("CHARSET")) && imap_lex_space(lex)) {
		imap_lex_astring(lex, &search->charset);
		imap_lex_space(lex);
	} else {
		*lex = saved;
	}
}

struct imap_search *imap_search_parse(struct imap_lex *lex, uint32_t exists, uint32_t highest_uid)
{
	struct parser p = {.lex = lex, .exists = exists, .highest_uid = highest_uid};

	p.search = pool_new_object(lex->pool, struct imap_search);
	if (p.search == NULL) {
		imap_lex_fail(lex, "the command is too large");
		return NULL;
	}
	take_front(lex, p.search);
	if (lex->wrong == NULL)
		p.search->root = take_list(&p, 0);
	return imap_lex_end(lex) && p.search->root != NULL ? p.search : NULL;
}
