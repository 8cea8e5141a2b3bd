/* plant: deliver imap-session; wraps: mdb_env_open */
/* A commit of the index does not wait for the disk (D2, D3, D4). */
#include <lmdb.h>

int __real_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);

int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
	return __real_mdb_env_open(env, path, flags | MDB_NOSYNC, mode);
}
