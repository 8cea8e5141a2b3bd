/* plant: auth; wraps: defence_ask */
/* Nobody is refused: every guess is hashed. */
#include "auth/defence.h"

const char *__wrap_defence_ask(struct defence *d, struct attempt *a, int64_t now_ms);

const char *__wrap_defence_ask(struct defence *d, struct attempt *a, int64_t now_ms)
{
	(void)d, (void)a, (void)now_ms;
	return NULL;
}
