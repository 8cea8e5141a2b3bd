/*
 * Targets behind an alias that have had the message while others have not. A store knows a repeat by its key; a command, a file and another
 * host do not, so it is written into the message's file at once (SPOOL_TARGET_DONE), and only a crash before that gives a second copy.
 */
#include "queue/queue.h"

#include "ipc/ipc.h"

#include <sodium.h>
#include <stdio.h>

enum { DONE_HASH = 16, KIND_FILE = 2 /* agent.def */ };

static void add(crypto_generichash_state *state, struct span s)
{
	crypto_generichash_update(state, (const unsigned char *)s.ptr, s.len);
}

bool target_is_noted(const struct target *t)
{
	return t->account == 0;
}

bool target_is_all(const struct target *t)
{
	const struct message *m = t->message;

	if (m->file.envelope.recipients[t->recipient].local || m->states[t->recipient].expanding || m->states[t->recipient].incomplete)
		return false;
	for (const struct target *other = m->targets; other != NULL; other = other->next)
		if (other != t && other->recipient == t->recipient)
			return false;
	return true;
}

struct span target_done_text(const struct target *t)
{
	crypto_generichash_state state;
	unsigned char hash[DONE_HASH];
	char hex[2 * DONE_HASH + 1], text[2 * DONE_HASH + 8];
	int n;

	crypto_generichash_init(&state, NULL, 0, DONE_HASH);
	if (t->kind == 0) {
		add(&state, t->address);
	} else {
		add(&state, t->name);
		add(&state, span_of("", 1));
		add(&state, t->program);
	}
	crypto_generichash_final(&state, hash, DONE_HASH);
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	n = snprintf(text, sizeof(text), "%s %s", t->kind == 0 ? "host" : t->kind == KIND_FILE ? "file" : "pipe", hex);
	return pool_span(t->message->pool, span_of(text, (size_t)n));
}

bool target_was_done(struct target *t)
{
	const struct spool_file *file = &t->message->file;
	struct span text = file->record_count > 0 ? target_done_text(t) : span_str("");

	for (size_t i = 0; i < file->record_count; i++)
		if (file->records[i].status == SPOOL_TARGET_DONE && file->records[i].recipient == t->recipient && span_eq(file->records[i].text, text)) {
			t->note = NOTE_DURABLE;
			return true;
		}
	return false;
}
