/* A letter's content becomes a message: a Received line, whole lines, the fields that are missing. */
#include "submission/pickup.h"

#include "base/whole.h"
#include "local/address.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* Who gave no sender is known by the login name; one that cannot be an address has its number. */
static int find_sender(struct job *job, struct err *err)
{
	struct span domain = pickup_domain(job->pickup);
	char number[32];

	if (job->letter.sender_given)
		return local_address(job->letter.sender, domain, job->sender, err);
	if (job->letter.user.len > 0 && local_address(job->letter.user, domain, job->sender, err) == 0)
		return 0;
	snprintf(number, sizeof(number), "uid%u", (unsigned)job->uid);
	return local_address(span_str(number), domain, job->sender, err);
}

/* RFC 3461 section 4.2: a type of address, and an address; what it may not bring is a line of its own. */
static bool is_orcpt(struct span orcpt)
{
	size_t semicolon = span_find(orcpt, ';');

	for (size_t i = 0; i < orcpt.len; i++)
		if ((unsigned char)orcpt.ptr[i] < ' ' || orcpt.ptr[i] == 0x7f)
			return false;
	return orcpt.len == 0 || (semicolon > 0 && semicolon < orcpt.len);
}

static int complete_recipients(struct job *job, struct err *err)
{
	struct span domain = pickup_domain(job->pickup);

	for (size_t i = 0; i < job->letter.recipient_count; i++) {
		struct span *address = &job->letter.recipients[i].address;
		char complete[SMTP_PATH_MAX + 1];
		struct err why;
		int r = local_address(*address, domain, complete, &why);

		if (r == 0 && complete[0] == '\0')
			r = err_set(&why, E_SYNTAX, "the address is empty");
		if (r == 0 && !is_orcpt(job->letter.recipients[i].orcpt))
			r = err_set(&why, E_SYNTAX, "what is said to be the original recipient is none");
		if (r != 0)
			return err_set(err, r, "Recipient %.*s: %s", SPAN_ARG(span_sub(*address, 0, 100)), why.text);
		*address = pool_span(job->pool, span_str(complete));
		if (address->ptr == NULL)
			return err_set(err, E_NOMEM, "out of memory");
	}
	return 0;
}

/* From a program that writes none: the sender's address; a notification's has none, and its program's user is named. */
static int find_from(struct job *job, struct err *err)
{
	char user[SMTP_PATH_MAX + 1];
	const char *address = job->sender;

	if (job->sender[0] == '\0') {
		if (local_address(job->letter.user, pickup_domain(job->pickup), user, err) != 0 || user[0] == '\0')
			snprintf(user, sizeof(user), "postmaster@%.*s", SPAN_ARG(span_sub(pickup_domain(job->pickup), 0, 255)));
		address = user;
	}
	buf_clear(&job->from);
	local_from(job->letter.full_name, span_str(address), &job->from);
	buf_cstr(&job->from);
	return buf_failed(&job->from) ? err_set(err, E_NOMEM, "out of memory") : 0;
}

/* RFC 5321 section 4.4; the field's manner of saying who handed it in. */
static void add_received(struct job *job)
{
	struct span host = conf_text(daemon_conf(job->pickup->daemon), CONF_hostname, NULL);

	char now[CLOCK_RFC5322_MAX];

	buf_printf(&job->out, "Received: by %.*s (Mailwain, from userid %u)\r\n\tid %s; %s\r\n", SPAN_ARG(host), (unsigned)job->uid, job->qid,
	    clock_format_rfc5322(clock_wall(), now));
}

int message_begin(struct job *job, struct err *err)
{
	struct span host = conf_text(daemon_conf(job->pickup->daemon), CONF_hostname, NULL);
	int r = find_sender(job, err);

	if (r == 0)
		r = complete_recipients(job, err);
	if (r == 0)
		r = find_from(job, err);
	if (r != 0)
		return r;
	job->at = job->begin;
	job->written = 0;
	job->lines = (struct lines){0};
	complete_fini(&job->complete);
	complete_init(&job->complete, pickup_domain(job->pickup));
	job->watch = (struct header_watch){0};
	clock_format_rfc5322(job->letter.written > 0 ? job->letter.written : clock_wall(), job->date);
	snprintf(job->message_id, sizeof(job->message_id), "<%s.%llx@%.*s>", job->qid, (unsigned long long)clock_wall_us(), SPAN_ARG(span_sub(host, 0, 80)));
	mend_init(&job->mend, job->date, job->message_id);
	job->mend.from = buf_cstr(&job->from);
	buf_clear(&job->out);
	add_received(job);
	return 0;
}

/* ---- limits ---- */

static int header_line(struct header_watch *w, uint64_t most, struct err *err)
{
	struct span line = span_of(w->line, w->line_len < sizeof(w->line) ? w->line_len : sizeof(w->line));

	w->over = w->line_len == 0;
	w->line_len = 0;
	tls_required_line(&w->tls_required, line);
	if (span_startscase(line, SPAN_LIT("Received:")) && ++w->received > most)
		return err_set(err, E_LOOP, "Too many Received lines: the message is going in circles");
	return 0;
}

/* bytes: whole pieces of lines that end in CR LF. */
static int watch_header(struct job *job, struct span bytes, struct err *err)
{
	const struct conf *conf = daemon_conf(job->pickup->daemon);
	uint64_t lines = conf_u64(conf, CONF_received_lines, NULL), size = conf_u64(conf, CONF_header_size, NULL);
	struct header_watch *w = &job->watch;
	int r = 0;

	for (size_t i = 0; i < bytes.len && !w->over && r == 0; i++) {
		if (++w->len > size)
			return err_set(err, E_TOOBIG, "The header section is too large");
		if (bytes.ptr[i] == '\n')
			r = header_line(w, lines, err);
		else if (bytes.ptr[i] != '\r') {
			if (w->line_len < sizeof(w->line))
				w->line[w->line_len] = bytes.ptr[i];
			w->line_len++;
		}
	}
	/* A line that is no field ends it too. */
	w->over |= job->mend.state == MEND_BODY;
	return r;
}

/* ---- copying ---- */

static bool has_eight_bits(struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		if ((unsigned char)bytes.ptr[i] >= 0x80)
			return true;
	return false;
}

static int flush(struct job *job, struct err *err)
{
	uint64_t most = conf_u64(daemon_conf(job->pickup->daemon), CONF_message_size, NULL);
	struct span all = buf_span(&job->out);

	if (buf_failed(&job->out))
		return err_set(err, E_NOMEM, "out of memory");
	if (job->written + all.len > most)
		return err_set(err, E_TOOBIG, "The message is larger than the %llu octets allowed here", (unsigned long long)most);
	job->eight_bit |= has_eight_bits(all);
	if (!pwrite_whole(job->file, all, job->written))
		return err_set_errno(err, errno, "The message could not be written");
	job->written += all.len;
	buf_clear(&job->out);
	return 0;
}

static int take_piece(struct job *job, struct span piece, bool last, struct err *err)
{
	struct buf lines, complete;
	int r = 0;

	buf_init(&lines, 2 * piece.len + 16);
	buf_init(&complete, PICKUP_COMPLETE_MAX);
	lines_feed(&job->lines, piece, &lines);
	if (last)
		lines_end(&job->lines, &lines);
	complete_feed(&job->complete, buf_span(&lines), &complete);
	if (last)
		complete_end(&job->complete, &complete);
	if (buf_failed(&lines) || buf_failed(&complete))
		r = lines.starved || complete.starved ? err_set(err, E_NOMEM, "out of memory") : err_set(err, E_TOOBIG, "The header section is too large");
	mend_feed(&job->mend, buf_span(&complete), &job->out);
	if (r == 0 && !job->watch.over)
		r = watch_header(job, buf_span(&complete), err);
	if (last)
		mend_end(&job->mend, &job->out);
	buf_fini(&lines);
	buf_fini(&complete);
	return r == 0 ? flush(job, err) : r;
}

int message_copy(struct job *job, bool *more, struct err *err)
{
	uint64_t left = job->end - job->at;
	size_t want = left < PICKUP_SLICE ? (size_t)left : PICKUP_SLICE;
	struct buf piece;
	char *room;
	ssize_t n;
	int r;

	buf_init(&piece, PICKUP_SLICE);
	room = buf_reserve(&piece, want > 0 ? want : 1);
	if (room == NULL)
		return err_set(err, E_NOMEM, "out of memory");
	n = pread(job->fd, room, want, (off_t)job->at);
	if (n < 0 || (n == 0 && want > 0)) {
		r = n < 0 ? err_set_errno(err, errno, "The message could not be read") : err_set(err, E_CONTENT, "The message became shorter");
	} else {
		buf_added(&piece, (size_t)n);
		job->at += (uint64_t)n;
		*more = job->at < job->end;
		r = take_piece(job, buf_span(&piece), !*more, err);
	}
	buf_fini(&piece);
	return r;
}

/* ---- the envelope ---- */

static bool needs_utf8(const struct job *job)
{
	bool utf8 = has_eight_bits(span_str(job->sender));

	for (size_t i = 0; i < job->letter.recipient_count; i++)
		utf8 |= has_eight_bits(job->letter.recipients[i].address);
	return utf8;
}

/* No recipient has auth's word yet: queue asks, and takes its time when auth is away. */
int message_encode_envelope(struct job *job, struct buf *out)
{
	const struct letter *letter = &job->letter;
	struct spool_recipient *recipients = pool_array(job->pool, letter->recipient_count, sizeof(*recipients));
	struct spool_envelope envelope = {.source = SPOOL_FROM_LOCAL, .arrived = clock_wall(), .sender = span_str(job->sender), .envid = letter->envid,
	    .ret = (enum spool_ret)letter->ret, .body = job->eight_bit ? SPOOL_BODY_8BITMIME : SPOOL_BODY_7BIT, .smtputf8 = needs_utf8(job),
	    .tls_optional = job->watch.tls_required.no, .recipient_count = letter->recipient_count, .recipients = recipients};

	if (recipients == NULL)
		return E_NOMEM;
	for (size_t i = 0; i < letter->recipient_count; i++) {
		const struct letter_recipient *r = &letter->recipients[i];

		recipients[i] = (struct spool_recipient){.address = r->address, .orcpt = r->orcpt, .notify = r->notify};
	}
	return spool_envelope_encode(&envelope, out);
}
