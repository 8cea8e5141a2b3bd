/* What a check against a hash costs, by its text alone. */
#include "tests/unit/test.h"

#include "auth/hash.h"

#include <string.h>

static const struct {
	const char *hash;
	double ms, mib; /* of a short password; negative: unbearable */
	bool dear;
} rows[] = {
    {"$argon2id$v=19$m=65536,t=2,p=1$c2FsdA$aGFzaA", 100, 64, false},
    {"$argon2id$v=19$m=262144,t=3,p=1$c2FsdA$aGFzaA", 600, 256, true},
    {"$argon2i$v=19$m=4096,t=3,p=1$c2FsdA$aGFzaA", 9, 4, false},
    {"$argon2id$v=19$m=1048576,t=4,p=1$c2FsdA$aGFzaA", -1, 0, true},
    {"$argon2id$v=19$m=8,t=4294967295,p=1$c2FsdA$aGFzaA", -1, 0, true},
    {"$argon2id$v=19$m=99999999999999999999,t=1,p=1$c2FsdA$aGFzaA", -1, 0, true},
    {"$argon2id$v=19$m=-1,t=1,p=1$c2FsdA$aGFzaA", -1, 0, true},
    {"$argon2id$nothing", -1, 0, true},
    {"$1$saltsalt$", 1, 0, false},
    {"$5$saltsalt$", 3, 0, false},
    {"$5$rounds=535000$salt$", 321, 0, true},
    {"$6$saltsalt$", 3, 0, false},
    {"$6$rounds=656000$salt$", 394, 0, true},
    {"$6$rounds=5000000$salt$", -1, 0, true},
    {"$6$rounds=99999999999999999999$salt$", -1, 0, true},
    {"$2b$05$abcdefghijklmnopqrstuu", 2, 0, false},
    {"$2y$12$abcdefghijklmnopqrstuu", 246, 0, true},
    {"$2a$14$abcdefghijklmnopqrstuu", 983, 0, true},
    {"$2b$16$abcdefghijklmnopqrstuu", -1, 0, true},
    {"$2b$", -1, 0, true},
    {"$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/$", 2, 1, false},
    {"$y$j9T$k2XAnEHBqQ1Ct2aMXFKNa/$", 40, 16, false},
    {"$gy$jCT$k2XAnEHBqQ1Ct2aMXFKNa/$", 320, 128, true},
    {"$y$jDT$k2XAnEHBqQ1Ct2aMXFKNa/$", 640, 256, true},
    {"$y$jFT$k2XAnEHBqQ1Ct2aMXFKNa/$", -1, 0, true},
    {"$y$j9T/.0$k2XAnEHBqQ1Ct2aMXFKNa/$", 80, 16, false}, /* t of 1 */
    {"$y$j9zzzzzzz$k2XAnEHB$", -1, 0, true},
    {"$y$j9", -1, 0, true},
    {"$7$BU..../....k2XAnEHBqQ1Ct2aM$", 80, 32, false},
    {"$7$GU..../....k2XAnEHBqQ1Ct2aM$", -1, 0, true},
    {"$7$BUzzzz/....k2XAnEHBqQ1Ct2aM$", -1, 0, true},
    {"$7$BU", -1, 0, true},
    {"$7$", -1, 0, true},
    {"$sha1$262144$salt$", 367, 0, true},
    {"$sha1$4000000000$salt$", -1, 0, true},
    {"$md5$salt$", 7, 0, false},
    {"$md5,rounds=112337$salt$", 198, 0, false},
    {"$md5,rounds=4000000000$salt$", -1, 0, true},
    {"$3$$8846f7eaee8fb117ad06bdd830b7586c", 0, 0, false},
    {"$new$of tomorrow$", -1, 0, true},
};

static void each_form_has_its_cost(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct hash_cost cost = hash_cost(rows[i].hash, 0);

		if (hash_is_bearable(&cost) != (rows[i].ms >= 0) || hash_is_dear(&cost) != rows[i].dear)
			fail_msg("%s: %.1f ms, %.1f MiB", rows[i].hash, cost.ms, cost.mib);
		if (rows[i].ms >= 0 && (cost.ms < rows[i].ms - 1 || cost.ms > rows[i].ms + 1 || cost.mib < rows[i].mib - 0.5 || cost.mib > rows[i].mib + 0.5))
			fail_msg("%s: %.1f ms, %.1f MiB", rows[i].hash, cost.ms, cost.mib);
	}
}

/* Its sender chooses how long it is. */
static void a_long_password_costs_more(void **state)
{
	struct hash_cost usual = hash_cost("$6$rounds=656000$salt$", HASH_PASSWORD_USUAL), longest = hash_cost("$6$rounds=656000$salt$", 512);

	(void)state;
	assert_true(hash_is_bearable(&usual));
	assert_false(hash_is_bearable(&longest));
	longest = hash_cost("$6$salt$", 512);
	assert_true(hash_is_bearable(&longest) && !hash_is_dear(&longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_form_has_its_cost),
	    cmocka_unit_test(a_long_password_costs_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
