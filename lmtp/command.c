/* mailwain-store and mailwain-mailbox: care for the accounts' stores. */
#include "control/command.h"

static const struct control_verb verbs[] = {
    {"store", "check", "ACCOUNT", "Reads everything of an account and names every fault.", false, false},
    {"store", "rebuild-index", "ACCOUNT", "Makes the index again from the message files.", false, false},
    {"mailbox", "list", "ACCOUNT", "Shows an account's mailboxes.", false, false},
    {"mailbox", "undo", "ACCOUNT --since TIME", "Brings back what was expunged since TIME (2h, 3d, or seconds since 1970).", false, false},
    {0},
};

int main(int argc, char **argv)
{
	const struct control_command command = {.daemon = "deliver", .verbs = verbs};

	return control_command_main(&command, argc, argv);
}
