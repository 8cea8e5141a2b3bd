/*
 * A server's certificate with those of its issuers behind it, in a file: taken when each was signed by the next, and no other; what is said of
 * its dates is true of the one that is named. Input: letters of pki.h.
 */
#include "tests/fuzz/pki.h"

#include "tls/certificate.h"

static bool is_chain(const struct pki_file *file)
{
	for (size_t i = 0; i + 1 < file->count; i++)
		if (file->changed[i] || !pki_issued(file->all[i + 1], file->all[i]))
			return false;
	return file->count > 0;
}

static void check_dates(const struct pki_file *file, const struct tls_certificate *c)
{
	struct err err = {0};
	int64_t begins = INT64_MIN, ends = INT64_MAX;

	for (size_t i = 0; i < file->count; i++) {
		begins = file->all[i]->since > begins ? file->all[i]->since : begins;
		ends = file->all[i]->until < ends ? file->all[i]->until : ends;
	}
	fuzz_assert(c->begins == begins && file->all[c->begins_with]->since == begins);
	fuzz_assert(c->ends == ends && file->all[c->ends_with]->until == ends);
	fuzz_assert(tls_certificate_check_dates(c, ends + 1, &err) == E_SYNTAX);
	fuzz_assert(begins > ends || (tls_certificate_check_dates(c, begins, &err) == 0 && tls_certificate_check_dates(c, ends, &err) == 0));
	fuzz_assert(tls_certificate_check_dates(c, begins - 1, &err) == E_SYNTAX);
}

static void check(const struct pki_file *file, const struct tls_certificate *c)
{
	const struct pki_object *first = file->all[0];
	bool self_signed = strcmp(first->name, first->issuer) == 0;

	fuzz_assert(c->self_signed == self_signed && c->alone == (!self_signed && file->count == 1) && strcmp(c->key, "Ed25519") == 0);
	for (size_t i = 0; i <= strlen(first->name); i++)
		fuzz_assert(c->names[i] == ascii_lower(first->name[i]));
	check_dates(file, c);
}

void fuzz_one(struct span input)
{
	struct tls_certificate c;
	struct pki_file file;
	struct err err = {0};
	bool whole;
	int r;

	pki_start();
	pki_file_make(input, false, &file);
	whole = !pki_file_is_changed(&file);
	r = tls_certificate_read(file.fd, &c, &err);
	close(file.fd);
	fuzz_assert(r == 0 || (r == E_SYNTAX && strncmp(err.text, "tls-certificate", 15) == 0));
	/* The last one's own signature is nobody's matter here. */
	fuzz_assert(r != 0 || is_chain(&file));
	fuzz_assert(r == 0 || !whole || !is_chain(&file));
	if (r == 0 && whole)
		check(&file, &c);
}
