/* The aliases of the machine, for auth: read when the settings are, and when one of the files has changed. */
#include "master/alias_files.h"
#include "master/master.h"

#include "base/log.h"

#include <fcntl.h>

static const char name[] = "aliases";

static void remember(struct master_file_copy *file, const struct alias_source *source)
{
	file->kind = FILE_ALIASES;
	span_copy(span_str(source->path), file->path, sizeof(file->path));
	file->device = source->st.st_dev;
	file->inode = source->st.st_ino;
	file->size = source->st.st_size;
	file->changed = source->st.st_mtim;
}

/* What held before; or the reason, for which auth puts off what may be an alias. */
static int seal_refused(const struct master_settings *now, const char *path, const struct err *why, int *fd, struct err *err)
{
	struct buf text;
	int r;

	for (size_t i = 0; now != NULL && i < now->file_count; i++)
		if (now->files[i].kind == FILE_ALIASES && now->files[i].fd >= 0) {
			*fd = fcntl(now->files[i].fd, F_DUPFD_CLOEXEC, 0);
			return *fd >= 0 ? 0 : err_set(err, E_NOFILES, "no descriptor for the aliases");
		}
	buf_init(&text, ALIAS_FILE_MAX);
	alias_set_add(&text, ALIAS_MARK_NO_FILE, path, span_str(why->text));
	r = buf_failed(&text) ? err_set(err, E_NOMEM, "out of memory") : settings_seal(name, buf_span(&text), fd, err);
	buf_fini(&text);
	return r;
}

static void log_sources(const struct alias_files *files, const struct err *refused)
{
	if (refused->code != 0)
		log_event(EV_alias_refused, NULL, F_ERR(refused));
	else if (files->sources[0].err.code != 0)
		log_event(EV_alias_list, NULL, F_ERR(&files->sources[0].err));
	else
		log_event(EV_alias_file, NULL, F_STR("file", files->sources[0].path), F_U64("aliases", files->file.count),
		    F_U64("lists", files->count - 1));
	for (size_t i = 1; i < files->count; i++)
		if (files->sources[i].err.code != 0)
			log_event(EV_alias_list, NULL, F_ERR(&files->sources[i].err));
}

/* The file first, with the text of all; the lists to be watched. */
static int keep(struct master_settings *settings, const struct alias_files *files, int fd, struct err *err)
{
	for (size_t i = 0; i < files->count; i++) {
		struct master_file_copy *file = settings_new_file(settings, err);

		if (file == NULL)
			return err->code;
		remember(file, &files->sources[i]);
		if (i == 0) {
			snprintf(file->name, sizeof(file->name), "%s", name);
			file->fd = fd;
		}
	}
	return 0;
}

int settings_read_aliases(struct master_settings *settings, const struct master_settings *now, struct err *err)
{
	struct span path = conf_text(settings->conf, CONF_aliases, NULL);
	char text[ALIAS_PATH_MAX];
	struct alias_files files;
	struct err why = {0};
	int r, fd = -1;

	if (path.len == 0)
		return 0;
	span_copy(path, text, sizeof(text));
	r = alias_files_read(text, &files, &why);
	if (files.count == 0)
		r = err_set(err, E_NOMEM, "out of memory");
	else if (r != 0)
		r = seal_refused(now, text, &why, &fd, err);
	else
		r = settings_seal(name, buf_span(&files.set), &fd, err);
	settings->aliases = why;
	if (r == 0)
		log_sources(&files, &why);
	if (r == 0)
		r = keep(settings, &files, fd, err);
	alias_files_free(&files);
	return r;
}

void aliases_note(const struct master *master, struct buf *out)
{
	if (master->now.aliases.code != 0)
		buf_printf(out, "%s%s; the aliases are those from before, if there were any", buf_len(out) > 0 ? "; " : "", master->now.aliases.text);
}
