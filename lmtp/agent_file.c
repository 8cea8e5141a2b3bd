/* Appends a message to a file in mbox form: all of it or nothing. */
#include "lmtp/agent.h"

#include "base/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

static int complain(const char *what, int number)
{
	bool temp = number == ENOSPC || number == EDQUOT || number == EIO || number == EINTR || number == EAGAIN || number == ENFILE || number == EMFILE || number == ENOMEM;

	printf("%s%s%s\n", what, number != 0 ? ": " : "", number != 0 ? strerror(number) : "");
	fflush(stdout);
	return temp ? EX_TEMPFAIL : EX_CANTCREAT;
}

/* Programs that read such files lock them in this way. */
static int lock(int fd)
{
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	for (int i = 0; i < 10 * AGENT_LOCK_S; i++) {
		if (fcntl(fd, F_SETLK, &all) == 0)
			return 0;
		if (errno != EACCES && errno != EAGAIN)
			return errno;
		usleep(100 * 1000);
	}
	return EAGAIN;
}

static int copy(int fd)
{
	char chunk[65536];
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0)
		if (!write_whole(fd, span_of(chunk, (size_t)n)))
			return errno;
	return n < 0 ? errno : fsync(fd) != 0 ? errno : 0;
}

static int append(int fd, const struct stat *st)
{
	struct stat now;
	int number = lock(fd), cut;

	if (number != 0)
		return complain("the file is locked", number);
	if (fstat(fd, &now) != 0 || now.st_ino != st->st_ino)
		return complain("the file cannot be read", EIO);
	number = copy(fd);
	if (number == 0)
		return EX_OK;
	cut = ftruncate(fd, now.st_size);
	return complain(cut == 0 ? "the file cannot be written" : "the file cannot be written, and has part of the message", number);
}

int agent_file_append(const char *path)
{
	struct stat st;
	size_t len = strlen(path);
	int fd, r;

	if (len == 0 || path[len - 1] == '/')
		return complain("folders (maildir) cannot be written, only files", 0);
	/* What is no plain file might make us wait, or lead elsewhere than the administrator thinks. */
	fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (fd < 0)
		return complain("the file cannot be opened", errno);
	if (fstat(fd, &st) != 0)
		r = complain("the file cannot be looked at", errno);
	else if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		r = complain("this is not a plain file with one name", 0);
	else
		r = append(fd, &st);
	close(fd);
	return r;
}
