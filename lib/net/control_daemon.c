/* The control server of a daemon: apart, because master has one without being a daemon. */
#include "net/control.h"

#include "proc/daemon.h"

struct control_server *control_server_new(struct daemon *daemon, control_handler *handler, void *arg)
{
	int fd;

	if (daemon_listeners(daemon, "control", &fd, NULL, 1) != 1)
		return NULL;
	return control_server_new_on(daemon_base(daemon), fd, handler, arg);
}
