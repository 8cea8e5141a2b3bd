/* Does this message match? The tree of keys against index, facts and file, each read only when it must be. */
#ifndef MW_IMAPD_SEARCHER_H
#define MW_IMAPD_SEARCHER_H

#include "imap/search.h"
#include "imapd/message.h"

enum { SEARCH_TEXT_MAX = 4 * 1024 * 1024 }; /* of one decoded piece of text */

struct searcher {
	struct session *s;
	struct store_txn *txn;
	const struct store_mailbox *mailbox;
	struct message_bytes bytes;
	struct buf decoded, utf8, folded, header; /* used again for every part */
	/* The message looked at: */
	const struct store_message *message;
	uint32_t sequence;
	bool has_facts;
	struct store_facts facts;
	bool failed; /* a message that is damaged matches nothing */
	int code;    /* another could not be read now: what is found would not be all */
	struct err err;
};

void searcher_init(struct searcher *searcher, struct session *s);
void searcher_free(struct searcher *searcher);
/* Texts become folded UTF-8, once. 0, E_NOMEM; E_UNSUPPORTED: the charset is not known. */
int searcher_prepare(struct searcher *searcher, struct imap_search *search);
bool searcher_matches(struct searcher *searcher, const struct imap_search_key *root, const struct store_message *message,
    uint32_t sequence);

#endif
