/*
 * Makes one file system call of a daemon fail. Preloaded into the suite's own binaries, as they are installed: it stands between
 * them (and liblmdb) and the C library. Which call of which process fails, and how, the rig writes into the page that INJECT_CONTROL names.
 *
 * Only calls on files, directories and what is passed or made as a descriptor count; and those on connections that the daemon makes to
 * other hosts. Those that clients make, channels between daemons and the log are left alone.
 */
#include "tests/fault/inject.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 65536, LARGE = 1 << 20 };
enum kind { PASS, FAIL, SHORT };

static int note_ranges(struct dl_phdr_info *info, size_t size, void *arg);

static struct inject_control *control;
static char role[INJECT_NAME];
static unsigned char is_file[FILES], is_outward[FILES];

static void in_child(void)
{
	size_t len = strlen(role);

	if (role[len - 1] != '+')
		memcpy(role + len, "+", 2);
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("INJECT_CONTROL"), *name = strrchr(program_invocation_name, '/');
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map;

	name = name ? name + 1 : program_invocation_name;
	/* The title is mailwain-queue. */
	snprintf(role, sizeof(role) - 1, "%.13s", strncmp(name, "mailwain-", 9) == 0 ? name + 9 : name);
	unsetenv("LD_PRELOAD");
	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	pthread_atfork(NULL, NULL, in_child);
	dl_iterate_phdr(note_ranges, NULL);
	control = map;
}

/* ---- is it this one? ---- */

static void note_place(struct inject_place *place, void *site)
{
	Dl_info info;
	const char *name;

	*place = (struct inject_place){0}; /* not what stood here before */
	if (dladdr(site, &info) == 0)
		return;
	name = strrchr(info.dli_fname, '/');
	place->site = (uint64_t)((char *)site - (char *)info.dli_fbase);
	strncpy(place->module, name ? name + 1 : info.dli_fname, INJECT_MODULE - 1);
}

static void trace(const char *call, void *site)
{
	uint32_t at = __atomic_fetch_add(&control->traced, 1, __ATOMIC_SEQ_CST);

	if (at >= INJECT_TRACE)
		return;
	memcpy(control->calls[at].role, role, INJECT_NAME);
	strncpy(control->calls[at].call, call, INJECT_NAME - 1);
	note_place(&control->calls[at].place, site);
}

static enum kind verdict(const char *call, bool writes, void *site)
{
	uint32_t error, seen;

	if (control == NULL)
		return PASS;
	if (control->tracing)
		trace(call, site);
	if (!control->armed || strcmp(control->call, call) != 0 || strcmp(control->role, role) != 0)
		return PASS;
	error = control->error;
	if (error == 0 && !writes)
		return PASS;
	seen = __atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST);
	if (control->every ? seen < control->when : seen != control->when)
		return PASS;
	note_place(&control->place, site);
	__atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST);
	if (error == 0)
		return SHORT;
	errno = (int)error;
	return FAIL;
}

#define SITE __builtin_return_address(0)
#define REAL(name) static __typeof__(name) *real; if (real == NULL) real = (__typeof__(name) *)(uintptr_t)dlsym(RTLD_NEXT, #name)
#define FAILS(call) (verdict(call, false, SITE) == FAIL)

static bool ours(int fd)
{
	return fd >= 0 && fd < FILES && is_file[fd];
}

static int note_file(int fd)
{
	if (fd >= 0 && fd < FILES)
		is_file[fd] = 1;
	return fd;
}

/* The system's own files are not the suite's. */
static bool is_foreign(const char *path)
{
	static const char *const places[] = {"/proc/", "/dev/", "/etc/", "/usr/", "/lib/", "/sys/"};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (strncmp(path, places[i], strlen(places[i])) == 0)
			return true;
	return false;
}

/* ---- a day later ---- */

int clock_gettime(clockid_t clock, struct timespec *now)
{
	REAL(clock_gettime);
	int r = real(clock, now);

	if (r == 0 && clock == CLOCK_REALTIME && control != NULL && strcmp(control->ahead_role, role) == 0)
		now->tv_sec += control->ahead;
	return r;
}

/* ---- memory: what a daemon or liblmdb asks for itself ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static char *own_start, *own_end, *lmdb_start, *lmdb_end;

static int note_ranges(struct dl_phdr_info *info, size_t size, void *arg)
{
	bool lmdb = strstr(info->dlpi_name, "liblmdb") != NULL;

	(void)size, (void)arg;
	if (!lmdb && info->dlpi_name[0] != '\0')
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		char *start = (char *)(info->dlpi_addr + p->p_vaddr);

		if (p->p_type != PT_LOAD || (p->p_flags & PF_X) == 0)
			continue;
		*(lmdb ? &lmdb_start : &own_start) = start;
		*(lmdb ? &lmdb_end : &own_end) = start + p->p_memsz;
	}
	return 0;
}

static bool no_memory(void *site)
{
	char *at = site;

	if (control == NULL || (!control->armed && !control->tracing))
		return false;
	if (!(at >= own_start && at < own_end) && !(at >= lmdb_start && at < lmdb_end))
		return false;
	return verdict("alloc", false, site) == FAIL;
}

void *malloc(size_t size)
{
	return no_memory(SITE) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return no_memory(SITE) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return no_memory(SITE) ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	REAL(reallocarray);
	return no_memory(SITE) ? NULL : real(old, count, size);
}

char *strdup(const char *text)
{
	REAL(strdup);
	return no_memory(SITE) ? NULL : real(text);
}

/* ---- names ---- */

int open(const char *path, int flags, ...)
{
	REAL(open);
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	if (is_foreign(path))
		return real(path, flags, mode);
	return FAILS("open") ? -1 : note_file(real(path, flags, mode));
}

int openat(int dir, const char *path, int flags, ...)
{
	REAL(openat);
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	return FAILS("openat") ? -1 : note_file(real(dir, path, flags, mode));
}

int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
	REAL(__open_2);
	if (is_foreign(path))
		return real(path, flags);
	return FAILS("open") ? -1 : note_file(real(path, flags));
}

#define PATH_CALL(name, parameters, arguments)                                                     \
	int name parameters                                                                        \
	{                                                                                          \
		REAL(name);                                                                        \
		return FAILS(#name) ? -1 : real arguments;                                         \
	}
PATH_CALL(rename, (const char *from, const char *to), (from, to))
PATH_CALL(renameat, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to))
PATH_CALL(renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags), (from_dir, from, to_dir, to, flags))
PATH_CALL(unlink, (const char *path), (path))
PATH_CALL(unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
PATH_CALL(mkdir, (const char *path, mode_t mode), (path, mode))
PATH_CALL(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
PATH_CALL(faccessat, (int dir, const char *path, int mode, int flags), (dir, path, mode, flags))
PATH_CALL(fstatat, (int dir, const char *path, struct stat *st, int flags), (dir, path, st, flags))
PATH_CALL(lstat, (const char *path, struct stat *st), (path, st))

int stat(const char *path, struct stat *st)
{
	REAL(stat);
	return !is_foreign(path) && FAILS("stat") ? -1 : real(path, st);
}

DIR *opendir(const char *path)
{
	REAL(opendir);
	return FAILS("opendir") ? NULL : real(path);
}

DIR *fdopendir(int fd)
{
	REAL(fdopendir);
	return FAILS("fdopendir") ? NULL : real(fd);
}

struct dirent *readdir(DIR *dir)
{
	REAL(readdir);
	return FAILS("readdir") ? NULL : real(dir);
}

/* ---- open files ---- */

#define FD_CALL(type, name, parameters, arguments)                                                 \
	type name parameters                                                                       \
	{                                                                                          \
		REAL(name);                                                                        \
		return ours(fd) && FAILS(#name) ? (type)-1 : real arguments;                       \
	}
FD_CALL(ssize_t, read, (int fd, void *buf, size_t len), (fd, buf, len))
FD_CALL(ssize_t, pread, (int fd, void *buf, size_t len, off_t at), (fd, buf, len, at))
FD_CALL(int, ftruncate, (int fd, off_t len), (fd, len))
FD_CALL(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len))
FD_CALL(int, fsync, (int fd), (fd))
FD_CALL(int, fdatasync, (int fd), (fd))
FD_CALL(int, sync_file_range, (int fd, off_t at, off_t len, unsigned flags), (fd, at, len, flags))
FD_CALL(int, fchmod, (int fd, mode_t mode), (fd, mode))
FD_CALL(int, fstat, (int fd, struct stat *st), (fd, st))
FD_CALL(int, flock, (int fd, int how), (fd, how))

ssize_t __pread_chk(int fd, void *buf, size_t len, off_t at, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t len, off_t at, size_t room)
{
	REAL(__pread_chk);
	return ours(fd) && FAILS("pread") ? -1 : real(fd, buf, len, at, room);
}

int __fxstat(int version, int fd, struct stat *st);
int __fxstat(int version, int fd, struct stat *st)
{
	REAL(__fxstat);
	return ours(fd) && FAILS("fstat") ? -1 : real(version, fd, st);
}

static void forget(int fd)
{
	if (fd >= 0 && fd < FILES)
		is_file[fd] = is_outward[fd] = 0;
}

int closedir(DIR *dir)
{
	REAL(closedir);
	forget(dirfd(dir));
	return real(dir);
}

int close_range(unsigned first, unsigned last, int flags)
{
	REAL(close_range);
	for (unsigned fd = first; fd <= last && fd < FILES; fd++)
		forget((int)fd);
	return real(first, last, flags);
}

int dup2(int from, int to)
{
	REAL(dup2);
	int r = real(from, to);

	if (r >= 0 && r < FILES)
		is_file[r] = ours(from);
	return r;
}

/* What close(2) says, the descriptor is gone. */
int close(int fd)
{
	REAL(close);
	bool file = ours(fd);
	bool fails = file && FAILS("close");
	int error = errno, r = real(fd);

	forget(fd);
	if (fails)
		errno = error;
	return fails ? -1 : r;
}

void *mmap(void *addr, size_t len, int protection, int flags, int fd, off_t at)
{
	REAL(mmap);
	if (fd < 0 && len >= LARGE)
		return FAILS("mmap_memory") ? MAP_FAILED : real(addr, len, protection, flags, fd, at);
	return fd >= 0 && ours(fd) && FAILS("mmap") ? MAP_FAILED : real(addr, len, protection, flags, fd, at);
}

/* ---- writes: they may also end early ---- */

static size_t half(size_t len)
{
	return len > 1 ? len / 2 : len;
}

#define WRITE_CALL(name, parameters, arguments, short_arguments)                                   \
	ssize_t name parameters                                                                    \
	{                                                                                          \
		REAL(name);                                                                        \
		enum kind k = ours(fd) ? verdict(#name, len > 1, SITE) : PASS;                     \
		return k == FAIL ? -1 : k == SHORT ? real short_arguments : real arguments;        \
	}
WRITE_CALL(write, (int fd, const void *buf, size_t len), (fd, buf, len), (fd, buf, half(len)))
WRITE_CALL(pwrite, (int fd, const void *buf, size_t len, off_t at), (fd, buf, len, at), (fd, buf, half(len), at))

enum { PIECES = 1024 };

/* The first half of what the pieces hold. */
static int cut(const struct iovec *iov, int count, struct iovec *out)
{
	size_t left = 0;
	int n = 0;

	for (int i = 0; i < count; i++)
		left += iov[i].iov_len;
	left = half(left);
	for (; n < count && n < PIECES && left > 0; n++) {
		out[n] = iov[n];
		if (out[n].iov_len > left)
			out[n].iov_len = left;
		left -= out[n].iov_len;
	}
	return n;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	REAL(writev);
	struct iovec part[PIECES];
	enum kind k = ours(fd) ? verdict("writev", true, SITE) : PASS;

	return k == FAIL ? -1 : k == SHORT ? real(fd, part, cut(iov, count, part)) : real(fd, iov, count);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	REAL(pwritev);
	struct iovec part[PIECES];
	enum kind k = ours(fd) ? verdict("pwritev", true, SITE) : PASS;

	return k == FAIL ? -1 : k == SHORT ? real(fd, part, cut(iov, count, part), at) : real(fd, iov, count, at);
}

/* ---- descriptors that are made or come with a message ---- */

int fcntl(int fd, int command, ...)
{
	REAL(fcntl);
	va_list args;
	void *arg;
	int r;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && FAILS("dupfd"))
		return -1;
	if ((command == F_SETLK || command == F_SETLKW) && FAILS("setlk"))
		return -1;
	r = real(fd, command, arg);
	if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && r >= 0 && r < FILES)
		is_file[r] = ours(fd);
	return r;
}

int memfd_create(const char *name, unsigned flags)
{
	REAL(memfd_create);
	return FAILS("memfd_create") ? -1 : note_file(real(name, flags));
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
	REAL(socketpair);
	return FAILS("socketpair") ? -1 : real(domain, type, protocol, fds);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	REAL(accept4);

	return FAILS("accept4") ? -1 : real(fd, addr, len, flags); /* the connection goes on waiting, as it does then */
}

pid_t fork(void)
{
	REAL(fork);
	return FAILS("fork") ? -1 : real();
}

/* ---- connections to other hosts ---- */

static bool outward(int fd)
{
	return fd >= 0 && fd < FILES && is_outward[fd];
}

int socket(int domain, int type, int protocol)
{
	REAL(socket);
	bool counts = (domain == AF_INET || domain == AF_INET6) && (type & SOCK_STREAM) != 0;
	int fd = counts && FAILS("socket") ? -1 : real(domain, type, protocol);

	if (counts && fd >= 0 && fd < FILES)
		is_outward[fd] = 1;
	return fd;
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	REAL(connect);
	return outward(fd) && FAILS("connect") ? -1 : real(fd, address, len);
}

/* What became of a connection is asked for by SO_ERROR. */
int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	REAL(getsockopt);
	int r = real(fd, level, name, value, len);

	if (r == 0 && outward(fd) && level == SOL_SOCKET && name == SO_ERROR && *len == sizeof(int) && FAILS("so_error"))
		memcpy(value, &errno, sizeof(int));
	return r;
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	REAL(recv);
	enum kind k = outward(fd) ? verdict("recv", len > 1, SITE) : PASS;

	return k == FAIL ? -1 : real(fd, buf, k == SHORT ? 1 : len, flags);
}

ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags);
ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
	REAL(__recv_chk);
	enum kind k = outward(fd) ? verdict("recv", len > 1, SITE) : PASS;

	return k == FAIL ? -1 : real(fd, buf, k == SHORT ? 1 : len, room, flags);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	REAL(send);
	enum kind k = outward(fd) ? verdict("send", len > 1, SITE) : PASS;

	return k == FAIL ? -1 : real(fd, buf, k == SHORT ? half(len) : len, flags);
}

int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
	REAL(epoll_ctl);
	return outward(fd) && what != EPOLL_CTL_DEL && FAILS("epoll_ctl") ? -1 : real(epoll, what, fd, event);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
	REAL(epoll_wait);
	return FAILS("epoll_wait") ? -1 : real(epoll, events, most, timeout);
}

/* The first descriptor of a message; -1: none. */
static int passed(struct msghdr *msg)
{
	struct cmsghdr *c = msg->msg_controllen > 0 ? CMSG_FIRSTHDR(msg) : NULL;
	int fd = -1;

	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* Without a free descriptor the kernel gives the message, and says that what came with it was cut off (unix(7)). */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	REAL(recvmsg);
	ssize_t n = real(fd, msg, flags);
	int got = n >= 0 ? passed(msg) : -1;
	struct stat st;

	if (got < 0)
		return n;
	if (FAILS("recvmsg")) {
		close(got);
		msg->msg_controllen = 0;
		msg->msg_flags |= MSG_CTRUNC;
		return n;
	}
	if (fstat(got, &st) == 0 && S_ISREG(st.st_mode))
		note_file(got);
	return n;
}
