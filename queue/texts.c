#include "queue/texts.h"

#include <stdlib.h>

enum { TEXTS_FIRST = 256, TEXT_COST = 24 /* of the allocator and the table, beside the struct */ };

struct texts {
	struct text **buckets;
	size_t size, count; /* size: a power of two */
	size_t bytes;
};

struct texts *texts_new(void)
{
	struct texts *texts = calloc(1, sizeof(*texts));

	if (texts == NULL)
		return NULL;
	texts->size = TEXTS_FIRST;
	texts->buckets = calloc(texts->size, sizeof(*texts->buckets));
	if (texts->buckets == NULL)
		texts_free(&texts);
	return texts;
}

void texts_free(struct texts **textsp)
{
	struct texts *texts = *textsp;

	*textsp = NULL;
	for (size_t i = 0; texts != NULL && texts->buckets != NULL && i < texts->size; i++)
		while (texts->buckets[i] != NULL) {
			struct text *text = texts->buckets[i];

			texts->buckets[i] = text->next;
			free(text);
		}
	if (texts != NULL)
		free(texts->buckets);
	free(texts);
}

static struct text **bucket_of(const struct texts *texts, uint64_t hash)
{
	return &texts->buckets[hash & (texts->size - 1)];
}

/* To another number of buckets; without memory for them it stays as it is, which is slower and no worse. */
static void resize(struct texts *texts, size_t size)
{
	struct texts other = {.buckets = calloc(size, sizeof(*other.buckets)), .size = size};

	if (other.buckets == NULL)
		return;
	for (size_t i = 0; i < texts->size; i++)
		while (texts->buckets[i] != NULL) {
			struct text *text = texts->buckets[i], **bucket = bucket_of(&other, text->hash);

			texts->buckets[i] = text->next;
			text->next = *bucket;
			*bucket = text;
		}
	free(texts->buckets);
	texts->buckets = other.buckets;
	texts->size = size;
}

static size_t cost_of(size_t len)
{
	return sizeof(struct text) + len + TEXT_COST;
}

static struct text *add(struct texts *texts, struct span s, uint64_t hash)
{
	struct text *text = malloc(sizeof(*text) + s.len), **bucket;

	if (text == NULL)
		return NULL;
	if (texts->count >= texts->size)
		resize(texts, 2 * texts->size);
	bucket = bucket_of(texts, hash);
	*text = (struct text){.next = *bucket, .hash = hash, .users = 1, .len = (uint16_t)s.len};
	if (s.len > 0)
		memcpy(text->chars, s.ptr, s.len);
	*bucket = text;
	texts->count++;
	texts->bytes += cost_of(s.len);
	return text;
}

struct text *texts_get(struct texts *texts, struct span s, uint64_t hash, size_t messages)
{
	struct text *text = *bucket_of(texts, hash);

	while (text != NULL && (text->hash != hash || !span_eq(text_span(text), s)))
		text = text->next;
	if (text != NULL && text->users < UINT32_MAX) {
		text->users++;
		return text;
	}
	if (text != NULL || s.len > TEXT_MAX || texts->bytes + cost_of(s.len) > TEXTS_FREE + messages * TEXTS_EACH)
		return NULL;
	return add(texts, s, hash);
}

void texts_put(struct texts *texts, struct text *text)
{
	struct text **link;

	if (text == NULL || --text->users > 0)
		return;
	link = bucket_of(texts, text->hash);
	while (*link != text)
		link = &(*link)->next;
	*link = text->next;
	texts->count--;
	texts->bytes -= cost_of(text->len);
	free(text);
	if (texts->size > TEXTS_FIRST && texts->count < texts->size / 8)
		resize(texts, texts->size / 2);
}

size_t texts_bytes(const struct texts *texts)
{
	return texts->bytes;
}
