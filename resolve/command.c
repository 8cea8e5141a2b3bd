/* mailwain-resolve: questions to the suite's resolver, as its daemons ask them. */
#include "control/command.h"

static const struct control_verb verbs[] = {
    {"resolve", "query", "NAME [TYPE]", "Asks as the daemons do, for A or another type, and shows the answer, whether it is validated, and why not.", false, false},
    {"resolve", "flush", "", "Throws away all answers that are kept.", false, false},
    {"resolve", "stats", "", "Shows how much was asked, and how it ended.", false, false},
    {0},
};

int main(int argc, char **argv)
{
	const struct control_command command = {.daemon = "resolve", .verbs = verbs};

	return control_command_main(&command, argc, argv);
}
