#include "store/account.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { ACCOUNT_PATH = 32 };

int store_account_open(uint64_t account, struct err *err)
{
	char path[ACCOUNT_PATH];

	snprintf(path, sizeof(path), "%02x", (unsigned)(account & 255));
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_set_errno(err, errno, "store directory %s", path);
	snprintf(path, sizeof(path), "%02x/%llu", (unsigned)(account & 255), (unsigned long long)account);
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_set_errno(err, errno, "account directory %s", path);
	return store_account_find(account, err);
}

int store_account_find(uint64_t account, struct err *err)
{
	char path[ACCOUNT_PATH];
	int dir;

	snprintf(path, sizeof(path), "%02x/%llu", (unsigned)(account & 255), (unsigned long long)account);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return dir >= 0 ? dir : err_set_errno(err, errno, "account directory %s", path);
}
