/*
 * Puts an instance that has lost its power in order, as its daemons do when they start, and says what is there then.
 * The code is theirs: recover.c and its like of queue, store_open, directory_open; only the processes are missing.
 *
 *   order ROOT
 *
 * One line each, fields parted by blanks; notes.py reads them. KEY and HASH are the first line and the BLAKE2b (16 bytes) of
 * what stands behind a message's header; "-" when it has no such line.
 *   spool ID held|open KEY HASH ADDRESS...      the recipients still to be served
 *   store ACCOUNT good|rebuilt MODSEQ
 *   mailbox ACCOUNT UIDVALIDITY UIDNEXT NAME    (the name to the end of the line)
 *   message ACCOUNT UID FLAGS KEY HASH          of the mailbox before it
 *   account ADDRESS NUMBER
 *   alias ADDRESS
 *   odd TEXT                                    what none of the daemons should have to say
 */
#include "auth/directory.h"
#include "queue/destination.h"
#include "queue/waiting.h"

#include "base/log.h"
#include "store/store.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_MAX = 80, HASH = 16, MESSAGE_POOL = 64 * 1024 * 1024 };

/* ---- what queue's objects want of the daemon around them ---- */

static struct event_base *base;

struct event_base *daemon_base(struct daemon *daemon)
{
	(void)daemon;
	return base;
}

const struct log_ctx *daemon_log(struct daemon *daemon)
{
	(void)daemon;
	return NULL;
}

const struct conf *daemon_conf(struct daemon *daemon)
{
	(void)daemon;
	return NULL;
}

void daemon_peer_lost(struct daemon *daemon, const char *service)
{
	(void)daemon;
	(void)service;
}

void *daemon_state(struct daemon *daemon)
{
	(void)daemon;
	return NULL;
}

void queue_try_finish(struct queue *queue)
{
	(void)queue;
}

/* ---- one message ---- */

struct digest {
	char key[KEY_MAX], hash[2 * HASH + 1];
};

/* Of what is behind the header: delivery puts lines before it. */
static void digest(struct span message, struct digest *out)
{
	const char *end = message.len > 0 ? memmem(message.ptr, message.len, "\r\n\r\n", 4) : NULL;
	struct span body = end ? span_from(message, (size_t)(end - message.ptr) + 4) : span_str("");
	size_t line = span_find(body, '\r');
	unsigned char hash[HASH];

	snprintf(out->key, sizeof(out->key), "%.*s", SPAN_ARG(span_sub(body, 0, line < KEY_MAX - 1 ? line : KEY_MAX - 1)));
	for (char *p = out->key; *p != '\0'; p++)
		if (*p <= ' ' || *p > '~')
			*p = '?';
	if (out->key[0] == '\0')
		strcpy(out->key, "-");
	crypto_generichash(hash, HASH, (const unsigned char *)body.ptr, body.len, NULL, 0);
	sodium_bin2hex(out->hash, sizeof(out->hash), hash, HASH);
}

static void digest_file(int fd, uint64_t size, struct digest *out)
{
	void *map = size > 0 ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;

	if (map == MAP_FAILED) {
		digest(span_str(""), out);
		return;
	}
	digest(span_of(map, size), out);
	munmap(map, size);
}

/* ---- the spool ---- */

static void show_spooled(struct queue *queue, uint64_t id)
{
	char text[SPOOL_ID_TEXT];
	struct digest d;
	struct message *m;
	struct err err = {0};

	spool_id_format(id, text);
	if (message_load(queue, id, true, &m, &err) != 0) {
		printf("odd spool file %s: %s\n", text, err.text);
		return;
	}
	digest_file(m->fd, m->file.content, &d);
	printf("spool %s %s %s %s", text, m->held ? "held" : "open", d.key, d.hash);
	for (size_t i = 0; i < m->file.envelope.recipient_count; i++)
		if (m->states[i].status == SPOOL_PENDING || m->states[i].status == SPOOL_DEFERRED)
			printf(" %.*s", SPAN_ARG(m->file.envelope.recipients[i].address));
	printf("\n");
	message_free(m);
}

static int show_spool(void)
{
	static struct queue queue;
	struct err err = {0};
	int r = queue_make_directories(&err);

	queue.waiting = waiting_new();
	if (r == 0)
		r = queue_load_key(&queue, &err);
	if (r == 0)
		r = disk_new(&queue, 2, false, &queue.disk, &err);
	if (r == 0)
		r = destinations_new(&queue, &err);
	if (r == 0)
		r = recover_start(&queue, &err);
	if (r != 0) {
		printf("odd spool: %s\n", err.text);
		return 1;
	}
	while (queue.recovery != NULL)
		event_base_loop(base, EVLOOP_ONCE);
	for (size_t i = 0; i < waiting_count(queue.waiting); i++)
		show_spooled(&queue, waiting_at(queue.waiting, i)->id);
	return 0;
}

static void show_set_aside(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			printf("odd spool file %s was set aside\n", entry->d_name);
	if (dir != NULL)
		closedir(dir);
}

/* ---- stores ---- */

struct visit {
	struct store *store;
	struct store_txn *txn;
	const char *account;
};

static int show_messages(void *arg, const struct store_message *messages, size_t count)
{
	struct visit *v = arg;

	for (size_t i = 0; i < count; i++) {
		struct digest d;
		struct err err = {0};
		int fd;

		if (store_file_open(v->store, &messages[i], &fd, &err) != 0) {
			printf("odd account %s, uid %" PRIu32 ": %s\n", v->account, messages[i].uid, err.text);
			continue;
		}
		digest_file(fd, messages[i].size, &d);
		close(fd);
		printf("message %s %" PRIu32 " %" PRIu32 " %s %s\n", v->account, messages[i].uid, messages[i].flags, d.key, d.hash);
	}
	return 0;
}

static int show_mailbox(void *arg, const struct store_mailbox *m)
{
	struct visit *v = arg;
	struct err err = {0};

	printf("mailbox %s %" PRIu32 " %" PRIu32 " %.*s\n", v->account, m->uidvalidity, m->uidnext, SPAN_ARG(m->name));
	if (!m->noselect && store_message_each(v->txn, m->id, show_messages, v, &err) != 0)
		printf("odd account %s: %s\n", v->account, err.text);
	return 0;
}

static void show_fault(void *arg, const char *text)
{
	printf("odd account %s: %s\n", (const char *)arg, text);
}

static void show_store(int shard, const char *account)
{
	struct visit v = {.account = account};
	struct store_options options = {0};
	struct err err = {0};
	bool rebuilt = false;
	int dir = openat(shard, account, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	/* A worker that makes an account makes its directory first: nothing was promised yet. */
	if (dir < 0 || faccessat(dir, "index", F_OK, 0) != 0) {
		if (dir >= 0)
			close(dir);
		return;
	}
	r = fchdir(dir) != 0 ? E_IO : store_open(&v.store, dir, &options, &rebuilt, &err);
	if (r == 0)
		r = store_begin(v.store, false, &v.txn, &err);
	if (r == E_NOTFOUND) {
		close(dir);
		return;
	}
	if (r != 0) {
		printf("odd account %s: %s\n", account, err.text);
		close(dir);
		return;
	}
	printf("store %s %s %" PRIu64 "\n", account, rebuilt ? "rebuilt" : "good", store_modseq(v.txn));
	store_mailbox_each(v.txn, show_mailbox, &v);
	store_abort(&v.txn);
	store_check(v.store, show_fault, (void *)(uintptr_t)account);
	store_close(&v.store);
	close(dir);
}

/* fn for every entry of a directory but "." and "..". */
static void each_entry(int parent, const char *name, void (*fn)(int dir, const char *entry))
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			fn(fd, entry->d_name);
	if (dir != NULL)
		closedir(dir);
}

static void show_shard(int stores, const char *shard)
{
	each_entry(stores, shard, show_store);
}

/* ---- the directory ---- */

static int show_account(void *arg, const struct account *a)
{
	(void)arg;
	printf("account %s %" PRIu64 "\n", a->address, a->id);
	return 0;
}

static int show_alias(void *arg, struct span address, struct span targets)
{
	(void)arg;
	(void)targets;
	printf("alias %.*s\n", SPAN_ARG(address));
	return 0;
}

static void show_directory(void)
{
	struct directory *directory;
	struct err err = {0};

	if (directory_open("data/directory", &directory, &err) != 0) {
		printf("odd directory: %s\n", err.text);
		return;
	}
	directory_account_each(directory, show_account, NULL);
	directory_alias_each(directory, show_alias, NULL);
	directory_close(&directory);
}

/* Each part as the user whose it is: they refuse what belongs to others. */
static bool become_owner_of(const char *path)
{
	struct stat st;

	return seteuid(0) == 0 && stat(path, &st) == 0 && setegid(st.st_gid) == 0 && seteuid(st.st_uid) == 0;
}

int main(int argc, char **argv)
{
	int root;

	if (argc != 2 || chdir(argv[1]) != 0 || sodium_init() < 0) {
		fprintf(stderr, "usage: order ROOT\n");
		return 1;
	}
	base = event_base_new();
	root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	log_init(2, LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	if (!become_owner_of("data/directory"))
		printf("odd directory: it is not there\n");
	else
		show_directory();
	if (!become_owner_of("spool/queue") || chdir("spool") != 0)
		printf("odd spool: it is not there\n");
	else if (show_spool() == 0)
		show_set_aside("corrupt");
	if (fchdir(root) == 0 && become_owner_of("data/store"))
		each_entry(root, "data/store", show_shard);
	log_flush();
	return 0;
}
