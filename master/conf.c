/* The configuration and the files of root's: read, checked, put into sealed memory. */
#include "master/master.h"

#include "base/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONF_FLAT_MAX = 4 * 1024 * 1024, FILE_MAX = 1024 * 1024 };

static const struct {
	enum master_file_kind kind;
	enum conf_setting setting;
} file_kinds[] = {{FILE_CERTIFICATE, CONF_tls_certificate}, {FILE_KEY, CONF_tls_key}, {FILE_AUTHORITIES, CONF_tls_client_authorities},
    {FILE_AUTHORITIES, CONF_tls_client_revocations},
    {FILE_WEB_AUTHORITIES, CONF_fetch_authorities}, {FILE_CLIENT_SECRET, CONF_oauth_client_secret},
    {FILE_RELAY, CONF_password_file}, {FILE_RELAY, CONF_token_file}, {FILE_RELAY, CONF_relay_authorities},
    {FILE_RESOLVER, CONF_resolver_trust_anchor}};

int settings_seal(const char *name, struct span text, int *out, struct err *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return err_set_errno(err, errno, "memfd_create");
	if (!write_whole(fd, text) ||
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
		r = settings_seal("mailwain.conf", buf_span(&text), &settings->conf_fd, err);
	buf_fini(&text);
	return r;
}

/* All of it, in memory that was as large from the beginning: a buffer that grows would leave pieces of a key behind. */
static int read_file(struct master_file_copy *file, struct buf *out)
{
	int fd = open(file->path, O_RDONLY | O_CLOEXEC), number = 0;
	struct stat st;
	ssize_t n = 0;
	char *room;

	if (fd < 0 || fstat(fd, &st) != 0) {
		number = errno;
	} else if (st.st_size > FILE_MAX || (room = buf_reserve(out, (size_t)st.st_size + 1)) == NULL) {
		number = EFBIG;
	} else {
		n = read(fd, room, (size_t)st.st_size + 1);
		number = n < 0 ? errno : 0;
		buf_added(out, n > 0 ? (size_t)n : 0);
		file->device = st.st_dev;
		file->inode = st.st_ino;
		file->size = st.st_size;
		file->changed = st.st_mtim;
	}
	if (fd >= 0)
		close(fd);
	return number;
}

struct master_file_copy *settings_new_file(struct master_settings *settings, struct err *err)
{
	struct master_file_copy *more = NULL;

	if (settings->file_count == MASTER_FILES) {
		err_set(err, E_LIMIT, "more than %d certificates, passwords and other files", MASTER_FILES);
		return NULL;
	}
	more = reallocarray(settings->files, settings->file_count + 1, sizeof(*more));
	if (more == NULL) {
		err_set(err, E_NOMEM, "no memory for files");
		return NULL;
	}
	settings->files = more;
	more += settings->file_count++;
	*more = (struct master_file_copy){.fd = -1};
	return more;
}

/* A file that is taken when none is named: the machine may not have it. */
static bool is_default_file(enum conf_setting setting)
{
	const char *path = conf_setting_info(setting)->default_text;

	return path[0] != '\0' && access(path, R_OK) == 0;
}

/* file: its kind, name and path are set. */
static int seal_content(struct master_file_copy *file, const char *what, struct span origin, struct err *err)
{
	struct buf content;
	int r, number;

	buf_init(&content, FILE_MAX + 1);
	number = read_file(file, &content);
	if (number != 0)
		r = err_set_errno(err, number, "%.*s: %s %s", SPAN_ARG(origin), what, file->path);
	else
		r = settings_seal(what, buf_span(&content), &file->fd, err);
	buf_fini_secret(&content);
	return r;
}

/* where: the top level, a domain or a transport. */
static int seal_file(struct master_settings *settings, size_t kind, const struct conf_where *where, struct err *err)
{
	enum conf_setting setting = file_kinds[kind].setting;
	const char *what = conf_setting_info(setting)->name;
	struct span block = where->domain ? where->domain->name : where->transport ? where->transport->pattern : SPAN_LIT("");
	struct master_file_copy *file;

	if (!conf_is_set(settings->conf, setting, where) && !is_default_file(setting))
		return 0;
	file = settings_new_file(settings, err);
	if (file == NULL)
		return err->code;
	file->kind = file_kinds[kind].kind;
	snprintf(file->name, sizeof(file->name), "%s%s%.*s", what, block.len > 0 ? " " : "", SPAN_ARG(block));
	span_copy(conf_text(settings->conf, setting, where), file->path, sizeof(file->path));
	return seal_content(file, what, conf_origin(settings->conf, setting, where), err);
}

/* `resolver system`: another one, of a network that this machine has come to, is taken over as a new certificate is. */
static int seal_resolv_conf(struct master_settings *settings, struct err *err)
{
	struct master_file_copy *file;

	if (!span_eq(conf_text(settings->conf, CONF_resolver, NULL), SPAN_LIT("system")))
		return 0;
	file = settings_new_file(settings, err);
	if (file == NULL)
		return err->code;
	file->kind = FILE_RESOLVER;
	strcpy(file->name, "resolv.conf");
	strcpy(file->path, "/etc/resolv.conf");
	return seal_content(file, "resolver system", conf_origin(settings->conf, CONF_resolver, NULL), err);
}

/* Of one kind, wherever they may be named. */
static int seal_kind(struct master_settings *settings, size_t kind, struct err *err)
{
	const struct conf *conf = settings->conf;
	unsigned scopes = conf_setting_info(file_kinds[kind].setting)->scopes;
	int r = scopes & CONF_SCOPE_GLOBAL ? seal_file(settings, kind, &(struct conf_where){0}, err) : 0;

	for (size_t i = 0; scopes & CONF_SCOPE_DOMAIN && i < conf_domain_count(conf) && r == 0; i++)
		r = seal_file(settings, kind, &(struct conf_where){.domain = conf_domain(conf, i)}, err);
	for (size_t i = 0; scopes & CONF_SCOPE_TRANSPORT && i < conf_transport_count(conf) && r == 0; i++)
		r = seal_file(settings, kind, &(struct conf_where){.transport = conf_transport(conf, i)}, err);
	return r;
}

static int seal_files(struct master_settings *settings, struct err *err)
{
	int r = seal_resolv_conf(settings, err);

	for (size_t kind = 0; kind < sizeof(file_kinds) / sizeof(file_kinds[0]) && r == 0; kind++)
		r = seal_kind(settings, kind, err);
	return r;
}

/* Of what has been parsed: r says whether. */
static int complete(const struct instance *instance, struct master_settings *settings, int r, const struct master_settings *now,
    struct master_settings *out, struct err *err)
{
	if (r == 0)
		r = conf_check(settings->conf, instance->conf, err);
	if (r == 0)
		r = seal_conf(settings, err);
	if (r == 0)
		r = seal_files(settings, err);
	if (r == 0)
		r = settings_read_aliases(settings, now, err);
	if (r == 0)
		*out = *settings;
	else
		settings_free(settings);
	return r;
}

int settings_load(const struct instance *instance, const struct master_settings *now, struct master_settings *out, struct err *err)
{
	struct master_settings settings = {.conf_fd = -1};
	int r = conf_load(instance->conf, &settings.conf, err);

	return complete(instance, &settings, r, now, out, err);
}

int settings_renew(const struct instance *instance, const struct master_settings *now, struct master_settings *out, struct err *err)
{
	struct master_settings settings = {.conf_fd = -1};
	int r = conf_load_fd(now->conf_fd, &settings.conf, err);

	return complete(instance, &settings, r, now, out, err);
}

bool settings_files_changed(const struct master_settings *settings, uint64_t *seen)
{
	bool changed = false;

	*seen = 0;
	for (size_t i = 0; i < settings->file_count; i++) {
		const struct master_file_copy *file = &settings->files[i];
		struct stat st;

		if (stat(file->path, &st) != 0)
			continue; /* it is being replaced */
		changed |= st.st_dev != file->device || st.st_ino != file->inode || st.st_size != file->size ||
			   st.st_mtim.tv_sec != file->changed.tv_sec || st.st_mtim.tv_nsec != file->changed.tv_nsec;
		*seen = *seen * 1000003 + (uint64_t)st.st_ino + (uint64_t)st.st_size * 31 + (uint64_t)st.st_mtim.tv_sec * 1000000007 +
			(uint64_t)st.st_mtim.tv_nsec;
	}
	return changed;
}

void settings_free(struct master_settings *settings)
{
	conf_free(&settings->conf);
	if (settings->conf_fd >= 0)
		close(settings->conf_fd);
	for (size_t i = 0; i < settings->file_count; i++)
		if (settings->files[i].fd >= 0)
			close(settings->files[i].fd);
	free(settings->files);
	*settings = (struct master_settings){.conf_fd = -1};
}
