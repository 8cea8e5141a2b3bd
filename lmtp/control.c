/* store check, store rebuild-index, mailbox list, mailbox undo: done by a child confined to the account. */
#include "lmtp/deliver.h"

#include "base/clock.h"
#include "net/control.h"
#include "store/store.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

void deliver_control(void *arg, struct control_reply *reply, const struct span *args, size_t count, struct span input,
    struct span secret)
{
	(void)arg;
	(void)args;
	(void)count;
	(void)input;
	(void)secret;
	control_reply_done(reply, EX_UNAVAILABLE, "this command comes with the next change; the store's side of it is there");
}
