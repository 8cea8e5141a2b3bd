/*
 * Puts an instance that has lost its power in order, as its daemons do when they start, and says what is there then.
 * The code is theirs: recover.c and its like of queue, store_open, directory_open; only the processes are missing.
 *
 *   order ROOT
 *
 * One line each, fields parted by blanks; notes.py reads them. KEY and HASH are the first line and the BLAKE2b (16 bytes) of
 * what stands behind a message's header; "-" when it has no such line.
 * A notification has the key "told:" and the subject of what it is about.
 *   spool ID held|open KEY HASH ADDRESS...      the recipients still to be served
 *   drop KEY HASH ADDRESS...                    a letter that pickup is to take
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
#include "conf/conf.h"
#include "local/drop.h"
#include "store/store.h"
#include "tests/daemon.h"

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

enum { KEY_MAX = 80, KEY_ROOM = 8, HASH = 16, MESSAGE_POOL = 64 * 1024 * 1024 };

/* ---- what else queue's objects want of the daemon around them ---- */

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
	char key[KEY_MAX + KEY_ROOM], hash[2 * HASH + 1];
};

/* The subject of the message that a notification has at its end. */
static struct span told_about(struct span message, struct span body)
{
	static const char field[] = "\r\nSubject: ";
	struct span header = span_sub(message, 0, message.len - body.len), subject = span_str("");
	const char *at;

	if (memmem(header.ptr, header.len, "multipart/report", 16) == NULL)
		return subject;
	while (body.len > 0 && (at = memmem(body.ptr, body.len, field, sizeof(field) - 1)) != NULL) {
		body = span_from(body, (size_t)(at - body.ptr) + sizeof(field) - 1);
		subject = span_sub(body, 0, span_find(body, '\r'));
	}
	return subject;
}

/* Of what is behind the header: delivery puts lines before it. */
static void digest(struct span message, struct digest *out)
{
	const char *end = message.len > 0 ? memmem(message.ptr, message.len, "\r\n\r\n", 4) : NULL;
	struct span body = end ? span_from(message, (size_t)(end - message.ptr) + 4) : span_str("");
	struct span told = told_about(message, body), line = told.len > 0 ? told : span_sub(body, 0, span_find(body, '\r'));
	unsigned char hash[HASH];

	snprintf(out->key, sizeof(out->key), "%s%.*s", told.len > 0 ? "told:" : "", SPAN_ARG(span_sub(line, 0, KEY_MAX - 1)));
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
		r = removal_new(&queue, &err);
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

/* ---- the drop ---- */

static void show_letter(int dir, const char *name)
{
	int fd = strncmp(name, DROP_READY, sizeof(DROP_READY) - 1) == 0 ? openat(dir, name, O_RDONLY | O_CLOEXEC) : -1;
	struct pool *pool = pool_new(NULL, MESSAGE_POOL);
	struct err err = {0};
	struct letter letter = {0};
	struct digest d;
	struct stat st;
	void *map = MAP_FAILED;
	size_t head;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map != MAP_FAILED && drop_decode(span_of(map, (size_t)st.st_size), pool, &letter, &head, &err) == 0) {
		digest(span_from(span_of(map, (size_t)st.st_size), head), &d);
		printf("drop %s %s", d.key, d.hash);
		for (size_t i = 0; i < letter.recipient_count; i++)
			printf(" %.*s", SPAN_ARG(letter.recipients[i].address));
		printf("\n");
	} else if (fd >= 0) {
		printf("odd letter %s in the drop: %s\n", name, err.text);
	}
	if (map != MAP_FAILED)
		munmap(map, (size_t)st.st_size);
	if (fd >= 0)
		close(fd);
	pool_free(&pool);
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

		if (messages[i].modseq > store_modseq(v->txn))
			printf("odd account %s, uid %" PRIu32 ": its modseq is beyond the account's\n", v->account, messages[i].uid);
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
	struct err err = {0};
	int root;

	if (argc != 2 || chdir(argv[1]) != 0 || sodium_init() < 0) {
		fprintf(stderr, "usage: order ROOT\n");
		return 1;
	}
	base = event_base_new();
	root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* It says where mail to other hosts goes. */
	if (conf_load("etc/mailwain.conf", &conf, &err) != 0)
		printf("odd configuration: %s\n", err.text);
	log_init(2, LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	if (!become_owner_of("data/directory"))
		printf("odd directory: it is not there\n");
	else
		show_directory();
	if (become_owner_of("data/drop"))
		each_entry(root, "data/drop", show_letter);
	if (!become_owner_of("spool/queue") || chdir("spool") != 0)
		printf("odd spool: it is not there\n");
	else if (show_spool() == 0)
		show_set_aside("corrupt");
	if (fchdir(root) == 0 && become_owner_of("data/store"))
		each_entry(root, "data/store", show_shard);
	log_flush();
	return 0;
}
