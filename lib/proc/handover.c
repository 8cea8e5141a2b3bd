#include "proc/handover.h"

#include <stdlib.h>
#include <unistd.h>

static struct handed_file *new_file(struct handed_files *files, struct span name)
{
	struct handed_file *more = files->count < HANDED_FILES ? reallocarray(files->all, files->count + 1, sizeof(*more)) : NULL;
	char *copy = more ? strndup(name.ptr, name.len) : NULL;

	if (more != NULL)
		files->all = more;
	if (copy == NULL)
		return NULL;
	files->all[files->count] = (struct handed_file){.name = copy, .fd = -1};
	return &files->all[files->count++];
}

static struct handed_file *find_file(const struct handed_files *files, struct span name)
{
	for (size_t i = 0; i < files->count; i++)
		if (span_eq(span_str(files->all[i].name), name))
			return &files->all[i];
	return NULL;
}

static int take_file(struct handover *h, struct ipc_message *m)
{
	const struct master_file *body = (const void *)m->body;
	struct handed_file *file = find_file(&h->next, body->name);

	if (file != NULL)
		close(file->fd);
	else
		file = new_file(&h->next, body->name);
	if (file == NULL) {
		close(m->fd);
		return E_LIMIT;
	}
	file->fd = m->fd;
	return 0;
}

void handover_swap_files(struct handover *h)
{
	struct handed_files were = h->files;

	h->files = h->next;
	h->next = were;
}

void handover_drop_next(struct handover *h)
{
	for (size_t i = 0; i < h->next.count; i++) {
		close(h->next.all[i].fd);
		free(h->next.all[i].name);
	}
	free(h->next.all);
	h->next = (struct handed_files){0};
}

static int take_listener(struct handover *h, struct ipc_message *m)
{
	const struct master_listener *body = (const void *)m->body;
	struct handed_listener *listener;

	if (h->listener_count == HANDED_LISTENERS) {
		close(m->fd);
		return E_LIMIT;
	}
	listener = &h->listeners[h->listener_count++];
	span_copy(body->name, listener->name, sizeof(listener->name));
	span_copy(body->address, listener->address, sizeof(listener->address));
	listener->fd = m->fd;
	return 0;
}

/* "": a free place. */
static struct handed_secret *find_secret(struct handover *h, struct span name)
{
	for (size_t i = 0; i < h->secret_count; i++)
		if (span_eq(span_str(h->secrets[i].name), name))
			return &h->secrets[i];
	return NULL;
}

static int take_secret(struct handover *h, struct ipc_message *m)
{
	const struct master_secret *body = (const void *)m->body;
	struct handed_secret *secret = find_secret(h, body->name);

	if (secret == NULL)
		secret = find_secret(h, span_str(""));
	if (secret == NULL && h->secret_count < HANDED_SECRETS)
		secret = &h->secrets[h->secret_count++];
	if (secret == NULL || body->value.len > sizeof(secret->value))
		return E_LIMIT;
	explicit_bzero(secret, sizeof(*secret));
	span_copy(body->name, secret->name, sizeof(secret->name));
	memcpy(secret->value, body->value.ptr, body->value.len);
	secret->len = body->value.len;
	return 0;
}

static int take_peer(struct handover *h, struct ipc_message *m)
{
	const struct master_peer *body = (const void *)m->body;
	struct handed_peer *peer;

	if (h->peer_count == HANDED_PEERS) {
		close(m->fd);
		return E_LIMIT;
	}
	peer = &h->peers[h->peer_count++];
	span_copy(body->service, peer->service, sizeof(peer->service));
	span_copy(body->role, peer->role, sizeof(peer->role));
	peer->serving = body->serving;
	peer->fd = m->fd;
	return 0;
}

int handover_take(struct handover *h, struct ipc_message *m)
{
	if (m->fd_lost)
		return E_NOFILES;
	if (m->type == &ipc_master_file)
		return take_file(h, m);
	if (m->type == &ipc_master_listener)
		return take_listener(h, m);
	if (m->type == &ipc_master_secret)
		return take_secret(h, m);
	if (m->type == &ipc_master_peer)
		return take_peer(h, m);
	return E_PROTO;
}

size_t handover_listeners(const struct handover *h, const char *name, int *fds, char (*addresses)[128], size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < h->listener_count && count < max; i++) {
		const struct handed_listener *l = &h->listeners[i];

		if (strcmp(l->name, name) != 0)
			continue;
		fds[count] = l->fd;
		if (addresses != NULL)
			memcpy(addresses[count], l->address, sizeof(l->address));
		count++;
	}
	return count;
}

int handover_file(const struct handover *h, const char *name)
{
	const struct handed_file *file = find_file(&h->files, span_str(name));

	return file != NULL ? file->fd : -1;
}

bool handover_secret(struct handover *h, const char *name, void *out, size_t size)
{
	for (size_t i = 0; i < h->secret_count; i++) {
		struct handed_secret *s = &h->secrets[i];

		if (strcmp(s->name, name) != 0 || s->len != size)
			continue;
		memcpy(out, s->value, size);
		explicit_bzero(s, sizeof(*s));
		return true;
	}
	return false;
}
