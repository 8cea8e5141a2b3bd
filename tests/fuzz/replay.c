/*
 * Runs a target over files and directories, without libFuzzer: what make check
 * does with the kept inputs. Its last line is one that tests/check.sh counts.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REPLAY_SECONDS = 20, REPLAY_MAX = 16 * 1024 * 1024 };

static unsigned replayed;

static _Noreturn void die(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(1);
}

static void replay_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct buf text;
	char *copy;
	ssize_t n = 1;

	if (fd < 0)
		die(path);
	buf_init(&text, REPLAY_MAX);
	while (n > 0) {
		char *room = buf_reserve(&text, 65536);

		if (room == NULL)
			die(path);
		n = read(fd, room, 65536);
		if (n < 0)
			die(path);
		buf_added(&text, (size_t)n);
	}
	close(fd);
	/* What ends the process leaves the file's name as its last line. */
	printf("%s\n", path);
	fflush(stdout);
	alarm(REPLAY_SECONDS);
	copy = fuzz_copy(buf_span(&text));
	fuzz_one(span_of(copy, buf_len(&text)));
	free(copy);
	alarm(0);
	buf_fini(&text);
	replayed++;
}

static void replay(const char *path)
{
	struct dirent **names;
	struct stat st;
	int count;

	if (stat(path, &st) != 0)
		die(path);
	if (!S_ISDIR(st.st_mode)) {
		replay_file(path);
		return;
	}
	count = scandir(path, &names, NULL, alphasort);
	if (count < 0)
		die(path);
	for (int i = 0; i < count; i++) {
		char *below = NULL;

		if (names[i]->d_name[0] != '.' && asprintf(&below, "%s/%s", path, names[i]->d_name) > 0)
			replay(below);
		free(below);
		free(names[i]);
	}
	free(names);
}

/* Without arguments: the kept inputs of the target of this name, from the top of the sources. */
int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	char *kept = NULL;

	if (argc < 2 && asprintf(&kept, "tests/fuzz/corpus/%s", slash ? slash + 1 : argv[0]) < 0)
		return 1;
	if (kept != NULL)
		replay(kept);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	free(kept);
	if (replayed == 0) {
		fprintf(stderr, "no inputs\n");
		return 1;
	}
	printf("%u inputs\n[  PASSED  ] 1 test(s).\n", replayed);
	return 0;
}
