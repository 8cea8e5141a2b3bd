/* plant: smtpd; wraps: conf_u64 */
/* The limit of all connections is not asked. */
#include "conf/conf.h"

uint64_t __real_conf_u64(const struct conf *conf, enum conf_setting setting, const struct conf_where *where);
uint64_t __wrap_conf_u64(const struct conf *conf, enum conf_setting setting, const struct conf_where *where);

uint64_t __wrap_conf_u64(const struct conf *conf, enum conf_setting setting, const struct conf_where *where)
{
	return setting == CONF_connections ? UINT64_MAX : __real_conf_u64(conf, setting, where);
}
