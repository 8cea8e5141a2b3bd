/* plant: relay; wraps: smtp_client_content */
/* A message counts as sent when its content is: the host's answer to the end of it is not waited for (D2). */
#include "smtp/client.h"

void __real_smtp_client_content(struct smtp_client *client, struct span bytes, bool last);
void __wrap_smtp_client_content(struct smtp_client *client, struct span bytes, bool last);

void __wrap_smtp_client_content(struct smtp_client *client, struct span bytes, bool last)
{
	__real_smtp_client_content(client, bytes, last);
}
