/* How many reports each place has had today. Whoever has many domains may name one victim in the records of all of them. */
#include "relay/report_private.h"

#include "base/checksum.h"
#include "base/clock.h"
#include "base/log.h"
#include "relay/relay.h"

/* The domain of an address, the host of a URL: one place, however many addresses and pages there are at it. */
static struct span place_of(const struct tlsrpt_target *target)
{
	struct span place = span_str(target->text);
	size_t at;

	if (target->kind == TLSRPT_HTTPS) {
		place = span_from(place, strlen("https://"));
		place = span_sub(place, 0, strcspn(place.ptr, "/?#"));
	}
	while ((at = span_find(place, '@')) < place.len)
		place = span_from(place, at + 1);
	if (target->kind == TLSRPT_HTTPS)
		place = span_sub(place, 0, span_find(place, place.len > 0 && place.ptr[0] == '[' ? ']' : ':'));
	return place.len > 0 && place.ptr[place.len - 1] == '.' ? span_sub(place, 0, place.len - 1) : place;
}

bool report_place_take(struct reports *reports, const struct tlsrpt_target *target)
{
	struct report_places *all = &reports->places;
	unsigned today = report_day(clock_wall());
	char place[TLSRPT_TARGET_TEXT];
	uint8_t *count;
	size_t len;

	if (all->day != today)
		*all = (struct report_places){.day = today};
	span_copy(place_of(target), place, sizeof(place));
	len = strlen(place);
	for (size_t i = 0; i < len; i++)
		place[i] = ascii_lower(place[i]);
	count = &all->counts[checksum(place, len, reports->relay->seed) % REPORT_PLACES];
	if (*count < REPORT_PLACE_MAX) {
		++*count;
		return true;
	}
	if (*count == REPORT_PLACE_MAX)
		log_event(EV_relay_report_limit, daemon_log(reports->relay->daemon), F_STR("place", place), F_U64("limit", REPORT_PLACE_MAX));
	*count = REPORT_PLACE_MAX + 1;
	return false;
}
