/*
 * Messages between processes.
 *
 * A message is one SOCK_SEQPACKET datagram with at most one descriptor. The
 * messages of a service are declared once, in <service>.def; the structures,
 * the encoder, the strict decoder, the printer and the fuzz target come from
 * that table. Wire form: u16 number, u32 id, then the fields in order,
 * integers big-endian, text and bytes after a u32 length.
 */
#ifndef MW_IPC_IPC_H
#define MW_IPC_IPC_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

#include <sys/types.h>

enum {
	IPC_MESSAGE_MAX = 65536,
	IPC_HEADER = 6,
	IPC_BODY_MAX = 512,
	CONTROL_PIECE = 49152, /* of a row, a text, an input: more goes in several messages */
};

enum ipc_direction { TO_SERVICE, TO_CLIENT };
enum ipc_descriptor { IPC_FD_NONE, IPC_FD_REQUIRED, IPC_FD_OPTIONAL };
enum ipc_kind { IPC_KIND_END, IPC_KIND_BOOL, IPC_KIND_U32, IPC_KIND_I32, IPC_KIND_U64, IPC_KIND_I64,
	IPC_KIND_STR, IPC_KIND_BYTES, IPC_KIND_SECRET };

struct ipc_field {
	const char *name;
	enum ipc_kind kind;
	size_t offset; /* in the message's structure */
	size_t max;    /* of str, bytes and secret */
};

struct ipc_type {
	const char *name;
	uint16_t number;
	enum ipc_direction direction;
	enum ipc_descriptor fd;
	const struct ipc_field *fields; /* ended by IPC_KIND_END */
	size_t size;			/* of the structure, at most IPC_BODY_MAX */
};

struct ipc_service {
	const char *name;
	const struct ipc_type *const *types; /* ended by NULL */
};

/* The structures: one for each message, named as the message. */
#define IPC_MESSAGE(msg, number, direction, fd) struct msg {
#define IPC_BOOL(msg, name)		   bool name;
#define IPC_U32(msg, name)		   uint32_t name;
#define IPC_I32(msg, name)		   int32_t name;
#define IPC_U64(msg, name)		   uint64_t name;
#define IPC_I64(msg, name)		   int64_t name;
#define IPC_STR(msg, name, max)		   struct span name;
#define IPC_BYTES(msg, name, max)	   struct span name;
#define IPC_SECRET(msg, name, max)	   struct span name;
#define IPC_END(msg)			   };
#include "ipc/services.def"
#include "ipc/undef.h"

/* The types: ipc_<message>, and the services: ipc_service_<name>. */
#define IPC_MESSAGE(msg, number, direction, fd) extern const struct ipc_type ipc_##msg;
#include "ipc/undef_fields.h"
#include "ipc/services.def"
#include "ipc/undef.h"

extern const struct ipc_service ipc_service_master, ipc_service_auth, ipc_service_queue,
    ipc_service_deliver, ipc_service_session, ipc_service_wake, ipc_service_keep, ipc_service_keys, ipc_service_control, ipc_service_dns, ipc_service_fetch,
    ipc_service_pickup, ipc_service_pam, ipc_service_agent, ipc_service_relay;
/* All of them, ended by NULL: for the fuzz target and the tests. */
extern const struct ipc_service *const ipc_services[];

/* A received message. body points to the type's structure; its spans borrow the receiver's buffer. */
struct ipc_message {
	const struct ipc_type *type;
	uint32_t id;
	int fd; /* -1 for none; owned by the receiver of the message */
	bool fd_lost; /* one came with it, but this process has no descriptor free to take it: fd is -1, even where one is required */
	size_t size; /* bytes of the receiver's buffer that it took */
	_Alignas(16) unsigned char body[IPC_BODY_MAX];
};

/*
 * Appends the wire form. 0, or E_TOOBIG when a field or the whole passes its
 * maximum (or out's), E_SYNTAX for a NUL in a str, E_NOMEM.
 */
int ipc_encode(const struct ipc_type *type, uint32_t id, const void *body, struct buf *out);

/*
 * Strict: unknown number, wrong direction, surplus or missing byte, NUL in a
 * str, a bool that is neither 0 nor 1: E_PROTO. Does not look at the descriptor.
 */
int ipc_decode(const struct ipc_service *service, enum ipc_direction direction, struct span wire,
    struct ipc_message *out, struct err *err);

/* One line for a log or a debugger; secrets are masked. */
void ipc_print(const struct ipc_message *message, struct buf *out);

/*
 * Sends one message. pass: a descriptor or -1; stays the caller's.
 * 0, E_AGAIN (the socket is full, non-blocking only), E_CLOSED, E_TOOBIG, E_IO.
 */
int ipc_send(int fd, const struct ipc_type *type, uint32_t id, const void *body, int pass);

/* Sends wire bytes already encoded; results as above. */
int ipc_send_wire(int fd, struct span wire, int pass);

/*
 * Receives one message into buffer (IPC_MESSAGE_MAX bytes, lent to *out).
 * 0; E_AGAIN; E_CLOSED at the end; E_PROTO for a malformed one, a surplus or a
 * missing descriptor: close the peer. Received descriptors are close-on-exec.
 * A message whose descriptor could not be taken is given with fd_lost (unix(7): it is cut off with MSG_CTRUNC):
 * what it was for has failed, but not the peer.
 */
int ipc_receive(int fd, const struct ipc_service *service, enum ipc_direction direction,
    void *buffer, struct ipc_message *out, struct err *err);

/* A connected pair: fds[0] and fds[1], close-on-exec, with room for a full message. */
int ipc_pair(int fds[2], struct err *err);

/* The kernel's word on who is at the other end. */
int ipc_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid);

#endif
