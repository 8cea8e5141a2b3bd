/* plant: relay; wraps: smtp_client_result */
/* A message counts as sent when all of it went out: that the answer to its end never came is not looked at (D2). */
#include "smtp/client.h"

const struct smtp_client_result *__real_smtp_client_result(struct smtp_client *client, size_t recipient);
const struct smtp_client_result *__wrap_smtp_client_result(struct smtp_client *client, size_t recipient);

const struct smtp_client_result *__wrap_smtp_client_result(struct smtp_client *client, size_t recipient)
{
	static struct smtp_client_result sent;
	const struct smtp_client_result *result = __real_smtp_client_result(client, recipient);

	if (!result->maybe)
		return result;
	sent = (struct smtp_client_result){.command = result->command, .reply = {.code = 250, .text = "sent"}};
	return &sent;
}
