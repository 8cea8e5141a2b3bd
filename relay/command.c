/* mailwain-relay: how a message would leave, and what is connected. */
#include "control/command.h"

static const struct control_verb verbs[] = {
    {"relay", "test", "ADDRESS [--from ADDRESS]", "Goes as far as the recipient with the host that takes mail for it, and shows every step; nothing is sent.", false, false},
    {"relay", "status", "", "Shows the connections to other hosts.", false, false},
    {"relay", "policies", "[DOMAIN]", "Shows the MTA-STS policies of domains that are kept and in force.", false, false},
    {"relay", "forget", "DOMAIN", "Forgets a domain's MTA-STS policy; the next message to it asks anew.", false, false},
    {0},
};

int main(int argc, char **argv)
{
	const struct control_command command = {.daemon = "relay", .verbs = verbs};

	return control_command_main(&command, argc, argv);
}
