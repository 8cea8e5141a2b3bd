/* The configuration and the files of root's: read, checked, put into sealed memory. */
#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CONF_FLAT_MAX = 4 * 1024 * 1024, FILE_MAX = 1024 * 1024 };

const struct master_file_kind master_files[MASTER_FILES] = {
    {"tls-certificate", CONF_tls_certificate},
    {"tls-key", CONF_tls_key},
};

static int seal(const char *name, struct span text, int *out, struct err *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return err_set_errno(err, errno, "memfd_create");
	if (write(fd, text.ptr, text.len) != (ssize_t)text.len ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
		r = err_set_errno(err, errno, "writing %s to memory", name);
		close(fd);
		return r;
	}
	*out = fd;
	return 0;
}

static int seal_conf(struct master_settings *settings, struct err *err)
{
	struct buf text;
	int r;

	buf_init(&text, CONF_FLAT_MAX);
	conf_dump(settings->conf, &text);
	if (buf_failed(&text))
		r = err_set(err, E_TOOBIG, "the configuration is larger than %d bytes", CONF_FLAT_MAX);
	else
		r = seal("mailwain.conf", buf_span(&text), &settings->conf_fd, err);
	buf_fini(&text);
	return r;
}

static int read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd < 0)
		return errno;
	do {
		char *room = buf_reserve(out, 8192);

		n = room == NULL ? 0 : read(fd, room, 8192);
		if (n > 0)
			buf_added(out, (size_t)n);
	} while (n > 0);
	close(fd);
	return n < 0 ? errno : buf_failed(out) ? EFBIG : 0;
}

static int seal_file(struct master_settings *settings, size_t i, struct err *err)
{
	enum conf_setting setting = master_files[i].setting;
	struct span path = conf_text(settings->conf, setting, NULL);
	char text[4096];
	struct buf content;
	int r = 0, number;

	if (path.len == 0)
		return 0;
	snprintf(text, sizeof(text), "%.*s", SPAN_ARG(path));
	buf_init(&content, FILE_MAX);
	number = read_file(text, &content);
	if (number != 0)
		r = err_set_errno(err, number, "%.*s: %s %s", SPAN_ARG(conf_origin(settings->conf, setting, NULL)),
		    master_files[i].name, text);
	else
		r = seal(master_files[i].name, buf_span(&content), &settings->files[i], err);
	buf_fini_secret(&content);
	return r;
}

int settings_load(const struct instance *instance, struct master_settings *out, struct err *err)
{
	struct master_settings settings = {.conf_fd = -1, .files = {-1, -1}};
	int r = conf_load(instance->conf, &settings.conf, err);

	if (r == 0)
		r = conf_check(settings.conf, instance->conf, err);
	if (r == 0)
		r = seal_conf(&settings, err);
	for (size_t i = 0; i < MASTER_FILES && r == 0; i++)
		r = seal_file(&settings, i, err);
	if (r == 0)
		*out = settings;
	else
		settings_free(&settings);
	return r;
}

void settings_free(struct master_settings *settings)
{
	conf_free(&settings->conf);
	if (settings->conf_fd >= 0)
		close(settings->conf_fd);
	for (size_t i = 0; i < MASTER_FILES; i++)
		if (settings->files[i] >= 0)
			close(settings->files[i]);
	*settings = (struct master_settings){.conf_fd = -1, .files = {-1, -1}};
}
