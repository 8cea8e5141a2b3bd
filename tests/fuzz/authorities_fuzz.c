/*
 * Authorities of clients' certificates and their revocation lists: each that stands in a file counts, or the file is refused; with lists each
 * authority has one that it signed, and a list that has been changed is none.
 *
 * Input: 'r': both files as they are, 0x1e between; else letters of pki.h for both, '/' between. Without a separator there are no lists.
 */
#include "tests/fuzz/pki.h"

#include "tls/private.h"

static bool has_issuer(const struct pki_file *authorities, const struct pki_object *list)
{
	for (size_t i = 0; i < authorities->count; i++)
		if (pki_issued(authorities->all[i], list))
			return true;
	return false;
}

static bool has_list(const struct pki_file *lists, const struct pki_object *authority)
{
	for (size_t i = 0; i < lists->count; i++)
		if (pki_issued(authority, lists->all[i]))
			return true;
	return false;
}

static bool all_fit(const struct pki_file *authorities, const struct pki_file *lists)
{
	for (size_t i = 0; i < lists->count; i++)
		if (!has_issuer(authorities, lists->all[i]))
			return false;
	for (size_t i = 0; i < authorities->count; i++)
		if (!has_list(lists, authorities->all[i]))
			return false;
	return lists->count > 0;
}

static int64_t first_end(const struct pki_file *lists)
{
	int64_t ends = INT64_MAX;

	for (size_t i = 0; i < lists->count; i++)
		ends = lists->all[i]->until != 0 && lists->all[i]->until < ends ? lists->all[i]->until : ends;
	return ends;
}

/* Of the same letter twice one counts; of what was changed, each: no two changes need be the same. */
static size_t least_count(const struct pki_file *file)
{
	size_t count = 0;
	bool changed = false;

	for (size_t i = 0; i < file->count; i++) {
		bool before = file->changed[i] && changed;

		changed |= file->changed[i];
		for (size_t k = 0; k < i && !file->changed[i]; k++)
			before |= !file->changed[k] && file->all[k] == file->all[i];
		count += !before;
	}
	return count;
}

/* How many of both are in use. */
static size_t count_taken(const struct pki_file *authorities, const struct pki_file *lists)
{
	SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
	struct err err = {0};
	size_t count;

	fuzz_assert(ssl != NULL && tls_authorities_set(ssl, authorities->fd, lists->fd, &err) == 0);
	count = (size_t)sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(ssl)));
	SSL_CTX_free(ssl);
	return count;
}

static void look(const struct pki_file *authorities, const struct pki_file *lists, bool known)
{
	struct err err = {0};
	int64_t ends;
	int r = tls_authorities_check(authorities->fd, lists->fd, &ends, &err);

	fuzz_assert(r == 0 || (r == E_SYNTAX && strncmp(err.text, "tls-client-", 11) == 0 && ends == 0));
	if (!known)
		return;
	if (r == 0)
		fuzz_assert(count_taken(authorities, lists) >= least_count(authorities) + least_count(lists));
	if (pki_file_is_changed(lists))
		fuzz_assert(r != 0);
	else if (!pki_file_is_changed(authorities))
		fuzz_assert((r == 0) == (authorities->count > 0 && (lists->fd < 0 || all_fit(authorities, lists))));
	if (r == 0)
		fuzz_assert(ends == first_end(lists));
}

void fuzz_one(struct span input)
{
	bool raw = span_startswith(input, SPAN_LIT("r"));
	char between = raw ? '\x1e' : '/';
	bool with_lists = span_find(input, between) < input.len;
	struct span first = fuzz_until(&input, between);
	struct pki_file authorities, lists = {.fd = -1};

	pki_start();
	if (raw)
		pki_file_raw(span_from(first, 1), &authorities);
	else
		pki_file_make(first, false, &authorities);
	if (raw && with_lists)
		pki_file_raw(input, &lists);
	else if (with_lists)
		pki_file_make(input, true, &lists);
	look(&authorities, &lists, !raw);
	close(authorities.fd);
	if (lists.fd >= 0)
		close(lists.fd);
}
