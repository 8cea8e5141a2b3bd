#include "control/paths.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef MW_SYSCONFDIR
#define MW_SYSCONFDIR	  "/etc"
#define MW_LOCALSTATEDIR  "/var"
#define MW_RUNDIR	  "/run"
#define MW_LIBEXECDIR	  "/usr/local/libexec/mailwain"
#define MW_BINDIR	  "/usr/local/bin"
#endif

/* A symbolic link must not make the same instance look like two. */
static int absolute_root(const char *root, char *out, struct err *err)
{
	char cwd[PATH_MAX];

	if (root[0] == '/') {
		if (snprintf(out, INSTANCE_PATH, "%s", root) >= INSTANCE_PATH)
			return err_set(err, E_TOOBIG, "--root: the path is too long");
	} else {
		if (getcwd(cwd, sizeof(cwd)) == NULL)
			return err_set_errno(err, errno, "current directory");
		if (snprintf(out, INSTANCE_PATH, "%s/%s", cwd, root) >= INSTANCE_PATH)
			return err_set(err, E_TOOBIG, "--root: the path is too long");
	}
	for (size_t len = strlen(out); len > 1 && out[len - 1] == '/'; len--)
		out[len - 1] = '\0';
	return 0;
}

static void find_binaries(struct instance *instance)
{
	char self[INSTANCE_PATH], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	snprintf(instance->libexec, sizeof(instance->libexec), "%s", MW_LIBEXECDIR);
	snprintf(instance->bin, sizeof(instance->bin), "%s", MW_BINDIR);
	if (n <= 0)
		return;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash == NULL)
		return;
	*slash = '\0';
	slash = strrchr(self, '/');
	/* build/bin/X, build/sbin/X or build/libexec/X */
	if (slash == NULL || (strcmp(slash, "/bin") != 0 && strcmp(slash, "/sbin") != 0 && strcmp(slash, "/libexec") != 0))
		return;
	*slash = '\0';
	if (strlen(self) + 20 > sizeof(self))
		return;
	snprintf(self + strlen(self), sizeof(self) - strlen(self), "/libexec/master");
	if (access(self, X_OK) != 0)
		return;
	*strrchr(self, '/') = '\0';
	snprintf(instance->libexec, sizeof(instance->libexec), "%s", self);
	*strrchr(self, '/') = '\0';
	snprintf(instance->bin, sizeof(instance->bin), "%.*s/bin", INSTANCE_PATH - 8, self);
}

int instance_find(struct instance *instance, const char *root, struct err *err)
{
	int r;

	memset(instance, 0, sizeof(*instance));
	/* An empty name given by hand is a shell variable that was not set: it must not mean the machine. */
	if (root != NULL && root[0] == '\0')
		return err_set(err, E_SYNTAX, "--root needs a directory");
	if (root == NULL)
		root = getenv("MAILWAIN_ROOT");
	find_binaries(instance);
	if (root == NULL || root[0] == '\0') {
		snprintf(instance->conf, sizeof(instance->conf), "%s/mailwain/mailwain.conf", MW_SYSCONFDIR);
		snprintf(instance->run, sizeof(instance->run), "%s/mailwain", MW_RUNDIR);
		snprintf(instance->data, sizeof(instance->data), "%s/lib/mailwain", MW_LOCALSTATEDIR);
		snprintf(instance->spool, sizeof(instance->spool), "%s/spool/mailwain", MW_LOCALSTATEDIR);
		return 0;
	}
	r = absolute_root(root, instance->root, err);
	if (r != 0)
		return r;
	snprintf(instance->conf, sizeof(instance->conf), "%s/etc/mailwain.conf", instance->root);
	snprintf(instance->run, sizeof(instance->run), "%s/run", instance->root);
	snprintf(instance->data, sizeof(instance->data), "%s/data", instance->root);
	snprintf(instance->spool, sizeof(instance->spool), "%s/spool", instance->root);
	return 0;
}
