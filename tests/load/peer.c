/* See peer.h. */
#include "tests/load/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

double peer_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int peer_connect(unsigned number, int port)
{
	struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	from.sin_addr.s_addr = htonl(0x7f000100U + (number / 250 << 8) + number % 250 + PEER_ADDRESS_FIRST);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((uint16_t)port);
	if (fd >= 0) {
		/* The port is chosen at connect, when the other end is known: 28,000 for each address, not for all. */
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		if (bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0 &&
		    (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == EINPROGRESS))
			return fd;
		close(fd);
	}
	return -1;
}

char *peer_line(struct peer_lines *lines)
{
	char *end = memchr(lines->data, '\n', lines->len);

	if (end == NULL)
		return NULL;
	*end = '\0';
	if (end > lines->data && end[-1] == '\r')
		end[-1] = '\0';
	return lines->data;
}

void peer_line_done(struct peer_lines *lines)
{
	size_t used = strlen(lines->data) + 1;

	/* CR LF have become one NUL or two. */
	while (used < lines->len && lines->data[used] == '\0')
		used++;
	lines->len -= used;
	memmove(lines->data, lines->data + used, lines->len);
}

size_t peer_room(struct peer_lines *lines, char **at)
{
	*at = lines->data + lines->len;
	return sizeof(lines->data) - lines->len;
}

void peer_allow_descriptors(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}
