/* The ports and control sockets. They stay open over restarts and reloads: no connection is refused in between. */
#include "master/master.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 4096, CONTROL_BACKLOG = 64 };

/* What the administrator can do about it. */
static const char *bind_advice(int number, const struct addrinfo *address)
{
	/* The port stands at the same place for both families. */
	unsigned port = ntohs(((const struct sockaddr_in *)(const void *)address->ai_addr)->sin_port);

	switch (number) {
	case EADDRINUSE:
		return "; `ss -ltnp` shows by whom";
	case EACCES:
		return port < 1024 ? "; ports below 1024 are for root: give `init` a --port-offset" : "";
	case EADDRNOTAVAIL:
		return "; no interface of this machine has this address";
	case EAFNOSUPPORT:
		return "; this machine has no IPv6: remove the block";
	default:
		return "";
	}
}

static int socket_bind(const struct addrinfo *address, int *out, const char *text, struct err *err)
{
	int on = 1;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_set(err, err_from_errno(errno), "cannot listen on %s: %s%s", text, strerror(errno),
		    bind_advice(errno, address));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
		int r = err_set(err, err_from_errno(errno), "cannot listen on %s: %s%s", text, strerror(errno),
		    bind_advice(errno, address));

		close(fd);
		return r;
	}
	*out = fd;
	return 0;
}

static int listener_bind(const struct conf_listener *listener, int *fd, struct err *err)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
	    .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	char host[128], port[8], text[160];
	int r;

	span_copy(listener->host, host, sizeof(host));
	snprintf(port, sizeof(port), "%u", listener->port);
	snprintf(text, sizeof(text), "%.*s (%.*s)", SPAN_ARG(listener->address),
	    SPAN_ARG(listener->service));
	if (getaddrinfo(host, port, &hints, &found) != 0)
		return err_set(err, E_SYNTAX, "listen %s: not an IP address", text);
	r = socket_bind(found, fd, text, err);
	freeaddrinfo(found);
	return r;
}

static struct master_socket *socket_find(struct master *master, struct span service, struct span address)
{
	for (size_t i = 0; i < master->socket_count; i++)
		if (span_eq(span_str(master->sockets[i].service), service) &&
		    span_eq(span_str(master->sockets[i].address), address))
			return &master->sockets[i];
	return NULL;
}

static struct master_socket *socket_add(struct master *master, struct span service, struct span address,
    int fd)
{
	struct master_socket *s;

	if (master->socket_count == MASTER_LISTENERS)
		return NULL;
	s = &master->sockets[master->socket_count++];
	span_copy(service, s->service, sizeof(s->service));
	span_copy(address, s->address, sizeof(s->address));
	s->fd = fd;
	return s;
}

static int open_ports(struct master *master, struct err *err)
{
	for (size_t i = 0; i < conf_listener_count(master->now.conf); i++) {
		const struct conf_listener *l = conf_listener(master->now.conf, i);
		struct master_socket *s = socket_find(master, l->service, l->address);
		int fd, r;

		if (s == NULL) {
			r = listener_bind(l, &fd, err);
			if (r != 0)
				return r;
			s = socket_add(master, l->service, l->address, fd);
			if (s == NULL) {
				close(fd);
				return err_set(err, E_LIMIT, "more than %d listeners", MASTER_LISTENERS);
			}
		}
		s->wanted = true;
	}
	return 0;
}

static int control_group(const struct conf *conf, gid_t *gid, struct err *err)
{
	struct span name = conf_text(conf, CONF_control_group, NULL);
	char text[64];
	struct group *group;

	*gid = (gid_t)-1;
	if (name.len == 0)
		return 0;
	span_copy(name, text, sizeof(text));
	group = getgrnam(text);
	if (group == NULL)
		return err_set(err, E_NOTFOUND, "%.*s: control-group: there is no group %s; groupadd(8) makes one",
		    SPAN_ARG(conf_origin(conf, CONF_control_group, NULL)), text);
	*gid = group->gr_gid;
	return 0;
}

static int open_socket(struct master *master, const char *name, mode_t mode, gid_t gid, int *out, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, r;

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s.sock", master->instance.run, name) >=
	    (int)sizeof(address.sun_path))
		return err_set(err, E_TOOBIG, "run-directory %s: the path is too long for a socket; use a shorter --root",
		    master->instance.run);
	unlink(address.sun_path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    chmod(address.sun_path, mode) != 0 ||
	    (gid != (gid_t)-1 && chown(address.sun_path, 0, gid) != 0) || listen(fd, CONTROL_BACKLOG) != 0) {
		r = err_set_errno(err, errno, "socket %s", address.sun_path);
		if (fd >= 0)
			close(fd);
		return r;
	}
	*out = fd;
	return 0;
}

int control_socket_open(struct master *master, const char *name, int *out, struct err *err)
{
	gid_t gid;
	int r = control_group(master->now.conf, &gid, err);

	return r == 0 ? open_socket(master, name, gid == (gid_t)-1 ? 0600 : 0660, gid, out, err) : r;
}

/* service: control, for administrators, or open, for everybody. */
static int want_socket(struct master *master, const char *service, const char *name, struct err *err)
{
	struct master_socket *s = socket_find(master, span_str(service), span_str(name));
	int fd, r;

	if (s == NULL) {
		r = strcmp(service, "open") == 0 ? open_socket(master, name, 0666, (gid_t)-1, &fd, err) : control_socket_open(master, name, &fd, err);
		if (r != 0)
			return r;
		s = socket_add(master, span_str(service), span_str(name), fd);
		if (s == NULL) {
			close(fd);
			return err_set(err, E_LIMIT, "more than %d listeners", MASTER_LISTENERS);
		}
	}
	s->wanted = true;
	return 0;
}

static int open_local(struct master *master, struct err *err)
{
	int r = 0;

	for (const struct child_kind *kind = child_kinds; kind->name != NULL && r == 0; kind++) {
		if (kind->control)
			r = want_socket(master, "control", kind->name, err);
		if (r == 0 && kind->open_socket != NULL)
			r = want_socket(master, "open", kind->open_socket, err);
	}
	return r;
}

/* What the configuration no longer names is closed. */
static void drop_unwanted(struct master *master)
{
	size_t kept = 0;

	for (size_t i = 0; i < master->socket_count; i++) {
		if (master->sockets[i].wanted)
			master->sockets[kept++] = master->sockets[i];
		else
			close(master->sockets[i].fd);
	}
	master->socket_count = kept;
}

int listeners_open(struct master *master, struct err *err)
{
	int r;

	for (size_t i = 0; i < master->socket_count; i++)
		master->sockets[i].wanted = false;
	r = open_ports(master, err);
	if (r == 0)
		r = open_local(master, err);
	if (r == 0)
		drop_unwanted(master);
	return r;
}

void listeners_close(struct master *master)
{
	for (size_t i = 0; i < master->socket_count; i++) {
		struct master_socket *s = &master->sockets[i];
		char path[4200];

		close(s->fd);
		if (strcmp(s->service, "control") == 0 || strcmp(s->service, "open") == 0) {
			snprintf(path, sizeof(path), "%s/%s.sock", master->instance.run, s->address);
			unlink(path);
		}
	}
	master->socket_count = 0;
}
