/* plant: imap-session damage; wraps: store_file_verify store_header_verify */
/* A message is shown without a look at its checksum (D5). */
#include "store/store.h"

int __wrap_store_file_verify(const struct store_message *message, struct span content, struct err *err);
int __wrap_store_header_verify(const struct store_message *message, const struct store_facts *facts, struct span content, struct err *err);

int __wrap_store_file_verify(const struct store_message *message, struct span content, struct err *err)
{
	(void)message, (void)content, (void)err;
	return 0;
}

int __wrap_store_header_verify(const struct store_message *message, const struct store_facts *facts, struct span content, struct err *err)
{
	(void)message, (void)facts, (void)content, (void)err;
	return 0;
}
