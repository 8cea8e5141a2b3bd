/* mailwain-queue: what waits in the queue, and what is to become of it. */
#include "control/command.h"

static const struct control_verb verbs[] = {
    {"queue", "list", "[--sender A] [--recipient A] [--status S]", "Shows the messages that wait; a status is active, deferred, scheduled or held.", false, false},
    {"queue", "show", "ID", "Shows a message's envelope and what happened to each recipient.", false, false},
    {"queue", "cat", "ID", "Prints the message as it will be sent.", false, false},
    {"queue", "flush", "ID ... | --sender A | --recipient A | --all", "Tries again now.", false, false},
    {"queue", "hold", "ID ... | --sender A | --recipient A | --all", "Keeps messages until they are released.", false, false},
    {"queue", "release", "ID ... | --sender A | --recipient A | --all", "Undoes hold.", false, false},
    {"queue", "delete", "ID ... | --sender A | --recipient A | --all", "Removes messages without telling the sender.", false, false},
    {0},
};

int main(int argc, char **argv)
{
	const struct control_command command = {.daemon = "queue", .verbs = verbs};

	return control_command_main(&command, argc, argv);
}
