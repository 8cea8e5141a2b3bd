/* mailwain-account, -alias, -domain, -directory, -auth: one binary under five names. */
#include "control/command.h"

static const struct control_verb verbs[] = {
    {"account", "add", "ADDRESS [--password-stdin] [--quota SIZE] [--name NAME]", "Makes an account; its mailboxes appear with its first mail or login.", CONTROL_NEW_PASSWORD, false},
    {"account", "passwd", "ADDRESS [--password-stdin]", "Sets a new password.", CONTROL_NEW_PASSWORD, false},
    {"account", "remove", "ADDRESS", "Takes the account out of the directory; its mail stays on disk.", false, false},
    {"account", "list", "", "Shows all accounts.", false, false},
    {"account", "show", "ADDRESS", "Shows one account.", false, false},
    {"account", "disable", "ADDRESS", "Refuses login and mail until it is enabled again.", false, false},
    {"account", "enable", "ADDRESS", "Undoes disable.", false, false},
    {"account", "quota", "ADDRESS SIZE|domain", "Sets how much the account may keep; 0 for no limit.", false, false},
    {"account", "senders", "ADDRESS PATTERN ...", "What it may send as beside its own addresses: addresses, *@domain for all of a domain, or none.", false, false},
    {"account", "app-password", "add|list|revoke ADDRESS [LABEL] [--name LABEL] [--protocols LIST]",
     "Makes and shows a password for one program, lists them, or takes one back.", false, false},
    {"alias", "add", "ADDRESS TARGET ...", "Makes an alias that leads to the targets, here or elsewhere.", false, false},
    {"alias", "remove", "ADDRESS", "Removes an alias.", false, false},
    {"alias", "list", "", "Shows all aliases.", false, false},
    {"alias", "show", "ADDRESS", "Shows where an address leads in the end.", false, false},
    {"domain", "add", "NAME", "Makes this server responsible for a domain.", false, false},
    {"domain", "remove", "NAME", "Gives a domain up; its accounts stay.", false, false},
    {"domain", "list", "", "Shows all domains, those of the configuration too.", false, false},
    {"directory", "export", "", "Writes accounts, aliases and domains as text.", false, false},
    {"directory", "import", "FILE [--replace] [--all]", "Takes such a text over, all of it or nothing; --replace removes what it does not name, --all even all accounts.", false, true},
    {"auth", "failures", "list|clear [ADDRESS|ACCOUNT]", "Shows or forgets failed log-ins, of all, of a client's address or of an account.", false, false},
    {"auth", "test", "ADDRESS [--service NAME] [--password-stdin]", "Says whether a user would be let in with a password, and why not; for root alone.", CONTROL_PASSWORD, false},
    {0},
};

int main(int argc, char **argv)
{
	const struct control_command command = {.daemon = "auth", .verbs = verbs};

	return control_command_main(&command, argc, argv);
}
