/* mailwain-fetch: what the fetch process gets from a host. */
#include "control/command.h"

static const struct control_verb verbs[] = {
    {"fetch", "get", "URL [--timeout TIME]", "Asks a host by HTTPS, as the suite would, and shows what it answers or why there is no answer.", false, false},
    {0},
};

int main(int argc, char **argv)
{
	const struct control_command command = {.daemon = "fetch", .verbs = verbs};

	return control_command_main(&command, argc, argv);
}
