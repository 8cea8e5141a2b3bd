/* mailwain-queue: what waits in the queue, and what is to become of it. */
#include "control/command.h"

static const struct control_verb verbs[] = {
    {"queue", "list", "[--sender A] [--recipient A] [--destination D] [--older TIME] [--reason TEXT] [--status S]", "Shows the messages that wait; a status is active, deferred, scheduled or held.", false, false},
    {"queue", "show", "ID", "Shows a message's envelope and what happened to each recipient.", false, false},
    {"queue", "attempts", "ID", "Shows what was tried for a message and what was answered.", false, false},
    {"queue", "cat", "ID", "Prints the message as it will be sent.", false, false},
    {"queue", "flush", "ID ... | --sender A | --recipient A | --destination D | --older TIME | --reason TEXT | --all", "Tries again now.", false, false},
    {"queue", "hold", "ID ... | --sender A | --recipient A | --destination D | --older TIME | --reason TEXT | --all", "Keeps messages until they are released.", false, false},
    {"queue", "release", "ID ... | --sender A | --recipient A | --destination D | --older TIME | --reason TEXT | --all", "Undoes hold.", false, false},
    {"queue", "delete", "ID ... | --sender A | --recipient A | --destination D | --older TIME | --reason TEXT | --all", "Removes messages without telling the sender.", false, false},
    {"queue", "bounce", "ID ... | --sender A | --recipient A | --destination D | --older TIME | --reason TEXT | --all", "Gives messages up and tells their senders.", false, false},
    {"queue", "requeue", "ID ... | --sender A | --recipient A | --destination D | --older TIME | --reason TEXT | --all", "Forgets what was learnt of messages, and finds out anew where they go.", false, false},
    {"queue", "reroute", "--to WAY ID ... | --sender A | --recipient A | --destination D | --older TIME | --reason TEXT | --all", "Sends those that wait to a host (HOST:PORT), or as a transport block says (its pattern); - undoes it.", false, false},
    {"queue", "explain", "ADDRESS [--from ADDRESS]", "Shows which way a message would take, and why; nothing is sent.", false, false},
    {"queue", "stats", "", "Shows how many messages there are for each destination, and since when.", false, false},
    {"queue", "pause", "DESTINATION", "Sends nothing more to a destination for now.", false, false},
    {"queue", "resume", "DESTINATION", "Undoes pause.", false, false},
    {0},
};

int main(int argc, char **argv)
{
	const struct control_command command = {.daemon = "queue", .verbs = verbs};

	return control_command_main(&command, argc, argv);
}
