/*
 * Fills the spool of a suite that is not running with messages that were put off, to many destinations that are dead.
 *
 *   fill SPOOL COUNT DOMAINS SPREAD DOMAIN ...
 *
 * The i-th message is for a user at d<i % DOMAINS>.<one of DOMAIN, in turn>; it came within the last hour, and is tried again within
 * SPREAD seconds. The files are what queue itself writes, by lib/spool; only nothing is synced (the Makefile wraps fsync), and threads
 * share the work.
 */
#include "spool/spool.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS = 8, ATTEMPTS = 3, HOUR_MS = 3600 * 1000, SENDERS = 500 };

static struct {
	unsigned char key[SPOOL_KEY];
	unsigned long count, domains, spread;
	char **zones;
	unsigned long zone_count;
	struct stat owner;
	int64_t now_ms;
} fill;

/* What lib/spool calls in place of the kernel's. */
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fsync(int fd)
{
	(void)fd;
	return 0;
}

int __wrap_fdatasync(int fd)
{
	(void)fd;
	return 0;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Ascending, each of a millisecond of its own, in all directories. */
static uint64_t id_of(unsigned long i)
{
	uint64_t last = 0;

	return spool_id_next(&last, fill.now_ms - HOUR_MS + (int64_t)(i * HOUR_MS / fill.count)) + i % 32;
}

/* A message of another run may have the id: then the next one in this directory. */
static int make_file(uint64_t *id)
{
	char text[SPOOL_ID_TEXT], path[64];
	int fd;

	do {
		spool_id_format(*id, text);
		snprintf(path, sizeof(path), "queue/%c/%s", text[SPOOL_ID_TEXT - 2], text);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno == EEXIST)
			*id += 32;
	} while (fd < 0 && errno == EEXIST);
	if (fd < 0 || fchown(fd, fill.owner.st_uid, fill.owner.st_gid) != 0)
		fail(path);
	return fd;
}

static void make_message(unsigned long i, struct buf *wire)
{
	char content[1024], sender[64], domain[128], to[192], reason[400];
	uint64_t id = id_of(i), d = i % fill.domains;
	int fd = make_file(&id), len;
	struct spool_recipient recipient = {.address = span_str(to)};
	struct spool_envelope envelope = {.source = SPOOL_FROM_SUBMISSION, .arrived = spool_id_ms(id) / 1000, .submitter = 1 + i % SENDERS,
	    .client = SPAN_LIT("127.0.0.1"), .helo = SPAN_LIT("client.example.com"), .recipient_count = 1, .recipients = &recipient};
	struct spool_record record = {.status = SPOOL_DEFERRED, .attempts = ATTEMPTS, .when = fill.now_ms / 1000 - 60};
	struct spool_commit commit = {.id = id};
	struct err err = {0};

	snprintf(sender, sizeof(sender), "sender%lu@example.com", i % SENDERS);
	snprintf(domain, sizeof(domain), "d%lu.%s", (unsigned long)d, fill.zones[d % fill.zone_count]);
	snprintf(to, sizeof(to), "user%lu@%s", i, domain);
	snprintf(reason, sizeof(reason), "451 4.4.1 %s does not answer: 451 4.4.1 mx.%s: Connection refused", domain, domain);
	envelope.sender = span_str(sender);
	recipient.address = span_str(to);
	record.next = fill.now_ms / 1000 + (int64_t)(fill.spread > 0 ? randombytes_uniform((uint32_t)fill.spread) : 0);
	record.text = span_str(reason);
	len = snprintf(content, sizeof(content), "Received: from client.example.com by mail.example.com\r\nFrom: <%s>\r\nTo: <%s>\r\nSubject: number %lu\r\n\r\nHello.\r\n", sender, to, i);
	if (write(fd, content, (size_t)len) != len)
		fail("write");
	buf_clear(wire);
	if (spool_envelope_encode(&envelope, wire) != 0)
		fail("envelope");
	commit.content = (uint64_t)len;
	commit.envelope = buf_span(wire);
	if (spool_commit(fd, fill.key, &commit, &err) != 0 ||
	    spool_append(fd, id, fill.key, &record, 1, false, &err) != 0)
		fail(err.text);
	close(fd);
}

static void *thread_main(void *arg)
{
	struct buf wire;

	buf_init(&wire, SPOOL_ENVELOPE_MAX);
	for (unsigned long i = (unsigned long)(uintptr_t)arg; i < fill.count; i += THREADS)
		make_message(i, &wire);
	buf_fini(&wire);
	return NULL;
}

static void read_key(void)
{
	int fd = open("key", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, fill.key, sizeof(fill.key)) != (ssize_t)sizeof(fill.key) || fstat(fd, &fill.owner) != 0)
		fail("key");
	close(fd);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];

	if (argc < 6 || sodium_init() < 0) {
		fputs("usage: fill SPOOL COUNT DOMAINS SPREAD DOMAIN ...\n", stderr);
		return 64;
	}
	fill.count = strtoul(argv[2], NULL, 10);
	fill.domains = strtoul(argv[3], NULL, 10);
	fill.spread = strtoul(argv[4], NULL, 10);
	fill.zones = argv + 5;
	fill.zone_count = (unsigned long)argc - 5;
	fill.now_ms = clock_wall_ms();
	if (fill.count == 0 || fill.count > HOUR_MS || fill.domains == 0 || chdir(argv[1]) != 0)
		fail(argv[1]);
	read_key();
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, thread_main, (void *)i) != 0)
			fail("thread");
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
