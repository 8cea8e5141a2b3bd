#include "keys/ring.h"

#include "base/clock.h"
#include "proc/daemon.h"

#include <stdio.h>
#include <stdlib.h>

struct ring_entry {
	struct tls_certificate certificate;
	struct tls_key *key;
	char domain[256]; /* "": the top level's */
};

struct ring {
	struct ring_entry *entries; /* whose certificate ends first is the first */
	size_t count;
};

void ring_free(struct ring **ringp)
{
	struct ring *ring = *ringp;

	*ringp = NULL;
	for (size_t i = 0; ring != NULL && i < ring->count; i++)
		tls_key_free(&ring->entries[i].key);
	if (ring != NULL)
		free(ring->entries);
	free(ring);
}

static bool has(const struct ring *ring, const struct tls_certificate *certificate)
{
	for (size_t i = 0; ring != NULL && i < ring->count; i++)
		if (memcmp(ring->entries[i].certificate.digest, certificate->digest, sizeof(certificate->digest)) == 0)
			return true;
	return false;
}

static int handed(struct daemon *daemon, const char *kind, const char *domain)
{
	char name[300];

	snprintf(name, sizeof(name), "%s%s%s", kind, domain[0] != '\0' ? " " : "", domain);
	return daemon_file(daemon, name);
}

/* What a configuration is loaded for. */
struct loading {
	struct daemon *daemon;
	const struct ring *now, *before;
	struct ring *ring;
};

static int load_entry(const struct loading *l, struct ring_entry *entry, struct err *err)
{
	int r = tls_certificate_read(handed(l->daemon, "tls-certificate", entry->domain), &entry->certificate, err);

	if (r == 0)
		r = tls_key_read(handed(l->daemon, "tls-key", entry->domain), &entry->key, err);
	if (r == 0)
		r = tls_certificate_check_key(&entry->certificate, entry->key, err);
	if (r == 0 && l->now != NULL && !has(l->now, &entry->certificate) && !has(l->before, &entry->certificate))
		r = tls_certificate_check_dates(&entry->certificate, clock_wall(), err);
	return r;
}

static int add(const struct loading *l, const struct conf_where *where, struct err *err)
{
	const struct conf *conf = daemon_conf(l->daemon);
	struct ring *ring = l->ring;
	struct ring_entry *entry;
	struct err why = {0};
	int r;

	if (!conf_is_set(conf, CONF_tls_certificate, where))
		return 0;
	entry = reallocarray(ring->entries, ring->count + 1, sizeof(*entry));
	if (entry == NULL)
		return err_set(err, E_NOMEM, "no memory for TLS");
	ring->entries = entry;
	entry += ring->count++;
	*entry = (struct ring_entry){0};
	if (where->domain != NULL)
		span_copy(where->domain->name, entry->domain, sizeof(entry->domain));
	r = load_entry(l, entry, &why);
	return r == 0 ? 0 : err_set(err, r, "%.*s: %s", SPAN_ARG(conf_origin(conf, CONF_tls_certificate, where)), why.text);
}

static int compare_ends(const void *a, const void *b)
{
	const struct ring_entry *one = a, *other = b;

	return (one->certificate.ends > other->certificate.ends) - (one->certificate.ends < other->certificate.ends);
}

int ring_load(struct daemon *daemon, const struct ring *now, const struct ring *before, struct ring **out, struct err *err)
{
	const struct conf *conf = daemon_conf(daemon);
	struct loading l = {daemon, now, before, calloc(1, sizeof(struct ring))};
	int r = l.ring ? add(&l, &(struct conf_where){0}, err) : err_set(err, E_NOMEM, "no memory for TLS");

	for (size_t i = 0; i < conf_domain_count(conf) && r == 0; i++)
		r = add(&l, &(struct conf_where){.domain = conf_domain(conf, i)}, err);
	if (r != 0)
		ring_free(&l.ring);
	else if (l.ring->count > 0)
		qsort(l.ring->entries, l.ring->count, sizeof(*l.ring->entries), compare_ends);
	*out = l.ring;
	return r;
}

const struct tls_key *ring_find(const struct ring *ring, const unsigned char *fingerprint)
{
	for (size_t i = 0; ring != NULL && i < ring->count; i++)
		if (memcmp(tls_key_fingerprint(ring->entries[i].key), fingerprint, TLS_FINGERPRINT) == 0)
			return ring->entries[i].key;
	return NULL;
}

bool ring_warning(const struct ring *ring, size_t *at, int64_t now, char *out, size_t size)
{
	char text[TLS_WARNING_MAX];

	while (*at < ring->count) {
		const struct ring_entry *entry = &ring->entries[(*at)++];

		if (!tls_certificate_warning(&entry->certificate, now, text))
			continue;
		snprintf(out, size, "%s%s%s", entry->domain, entry->domain[0] != '\0' ? ": " : "", text);
		return true;
	}
	return false;
}
