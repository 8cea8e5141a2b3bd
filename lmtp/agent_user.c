/* Whose rights a command or a file of an alias has, and how a process gets them. */
#include "lmtp/agent.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The user of the alias's own name, or the one for all others. */
static const struct passwd *find(struct span name, const struct agent_rules *rules)
{
	char text[64];
	const struct passwd *pw;

	span_copy(name, text, sizeof(text));
	pw = name.len < sizeof(text) ? getpwnam(text) : NULL;
	return pw != NULL ? pw : getpwnam(rules->fallback);
}

int agent_user_find(struct span name, const struct agent_rules *rules, struct agent_user *out, struct err *err)
{
	const struct passwd *pw = find(name, rules);

	if (pw == NULL)
		return err_set(err, E_UNAVAILABLE, "there is no user %.60s on this machine", rules->fallback);
	if (pw->pw_uid == 0 || pw->pw_gid == 0)
		return err_set(err, E_DENIED, "root runs no commands and writes no files for mail");
	if (strncmp(pw->pw_name, rules->prefix, strlen(rules->prefix)) == 0)
		return err_set(err, E_DENIED, "the mail server's own users run no commands and write no files for mail");
	*out = (struct agent_user){.uid = pw->pw_uid, .gid = pw->pw_gid, .ours = geteuid() != 0};
	snprintf(out->name, sizeof(out->name), "%s", pw->pw_name);
	snprintf(out->home, sizeof(out->home), "%s", pw->pw_dir);
	if (out->ours && out->uid != geteuid())
		return err_set(err, E_UNAVAILABLE, "the mail server was started by an ordinary user and cannot become %.60s", out->name);
	return 0;
}

int agent_user_become(const struct agent_user *user, struct err *err)
{
	if (!user->ours) {
		if (initgroups(user->name, user->gid) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
		    setresuid(user->uid, user->uid, user->uid) != 0)
			return err_set_errno(err, errno, "becoming %.60s", user->name);
		if (setresuid(0, 0, 0) == 0 || setresgid(0, 0, 0) == 0)
			return err_set(err, E_BUG, "privileges came back after they were dropped");
	}
	if (getuid() != user->uid || geteuid() != user->uid || getgid() != user->gid || getegid() != user->gid)
		return err_set(err, E_BUG, "this is not %.60s", user->name);
	if (chdir(user->home) != 0 && chdir("/") != 0)
		return err_set_errno(err, errno, "chdir /");
	return 0;
}
