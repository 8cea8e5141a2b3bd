/* What was in an account before the damage. */
#ifndef MW_TESTS_DAMAGE_TRUTH_H
#define MW_TESTS_DAMAGE_TRUTH_H

#include "tests/damage/damage.h"

#include "store/private.h"

enum { BOXES_MAX = 64, MESSAGES_MAX = 2000 };

struct truth_box {
	struct store_mailbox box; /* keywords are in words */
	char name[STORE_NAME_MAX + 1];
	uint64_t words; /* checksum of the table of keywords */
};

struct truth_message {
	uint32_t box; /* its id */
	struct store_message message;
	uint64_t facts; /* checksum, 0: there were none */
};

struct truth_file {
	struct file_name name;
	char path[PATH]; /* below the account */
	struct span content;
	bool expunged; /* no mailbox has it */
};

struct truth {
	struct truth_box boxes[BOXES_MAX];
	struct truth_message messages[MESSAGES_MAX];
	struct truth_file files[MESSAGES_MAX];
	size_t box_count, message_count, file_count, subscription_count;
	uint64_t subscriptions; /* checksum of the names */
};

void truth_learn(struct truth *t, const char *account);
uint64_t words_sum(const struct store_mailbox *box);
uint64_t facts_sum(const struct store_facts *facts);
const struct truth_box *truth_box(const struct truth *t, struct span name);
const struct truth_message *truth_message(const struct truth *t, uint32_t box, uint32_t uid);
const struct truth_file *truth_file(const struct truth *t, uint64_t number);

#endif
