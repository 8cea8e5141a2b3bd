/* /etc/aliases, as master has read it and sealed it in memory. */
#include "auth/auth.h"

#include "alias/set.h"

#include <sys/stat.h>
#include <unistd.h>

static int read_memory(int fd, struct buf *out, struct err *err)
{
	struct stat st;
	char *room;

	if (fstat(fd, &st) != 0 || st.st_size < 0)
		return err_set(err, E_IO, "the aliases cannot be read");
	if (st.st_size == 0)
		return 0;
	room = buf_reserve(out, (size_t)st.st_size);
	if (room == NULL)
		return err_set(err, E_NOMEM, "no memory for the aliases");
	if (pread(fd, room, (size_t)st.st_size, 0) != st.st_size)
		return err_set(err, E_IO, "the aliases cannot be read");
	buf_added(out, (size_t)st.st_size);
	return 0;
}

int aliases_load(struct auth *auth, struct err *err)
{
	int fd = conf_is_set(daemon_conf(auth->daemon), CONF_aliases, NULL) ? daemon_file(auth->daemon, "aliases") : -1;
	struct alias_set *set = NULL;
	struct buf text;
	int r = 0;

	buf_init(&text, ALIAS_SET_MAX);
	if (fd >= 0)
		r = read_memory(fd, &text, err);
	if (fd >= 0 && r == 0)
		r = alias_set_load(buf_span(&text), &set, err);
	buf_fini(&text);
	if (r != 0)
		return r;
	alias_set_free(&auth->aliases);
	auth->aliases = set;
	return 0;
}
