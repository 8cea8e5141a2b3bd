/* The directories that daemons have as their own, below the data directory: made by init, and at a start those that came with a later version. */
#include "master/init.h"

#include "local/drop.h"
#include "master/save.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4200 };

/*
 * late: there was a version without it, so that it may be missing in an instance that is whole. The others are never made at a start: they
 * are missing when a disk is not mounted, and in their place mail would find no accounts, and accounts no mail.
 */
static const struct place {
	const char *name, *user;
	unsigned mode;
	bool late;
} places[] = {
    {"directory", "auth", 0700, false},
    {"store", "store", 0700, false},
    {"drop", "pickup", DROP_DIRECTORY_MODE, true},
    {"relay", "relay", 0700, true},
};

/*
 * Whoever owns a directory on the way may put another one, or a link, in the place of what lies below. Root must not
 * make or give away anything there. uid: whose directory this may be, besides root's.
 */
static int check_owner(const char *path, uid_t uid, struct err *err)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (lstat(path, &st) != 0 || (S_ISLNK(st.st_mode) && st.st_uid == 0 && stat(path, &st) != 0))
		return err_set_errno(err, errno, "%s", path);
	if (st.st_uid != 0 && st.st_uid != uid)
		return err_set(err, E_DENIED, "%s belongs to another user; give a directory whose parents are all root's", path);
	if (S_ISDIR(st.st_mode) && (st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0)
		return err_set(err, E_DENIED, "everybody may write into %s", path);
	return 0;
}

static int make_one(const char *path, uid_t uid, struct err *err)
{
	if (mkdir(path, 0755) == 0)
		return save_directory(path, err);
	return errno == EEXIST ? check_owner(path, uid, err) : err_set_errno(err, errno, "mkdir %s", path);
}

static int check_target(const char *link, struct err *err);

/* make: those that are missing. Below a link of root's to what is root's there may still be others who could put that aside. */
static int walk_parents(const char *path, bool make, struct err *err)
{
	char copy[PATH_SIZE];
	struct stat st;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *slash = copy + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		int r;

		*slash = '\0';
		r = make ? make_one(copy, 0, err) : check_owner(copy, 0, err);
		if (r == 0 && lstat(copy, &st) == 0 && S_ISLNK(st.st_mode))
			r = check_target(copy, err);
		if (r != 0)
			return r;
		*slash = '/';
	}
	return 0;
}

/* It has been followed once: there is something there. */
static int check_target(const char *link, struct err *err)
{
	char text[PATH_SIZE], target[2 * PATH_SIZE];
	ssize_t n = readlink(link, text, sizeof(text) - 1);
	struct stat st;
	int r;

	if (geteuid() != 0)
		return 0;
	if (n < 0)
		return err_set_errno(err, errno, "%s", link);
	text[n] = '\0';
	snprintf(target, sizeof(target), "%.*s%s", text[0] == '/' ? 0 : (int)(strrchr(link, '/') + 1 - link), link, text);
	if (strlen(target) >= PATH_SIZE)
		return err_set(err, E_TOOBIG, "%s leads to a path that is too long", link);
	r = walk_parents(target, false, err);
	if (r == 0)
		r = check_owner(target, 0, err);
	return r == 0 && lstat(target, &st) == 0 && S_ISLNK(st.st_mode) ? check_target(target, err) : r;
}

/* uid: as in check_owner, of the last one. */
static int make_directory_of(const char *path, uid_t uid, struct err *err)
{
	int r = walk_parents(path, true, err);

	return r == 0 ? make_one(path, uid, err) : r;
}

int place_make(const char *path, struct err *err)
{
	return make_directory_of(path, 0, err);
}

int place_make_owned(const char *path, const char *user_prefix, const char *user, unsigned mode, struct err *err)
{
	uid_t uid = 0;
	gid_t gid = 0;
	int r = geteuid() == 0 ? init_user(user_prefix, user, &uid, &gid, err) : 0;

	if (r == 0)
		r = make_directory_of(path, uid, err);
	if (r == 0)
		r = init_own(path, uid, gid, mode, err);
	return r == 0 ? save_directory(path, err) : r;
}

int places_make(const char *data, const char *user_prefix, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && r == 0; i++) {
		char path[PATH_SIZE];

		snprintf(path, sizeof(path), "%s/%s", data, places[i].name);
		r = place_make_owned(path, user_prefix, places[i].user, places[i].mode, err);
	}
	return r;
}

/* ---- at a start ---- */

/* It has its name when it is its user's: one that a power cut left half made would be there, and wrong. */
static int make_late(const struct place *place, const char *path, const char *user_prefix, struct err *err)
{
	char new[PATH_SIZE + 8];
	uid_t uid = 0;
	gid_t gid = 0;
	int r = walk_parents(path, false, err);

	if (r == 0 && geteuid() == 0)
		r = init_user(user_prefix, place->user, &uid, &gid, err);
	if (r != 0)
		return r;
	snprintf(new, sizeof(new), "%s.new", path);
	rmdir(new); /* of a start that was cut short */
	if (mkdir(new, 0700) != 0)
		return err_set_errno(err, errno, "mkdir %s", new);
	r = init_own(new, uid, gid, place->mode, err);
	if (r == 0 && rename(new, path) != 0)
		r = err_set_errno(err, errno, "%s", path);
	if (r == 0)
		return save_directory(path, err);
	rmdir(new);
	return r;
}

static bool is_missing(const char *path)
{
	struct stat st;

	return lstat(path, &st) != 0 && errno == ENOENT;
}

int places_mend(const char *data, const char *user_prefix, init_made *made, void *arg, struct err *err)
{
	char path[PATH_SIZE];
	int r = 0;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && r == 0; i++) {
		snprintf(path, sizeof(path), "%s/%s", data, places[i].name);
		if (!is_missing(path))
			continue;
		if (!places[i].late)
			return 0; /* no instance, or not all of it: its daemon says so */
		r = make_late(&places[i], path, user_prefix, err);
		if (r == 0)
			made(arg, "directory", path);
	}
	return r;
}
