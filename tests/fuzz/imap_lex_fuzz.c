/*
 * The words of IMAP commands: what is read lies in the command or is a copy, the
 * place only goes forwards, and after the first fault nothing more is read.
 *
 * Input: which functions are called, a letter each; a line end; the command.
 */
#include "tests/fuzz/fuzz.h"

#include "base/utf8.h"
#include "imap/flags.h"
#include "imap/lex.h"

enum { POOL_HERE = 4 * 1024 * 1024 };

static bool no_blanks(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f || strchr("(){\"\\", s.ptr[i]) != NULL)
			return false;
	return true;
}

static void read_flags(struct imap_lex *lex, bool plain)
{
	struct imap_flags flags;

	if (!imap_lex_flags(lex, plain, &flags))
		return;
	fuzz_assert((flags.flags & ~31U) == 0 && flags.keyword_count <= 256);
	for (size_t i = 0; i < flags.keyword_count; i++)
		fuzz_assert(flags.keywords[i].len > 0 && flags.keywords[i].len <= IMAP_KEYWORD_MAX && no_blanks(flags.keywords[i]));
}

static void read_text(struct imap_lex *lex, char what)
{
	struct span out = {0};
	bool ok = what == 't' ? imap_lex_tag(lex, &out) : what == 'a' ? imap_lex_atom(lex, &out) : what == 's' ? imap_lex_astring(lex, &out)
		: what == 'q' ? imap_lex_string(lex, &out) : what == 'p' ? imap_lex_pattern(lex, &out) : what == 'S' ? imap_lex_set(lex, &out)
		: imap_lex_mailbox(lex, &out);

	if (!ok)
		return;
	fuzz_assert(out.len <= 2 * lex->in.len && (out.len == 0 || memchr(out.ptr, '\0', out.len) == NULL || what == 'm'));
	if (what == 't' || what == 'a' || what == 'S')
		fuzz_assert(out.len > 0 && no_blanks(out) && fuzz_within(lex->in, out));
	if (what == 'm')
		fuzz_assert(utf8_is_valid(out));
}

static void read_one(struct imap_lex *lex, char what)
{
	uint64_t n;
	int64_t when;

	switch (what) {
	case ' ':
		imap_lex_space(lex);
		break;
	case 'n':
		if (imap_lex_number(lex, UINT32_MAX, &n))
			fuzz_assert(n <= UINT32_MAX);
		break;
	case 'w':
		fuzz_assert(no_blanks(imap_lex_word(lex)));
		break;
	case 'f':
	case 'F':
		read_flags(lex, what == 'F');
		break;
	case 'd':
		imap_lex_date(lex, &when);
		break;
	case 'D':
		imap_lex_date_time(lex, &when);
		break;
	case 'i':
		imap_lex_id(lex);
		break;
	case '(':
	case ')':
		imap_lex_char(lex, what);
		break;
	case 'e':
		imap_lex_end(lex);
		break;
	default:
		read_text(lex, what);
	}
}

void fuzz_one(struct span input)
{
	struct span calls = fuzz_until(&input, '\n');
	struct pool *pool = pool_new(NULL, POOL_HERE);
	struct imap_lex lex;

	imap_lex_init(&lex, input, pool);
	for (size_t i = 0; i < calls.len && i < 200; i++) {
		size_t before = lex.at;
		const char *wrong = lex.wrong;

		read_one(&lex, calls.ptr[i]);
		fuzz_assert(lex.at >= before && lex.at <= lex.in.len);
		if (wrong != NULL)
			fuzz_assert(lex.wrong == wrong && lex.at == before);
	}
	pool_free(&pool);
}
