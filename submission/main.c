/* submission: mail from our users, ports 587 and 465 (RFC 6409, RFC 8314). */
#include "intake/intake.h"

int main(void)
{
	static struct intake intake;
	static const struct intake_kind kind = {.name = "submission", .submission = true, .services = {{"submission", false}, {"submissions", true}}};

	return intake_run(&intake, &kind);
}
