/*
 * Damage to the files of a world that a real instance has left: accounts of a store,
 * a spool, a directory. Each case damages one of them in a copy; what then opens and
 * reads it must serve what was there, or refuse and name it.
 */
#ifndef MW_TESTS_DAMAGE_H
#define MW_TESTS_DAMAGE_H

#include "base/err.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATH = 512, LINE = 1024, DAMAGED_MAX = 8 };

/* ---- chance: the same seed and case give the same damage ---- */

struct chance {
	uint64_t state;
};

uint64_t chance_next(struct chance *c);
/* 0 to below - 1 */
size_t chance_below(struct chance *c, size_t below);

/* ---- files ---- */

/* All regular files below a directory, as paths relative to it, in byte order. */
struct files {
	char (*paths)[PATH];
	size_t count, room;
};

void files_list(const char *root, struct files *out);
void files_free(struct files *f);
void tree_copy(const char *from, const char *to);
void tree_remove(const char *path);
/* Owned by malloc; ptr NULL when it cannot be read. */
struct span file_load(const char *root, const char *path);
void file_save(const char *root, const char *path, struct span content);
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- one damage ---- */

enum way { WAY_BIT, WAY_BYTES, WAY_TRUNCATE, WAY_EXTEND, WAY_ZEROS, WAY_SWAP, WAY_DELETE, WAY_EMPTY, WAY_EXCHANGE, WAY_COPY, WAY_OLD, WAY_COUNT };

struct damage {
	enum way way;
	char path[PATH];  /* what was damaged, below the root */
	char other[PATH]; /* the second file of an exchange */
	size_t at, size;  /* the first octet that is another, the file's new size */
	char text[LINE];  /* to be told */
};

extern const char *const way_names[WAY_COUNT];

/* Of a file of LMDB most bytes mean nothing any more; those of these do. */
struct range {
	size_t at, len;
	unsigned group; /* its database */
};

struct hints {
	struct range *ranges;
	size_t count;
	unsigned groups;
};

void live_ranges(const char *directory, struct hints *out);

/*
 * Damages root/path; old: the same tree at an earlier time; others: files it may be exchanged with. hints: NULL, or the file is one of
 * LMDB. Something is different afterwards.
 */
void damage_do(struct chance *c, const char *root, const char *old, const char *path, const struct files *others, const struct hints *hints,
    struct damage *out);

/* ---- the three kinds; each returns with what is wrong in `wrong`, or nothing ---- */

struct outcome {
	char wrong[LINE]; /* "" when every promise was kept */
	char log[4 * LINE]; /* what was reported on the way */
	unsigned refused; /* messages that were not served */
	bool rebuilt, died, harmless;
};

void account_learn(const char *world, const char *scratch);
void account_case(struct chance *c, const char *world, const char *scratch, struct damage *damage, struct outcome *out);
void spool_learn(const char *world);
void spool_case(struct chance *c, const char *world, const char *scratch, struct damage *damage, struct outcome *out);
void directory_learn(const char *world, const char *scratch);
void directory_case(struct chance *c, const char *world, const char *scratch, struct damage *damage, struct outcome *out);

/* Runs fn in a child with limits; what it writes to *shared (from shared_new) stays. Returns the wait status. */
int in_child(void (*fn)(void *arg), void *arg);
void *shared_new(size_t size);
/* The first wrong thing counts. */
void say_wrong(struct outcome *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say_log(struct outcome *out, const char *text);

#endif
