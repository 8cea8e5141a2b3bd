/* smtpd: mail from the internet, port 25. */
#include "intake/intake.h"

int main(void)
{
	static struct intake intake;
	static const struct intake_kind kind = {.name = "smtpd", .services = {{"smtp", false}}};

	return intake_run(&intake, &kind);
}
