/*
 * Dates: of messages (RFC 5322 sections 3.3 and 4.3), of IMAP (RFC 3501 section 9),
 * of the internet (RFC 3339) and ours. A date that is written is read again as the same moment.
 *
 * Input: the text of a date.
 */
#include "tests/fuzz/fuzz.h"

#include "base/clock.h"
#include "imap/lex.h"
#include "mime/header.h"

/* Of years with four digits. */
static const int64_t first = INT64_C(-62167219200) - 6000 * 60, last = INT64_C(253402300799) + 6000 * 60;

static void try_message_date(struct span input)
{
	char text[CLOCK_RFC5322_MAX];
	int64_t when, again;

	if (!mime_date_parse(input, &when, NULL))
		return;
	fuzz_assert(when >= first && when <= last);
	if (when < 0 || when >= INT64_C(253402300799) - 86400)
		return;
	clock_format_rfc5322(when, text);
	fuzz_assert(strlen(text) < CLOCK_RFC5322_MAX);
	fuzz_assert(mime_date_parse(span_str(text), &again, NULL) && again == when);
}

static void try_internet_date(struct span input)
{
	char text[CLOCK_RFC3339_MAX];
	int64_t when, again;

	if (!clock_parse_rfc3339(input, &when) || when > INT64_C(253402300799))
		return;
	clock_format_rfc3339(when, text);
	fuzz_assert(clock_parse_rfc3339(span_str(text), &again) && again == when);
}

static void try_imap_dates(struct span input)
{
	struct imap_lex lex;
	struct buf text;
	int64_t when, again;
	char out[64];
	struct tm tm;
	time_t t;

	imap_lex_init(&lex, input, NULL);
	if (imap_lex_date(&lex, &when))
		fuzz_assert(when % 86400 == 0 && when >= first && when <= last && lex.at <= input.len);
	imap_lex_init(&lex, input, NULL);
	if (!imap_lex_date_time(&lex, &when))
		return;
	fuzz_assert(when >= first && when <= last && lex.at <= input.len);
	if (when < 0 || when >= INT64_C(253402300799) - 86400)
		return;
	t = (time_t)when;
	fuzz_assert(gmtime_r(&t, &tm) != NULL && strftime(out, sizeof(out), "\"%d-%b-%Y %H:%M:%S +0000\"", &tm) > 0);
	buf_init(&text, sizeof(out));
	buf_add_str(&text, out);
	imap_lex_init(&lex, buf_span(&text), NULL);
	fuzz_assert(imap_lex_date_time(&lex, &again) && again == when && imap_lex_end(&lex));
	buf_fini(&text);
}

void fuzz_one(struct span input)
{
	try_internet_date(input);
	try_message_date(input);
	try_imap_dates(input);
}
