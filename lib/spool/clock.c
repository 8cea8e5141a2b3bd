/* Queue's clock on the disk: a few lines for people, and a checksum that queue alone can make. */
#include "spool/seal.h"

#include <inttypes.h>

static const struct span first_line = SPAN_LIT("mailwain-clock 1\n");

static bool is_boot(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_alnum(s.ptr[i]) && s.ptr[i] != '-')
			return false;
	return s.len < SPOOL_BOOT_MAX;
}

int spool_clock_encode(const struct spool_clock *c, const unsigned char key[SPOOL_KEY], struct buf *out)
{
	if (c->queue_ms < 0 || c->wall_ms < 0 || c->since_boot_ms < 0 || !is_boot(span_str(c->boot)))
		return E_SYNTAX;
	buf_add_span(out, first_line);
	buf_printf(out, "queue %" PRId64 "\nwall %" PRId64 "\nsince-boot %" PRId64 "\nboot %s\n", c->queue_ms, c->wall_ms, c->since_boot_ms, c->boot);
	seal_add(out, key, SEAL_CLOCK);
	return buf_failed(out) ? E_NOMEM : 0;
}

/* "NAME VALUE" and the end of the line. */
static bool take_line(struct span *text, struct span name, struct span *value)
{
	size_t end = span_find(*text, '\n');

	if (end == text->len || !span_startswith(*text, name))
		return false;
	*value = span_sub(*text, name.len, end - name.len);
	*text = span_from(*text, end + 1);
	return true;
}

static bool take_ms(struct span *text, struct span name, int64_t *ms)
{
	struct span value;
	uint64_t n;

	if (!take_line(text, name, &value) || !span_u64(value, INT64_MAX / 1000, &n))
		return false;
	*ms = (int64_t)n;
	return true;
}

int spool_clock_decode(struct span text, const unsigned char key[SPOOL_KEY], struct spool_clock *out, struct err *err)
{
	struct span boot;

	*out = (struct spool_clock){0};
	if (text.len > SPOOL_CLOCK_SIZE || !seal_take(&text, key, SEAL_CLOCK) || !span_startswith(text, first_line))
		return err_set(err, E_CORRUPT, "the checksum does not fit: the file was changed, or cut");
	text = span_from(text, first_line.len);
	if (!take_ms(&text, SPAN_LIT("queue "), &out->queue_ms) || !take_ms(&text, SPAN_LIT("wall "), &out->wall_ms) ||
	    !take_ms(&text, SPAN_LIT("since-boot "), &out->since_boot_ms) || !take_line(&text, SPAN_LIT("boot "), &boot) || !is_boot(boot) || text.len > 0)
		return err_set(err, E_CORRUPT, "a line of the file is not as queue writes it");
	span_copy(boot, out->boot, sizeof(out->boot));
	return 0;
}

int64_t spool_clock_begin(int64_t wall_ms)
{
	if (wall_ms < SPOOL_EPOCH_MS)
		return SPOOL_EPOCH_MS;
	return wall_ms < SPOOL_CLOCK_LATEST_MS ? wall_ms : SPOOL_CLOCK_LATEST_MS;
}

/*
 * Where a boot has no name, as in a container without /proc/sys, it is known by when it was. Else each start would count as a machine that
 * was off, and a few hundred of them as a message's whole life.
 */
static bool is_same_boot(const struct spool_clock *saved, const struct spool_clock *now)
{
	int64_t apart = (now->wall_ms - now->since_boot_ms) - (saved->wall_ms - saved->since_boot_ms);

	if (now->since_boot_ms < saved->since_boot_ms)
		return false;
	if (now->boot[0] != '\0' && saved->boot[0] != '\0')
		return strcmp(now->boot, saved->boot) == 0;
	return apart > -SPOOL_CLOCK_DRIFT_MS && apart < SPOOL_CLOCK_DRIFT_MS;
}

int64_t spool_clock_resume(const struct spool_clock *saved, const struct spool_clock *now, int64_t *extra_ms)
{
	int64_t passed = now->wall_ms - saved->wall_ms;

	*extra_ms = 0;
	if (is_same_boot(saved, now))
		return saved->queue_ms + now->since_boot_ms - saved->since_boot_ms;
	/* At least that, so that no id is given twice. */
	if (passed < SPOOL_CLOCK_SAVE_MS) {
		*extra_ms = passed >= 0 ? SPOOL_CLOCK_SAVE_MS - passed : 0;
		passed = SPOOL_CLOCK_SAVE_MS;
	}
	return saved->queue_ms + (passed < SPOOL_CLOCK_OFF_MS ? passed : SPOOL_CLOCK_OFF_MS);
}
