/*
 * The daemon's side of the control commands: run/<daemon>.sock. Its mode lets
 * root, the instance's own user and members of control-group in; who it was is
 * logged from the kernel's word. A malformed request costs its connection.
 */
#ifndef MW_NET_CONTROL_H
#define MW_NET_CONTROL_H

#include "base/span.h"

struct control_server;
struct control_reply;
struct daemon;
struct event_base;

enum { CONTROL_PART = 256 * 1024, CONTROL_ARGS_MAX = 512, CONTROL_INPUT_MAX = 64 * 1024 * 1024, CONTROL_ANSWER_MAX = 512 * 1024 * 1024 };

/*
 * One request. args[0] is the verb or noun. All spans are borrowed until the
 * handler returns. Answer with any number of rows and texts and one done,
 * now or later; CONTROL_ANSWER_MAX bytes of them may wait for the command to read.
 */
typedef void control_handler(void *arg, struct control_reply *reply, const struct span *args, size_t count,
    struct span input, struct span secret);

/* On the daemon's listeners named "control"; NULL when there is none or no memory. */
struct control_server *control_server_new(struct daemon *daemon, control_handler *handler, void *arg);
/* On a listening descriptor, which stays the caller's. */
struct control_server *control_server_new_on(struct event_base *base, int fd, control_handler *handler, void *arg);
void control_server_free(struct control_server **server);

/* json: one object, or several with a line end between them, CONTROL_PIECE bytes at most. Dropped silently when the command has gone away. */
void control_reply_row(struct control_reply *reply, struct span json);
void control_reply_text(struct control_reply *reply, struct span text);
/*
 * A long answer comes in parts: false when the command has enough to read (CONTROL_PART). Then more(arg) is called once, when it has read that or has
 * gone away, and the next part is due. After control_reply_done nothing is called.
 */
bool control_reply_has_room(struct control_reply *reply, void (*more)(void *arg), void *arg);
/* Whoever asks is root, or has the instance to itself: no member of control-group. */
bool control_reply_is_to_root(const struct control_reply *reply);
/* The command has gone away: nobody reads the rest. */
bool control_reply_is_gone(const struct control_reply *reply);
/* Ends the reply; it is not valid afterwards. exit: sysexits(3); EX_OK becomes EX_TEMPFAIL when a row or text could not be sent. */
void control_reply_done(struct control_reply *reply, unsigned exit, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
