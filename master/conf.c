/* The configuration: read, checked, flattened into sealed memory, handed out. */
#include "master/master.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CONF_FLAT_MAX = 4 * 1024 * 1024 };

static int conf_seal(const struct conf *conf, int *out, struct err *err)
{
	struct buf text;
	struct span all;
	int fd = memfd_create("mailwain.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = 0;

	if (fd < 0)
		return err_set_errno(err, errno, "memfd_create");
	buf_init(&text, CONF_FLAT_MAX);
	conf_dump(conf, &text);
	all = buf_span(&text);
	if (buf_failed(&text))
		r = err_set(err, E_TOOBIG, "the configuration is larger than %d bytes", CONF_FLAT_MAX);
	else if (write(fd, all.ptr, all.len) != (ssize_t)all.len ||
		 fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
		r = err_set_errno(err, errno, "writing the configuration to memory");
	buf_fini(&text);
	if (r != 0)
		close(fd);
	else
		*out = fd;
	return r;
}

int master_load_conf(struct master *master, struct err *err)
{
	struct conf *conf = NULL;
	int fd = -1;
	int r = conf_load(master->instance.conf, &conf, err);

	if (r == 0 && conf_text(conf, CONF_hostname, NULL).len == 0)
		r = err_set(err, E_SYNTAX, "%s: hostname is not set", master->instance.conf);
	if (r == 0)
		r = conf_seal(conf, &fd, err);
	if (r != 0) {
		conf_free(&conf);
		return r;
	}
	if (master->conf_fd >= 0)
		close(master->conf_fd);
	conf_free(&master->conf);
	master->conf = conf;
	master->conf_fd = fd;
	master->generation++;
	return 0;
}

int master_reload(struct master *master, struct err *err)
{
	int r = master_load_conf(master, err);

	if (r != 0) {
		log_event(EV_master_reload_refused, NULL, F_ERR(err));
		log_flush();
		return r;
	}
	for (size_t i = 0; i < master->child_count && r == 0; i++)
		r = child_reload(&master->children[i], err);
	log_event(EV_master_reload, NULL, F_U64("generation", master->generation));
	log_flush();
	return r;
}
